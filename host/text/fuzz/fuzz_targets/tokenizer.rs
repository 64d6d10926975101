//! Makes a tokenizer file of any bytes and uses it: see `host/text/fuzz/tokenizers.rs`.

#![no_main]

#[path = "../tokenizers.rs"]
mod tokenizers;

// Panics of libraries that are caught are errors: the fuzzer's own hook would end the process at each.
libfuzzer_sys::fuzz_target!(init: std::panic::set_hook(Box::new(|_| {})), |bytes: &[u8]| {
    if let Err(reason) = tokenizers::check(bytes) {
        eprintln!("{reason}");
        std::process::abort();
    }
});
