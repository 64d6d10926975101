//! Any bytes are a GGUF header or an error, and what a header says lies within the file.
#![no_main]

use libfuzzer_sys::fuzz_target;
use monocle_weights::gguf::GgufHeader;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(header) = GgufHeader::parse(bytes) {
        for tensor in header.tensors {
            assert!(tensor.range.start <= tensor.range.end && tensor.range.end <= bytes.len());
        }
    }
});
