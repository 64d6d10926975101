//! Fetches a model from a server that answers with anything: see `tests/src/made/answers.rs`.

#![no_main]

use monocle_tests::made::answers;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    if let Err(reason) = answers::check(bytes) {
        panic!("{reason}");
    }
});
