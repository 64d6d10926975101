//! Makes a manifest of any bytes, and asks its model: see `tests/src/made/manifests.rs`.

#![no_main]

use monocle_tests::made::manifests;

// Panics of libraries that are caught are errors: the fuzzer's own hook would end the process at each.
libfuzzer_sys::fuzz_target!(init: std::panic::set_hook(Box::new(|_| {})), |bytes: &[u8]| {
    if let Err(reason) = manifests::check(bytes) {
        eprintln!("{reason}");
        std::process::abort();
    }
});
