//! Reads any bytes as a safetensors file.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    if let Ok(header) = monocle_weights::Header::parse(bytes) {
        for tensor in header.tensors {
            assert!(tensor.range.end <= bytes.len());
            assert_eq!(tensor.shape.iter().product::<usize>() * tensor.kind.size(), tensor.range.len());
        }
    }
});
