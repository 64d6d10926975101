//! Decodes any bytes as a picture: see `host/image/fuzz/pictures.rs`.

#![no_main]

#[path = "../pictures.rs"]
mod pictures;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let (options, file) = pictures::made(bytes);
    if let Err(reason) = pictures::check(file, &options) {
        panic!("{reason}");
    }
});
