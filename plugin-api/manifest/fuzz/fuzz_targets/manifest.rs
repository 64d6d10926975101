//! Reads any text as a manifest.

#![no_main]

libfuzzer_sys::fuzz_target!(|text: &str| {
    let _ = monocle_manifest::Manifest::from_str(text, "fuzzed.toml");
});
