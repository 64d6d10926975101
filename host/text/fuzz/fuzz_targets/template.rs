//! Compiles what any bytes make as a chat template, and renders a conversation with it: see `host/text/fuzz/templates.rs`.

#![no_main]

#[path = "../templates.rs"]
mod templates;

// Panics of libraries that are caught are errors: the fuzzer's own hook would end the process at each.
libfuzzer_sys::fuzz_target!(init: std::panic::set_hook(Box::new(|_| {})), |bytes: &[u8]| {
    if let Err(reason) = templates::check(&templates::made(bytes)) {
        eprintln!("{reason}");
        std::process::abort();
    }
});
