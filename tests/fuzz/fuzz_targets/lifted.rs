//! Has a plugin answer with any bytes in its memory: see `tests/src/made/lifted.rs`.

#![no_main]

use monocle_tests::made::lifted;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    if let Err(reason) = lifted::check(bytes) {
        panic!("{reason}");
    }
});
