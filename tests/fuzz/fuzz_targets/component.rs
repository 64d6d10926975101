//! Changes a plugin and its stamp in any way: see `tests/src/made/components.rs`.

#![no_main]

use monocle_tests::made::components;

// Panics of libraries that are caught are errors: the fuzzer's own hook would end the process at each.
libfuzzer_sys::fuzz_target!(init: std::panic::set_hook(Box::new(|_| {})), |bytes: &[u8]| {
    if let Err(reason) = components::check(bytes) {
        eprintln!("{reason}");
        std::process::abort();
    }
});
