//! Decodes any bytes as a picture.

#![no_main]

use monocle_image::{DecodeOptions, Limits, decode};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let options = DecodeOptions {
        limits: Limits {
            max_pixels: 10_000,
            ..Limits::default()
        },
        ..DecodeOptions::default()
    };
    if let Ok(decoded) = decode(bytes, &options) {
        let picture = decoded.picture;
        let pixels = u64::from(picture.width()) * u64::from(picture.height());
        assert!(pixels <= 10_000 && picture.rgb().len() as u64 == 3 * pixels);
    }
});
