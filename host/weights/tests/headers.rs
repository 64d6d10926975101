//! Headers of safetensors files: sound ones are read, every lie is refused with its reason, nothing panics.

use monocle_tensor::stored::StoredType;
use monocle_weights::{Header, SafetensorsFile};
use proptest::prelude::*;

/// A file with this header, its length put before it, and so many bytes of data.
fn file(header: &str, data: usize) -> Vec<u8> {
    let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
    bytes.extend(header.as_bytes());
    bytes.resize(bytes.len() + data, 0);
    bytes
}

fn refusal(header: &str, data: usize) -> String {
    Header::parse(&file(header, data)).unwrap_err()
}

#[test]
fn a_sound_header_is_read() {
    let header = r#"{"__metadata__":{"format":"pt"},
        "b":{"dtype":"BF16","shape":[2,3],"data_offsets":[4,16]},
        "a":{"dtype":"F32","shape":[],"data_offsets":[0,4]},
        "empty":{"dtype":"I64","shape":[0,7],"data_offsets":[16,16]}}   "#;
    let parsed = Header::parse(&file(header, 16)).unwrap();
    assert_eq!(parsed.metadata["format"], "pt");
    let start = 8 + header.len();
    let seen: Vec<_> = parsed
        .tensors
        .iter()
        .map(|t| (t.name.as_str(), t.kind, t.shape.as_slice(), t.range.clone()))
        .collect();
    assert_eq!(
        seen,
        [
            ("a", StoredType::F32, [].as_slice(), start..start + 4),
            ("b", StoredType::BF16, [2, 3].as_slice(), start + 4..start + 16),
            (
                "empty",
                StoredType::I64,
                [0, 7].as_slice(),
                start + 16..start + 16
            ),
        ]
    );
    assert_eq!(Header::parse(&file("{}", 0)).unwrap().tensors, []);
    assert_eq!(
        Header::parse(&file(r#"{"__metadata__":null}"#, 0))
            .unwrap()
            .metadata
            .len(),
        0
    );
}

#[test]
fn lying_lengths_are_refused() {
    assert!(
        Header::parse(&[1, 2, 3])
            .unwrap_err()
            .contains("3 bytes, fewer than the 8")
    );
    let mut bytes = file("{}", 0);
    bytes[..8].copy_from_slice(&1000u64.to_le_bytes());
    assert_eq!(
        Header::parse(&bytes).unwrap_err(),
        "its header claims 1000 bytes, but only 2 follow"
    );
    bytes[..8].copy_from_slice(&u64::MAX.to_le_bytes());
    assert!(
        Header::parse(&bytes)
            .unwrap_err()
            .contains("more than the 100000000 that are allowed")
    );
}

#[test]
fn lying_entries_are_refused() {
    let one = |rest: &str| format!(r#"{{"a":{{{rest}}}}}"#);
    for (header, data, expected) in [
        (one(r#""dtype":"F32","shape":[2],"data_offsets":[0,4]"#), 4, "tensor `a` of shape [2] and dtype F32 takes 8 bytes, but has 4"),
        (one(r#""dtype":"F32","shape":[2],"data_offsets":[0,8]"#), 4, "tensor `a` claims bytes 0 to 8 of 4: the file is cut short or its header is wrong"),
        (one(r#""dtype":"F32","shape":[1],"data_offsets":[4,0]"#), 4, "tensor `a` claims bytes 4 to 0 of 4"),
        (one(r#""dtype":"F99","shape":[1],"data_offsets":[0,4]"#), 4, "tensor `a` has the unknown dtype `F99`"),
        (one(r#""dtype":"F32","shape":[1],"data_offsets":[0,4]"#), 9, "5 bytes after the last tensor belong to none"),
        (one(r#""dtype":"F32","shape":[1],"data_offsets":[1,5]"#), 5, "1 bytes between the header and tensor `a` belong to none"),
        (one(r#""dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,0]"#), 0, "tensor `a` of shape [4294967296, 4294967296] and dtype F32 takes too many bytes, but has 0"),
        (one(r#""dtype":"F32","shape":[0,4294967296,4294967296],"data_offsets":[0,0]"#), 0, "tensor `a` of shape [0, 4294967296, 4294967296] and dtype F32 takes too many"),
        (one(r#""dtype":"F32","shape":[1],"data_offsets":[0]"#), 4, "bad header: tensor `a`: invalid length 1"),
        (one(r#""dtype":"F32","shape":[-1],"data_offsets":[0,4]"#), 4, "bad header: tensor `a`: invalid value: integer `-1`"),
        (one(r#""dtype":"F32","data_offsets":[0,4]"#), 4, "bad header: tensor `a`: missing field `shape`"),
        (r#"{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"a":{"dtype":"U8","shape":[1],"data_offsets":[1,2]}}"#.into(), 2, "bad header: `a` occurs twice"),
        (r#"{"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]},"b":{"dtype":"U8","shape":[2],"data_offsets":[1,3]}}"#.into(), 3, "tensor `b` begins inside tensor `a`"),
        (r#"{"__metadata__":{"a":1}}"#.into(), 0, "bad header: tensor `__metadata__`: invalid type: integer `1`"),
        ("[]".into(), 0, "bad header: invalid type: sequence, expected an object"),
        ("{".into(), 0, "bad header: EOF"),
    ] {
        let message = refusal(&header, data);
        assert!(message.starts_with(expected), "{header}: {message}");
    }
}

#[test]
fn broken_files_are_named() {
    let path = std::env::temp_dir().join(format!("monocle-headers-{}.safetensors", std::process::id()));
    std::fs::write(&path, "").unwrap();
    let expected = format!(
        "`{}` is not a sound safetensors file: it is empty; download it again",
        path.display()
    );
    assert_eq!(SafetensorsFile::open(&path).unwrap_err().to_string(), expected);
    std::fs::write(
        &path,
        file(r#"{"a":{"dtype":"U8","shape":[9],"data_offsets":[0,9]}}"#, 5),
    )
    .unwrap();
    let message = SafetensorsFile::open(&path).unwrap_err().to_string();
    assert!(
        message.contains("tensor `a` claims bytes 0 to 9 of 5"),
        "{message}"
    );
    std::fs::remove_file(&path).unwrap();
    let message = SafetensorsFile::open(&path).unwrap_err().to_string();
    assert!(message.starts_with("cannot open `"), "{message}");
}

/// What an accepted header promises.
fn check(bytes: &[u8]) {
    if let Ok(header) = Header::parse(bytes) {
        for tensor in header.tensors {
            assert!(tensor.range.end <= bytes.len());
            assert_eq!(
                tensor.shape.iter().product::<usize>() * tensor.kind.size(),
                tensor.range.len()
            );
        }
    }
}

#[test]
fn the_corpus_and_all_its_prefixes_are_read() {
    let mut files = 0;
    for entry in std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/fuzz/corpus/header")).unwrap() {
        let bytes = std::fs::read(entry.unwrap().path()).unwrap();
        for end in 0..=bytes.len() {
            check(&bytes[..end]);
        }
        files += 1;
    }
    assert!(files >= 4, "{files}");
}

proptest! {
    #[test]
    fn any_bytes_are_read(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        check(&bytes);
        check(&file(&String::from_utf8_lossy(&bytes), 8));
    }

    #[test]
    fn any_mutation_is_read(at in 0usize..200, byte in any::<u8>(), data in 0usize..40) {
        let header = r#"{"__metadata__":{"format":"pt"},"b":{"dtype":"BF16","shape":[2,3],"data_offsets":[4,16]},"a":{"dtype":"F32","shape":[],"data_offsets":[0,4]}}"#;
        let mut bytes = file(header, data);
        let at = at % bytes.len();
        bytes[at] = byte;
        check(&bytes);
    }

    #[test]
    fn any_entry_is_read(dtype in prop::sample::select(vec!["F32", "U8", "BOOL", "F8_E4M3", "F8_E5M2", "F8_E8M0", "X"]),
            shape in prop::collection::vec(prop_oneof![0u64..4, any::<u64>()], 0..4),
            begin in prop_oneof![0u64..20, any::<u64>()], end in prop_oneof![0u64..20, any::<u64>()], data in 0usize..20) {
        check(&file(&format!(r#"{{"a":{{"dtype":"{dtype}","shape":{shape:?},"data_offsets":[{begin},{end}]}}}}"#), data));
    }
}
