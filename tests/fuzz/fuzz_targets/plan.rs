//! Makes a plan of any bytes, and a prompt of it: see `tests/src/made/plans.rs`.

#![no_main]

use monocle_tests::made::plans;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    if let Err(reason) = plans::check(bytes) {
        panic!("{reason}");
    }
});
