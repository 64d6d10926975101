//! Decodes any bytes as a picture: see `host/image/fuzz/pictures.rs`.

#![no_main]

#[path = "../pictures.rs"]
mod pictures;

use monocle_image::DecodeOptions;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    // The first byte chooses a page, as a user may.
    let (page, bytes) = bytes.split_first().map_or((0, bytes), |(first, rest)| (first % 4, rest));
    let page = (page > 0).then_some(u32::from(page));
    if let Err(reason) = pictures::check(bytes, &DecodeOptions { page, ..pictures::small() }) {
        panic!("{reason}");
    }
});
