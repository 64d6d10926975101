//! GGUF: numbers of every kind of block, and headers of every kind of damage.

use monocle_tensor::scheme::Scheme;
use monocle_tensor::stored::{Bytes, Matrix, StoredTensor, StoredType};
use monocle_weights::dequantise_rows;
use monocle_weights::gguf::{GgufFile, GgufHeader, Storage};
use proptest::prelude::*;
use serde::Deserialize;
use serde_json::json;

#[derive(Deserialize)]
struct Golden {
    scheme: String,
    elements: usize,
    bytes: usize,
    blocks: String,
    values: String,
}

fn hex(text: &str) -> Vec<u8> {
    let digits = text.as_bytes().chunks(2);
    digits
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
        .collect()
}

fn goldens() -> Vec<(Scheme, Vec<u8>, Vec<f32>, Golden)> {
    let text = include_str!("../../../tests/oracle/gguf/blocks.json");
    let goldens: Vec<Golden> = serde_json::from_str(text).unwrap();
    goldens
        .into_iter()
        .map(|golden| {
            let scheme = Scheme::ALL
                .into_iter()
                .find(|scheme| scheme.name() == golden.scheme);
            let values = hex(&golden.values);
            let values = values
                .as_chunks::<4>()
                .0
                .iter()
                .map(|&word| f32::from_le_bytes(word));
            (scheme.unwrap(), hex(&golden.blocks), values.collect(), golden)
        })
        .collect()
}

/// The package `gguf` multiplies in another order here and there, so a number may differ in its last bit.
fn near(found: f32, expected: f32) -> bool {
    (found - expected).abs() <= expected.abs() * 2.4e-7 + 1e-9
}

#[test]
fn numbers_are_those_of_the_package_gguf() {
    let goldens = goldens();
    assert_eq!(goldens.len(), Scheme::ALL.len());
    for (scheme, blocks, expected, golden) in goldens {
        assert_eq!(
            (scheme.elements(), scheme.bytes()),
            (golden.elements, golden.bytes),
            "{scheme}"
        );
        let mut values = vec![0.0; expected.len()];
        scheme.decode(&blocks, &mut values);
        for (index, (found, expected)) in values.iter().zip(&expected).enumerate() {
            assert!(
                near(*found, *expected),
                "{scheme} {index}: {found}, expected {expected}"
            );
        }
        // Any part of a row is the same numbers.
        for (start, len) in [(0, 512), (128, 256), (384, 128), (0, 1), (511, 1), (31, 300)] {
            let mut part = vec![0.0; len];
            scheme.decode_part(&blocks, start, &mut part);
            assert_eq!(part, values[start..start + len], "{scheme} {start} {len}");
        }
    }
}

#[test]
fn even_levels_become_affine_without_loss() {
    let mut affine = 0;
    for (scheme, blocks, _, _) in goldens() {
        let rows = 2;
        let matrix = Matrix::Blocks {
            blocks: StoredTensor {
                name: "blocks".to_owned(),
                kind: StoredType::U8,
                shape: vec![rows, blocks.len() / rows],
                bytes: Bytes::new(blocks),
            },
            scheme,
        };
        assert_eq!(matrix.check(), Ok([rows, 256]));
        let made = matrix.blocks_as_affine();
        assert_eq!(made.is_some(), scheme.affine_bits().is_some(), "{scheme}");
        let Some(made) = made else { continue };
        affine += 1;
        assert_eq!(made.check(), Ok([rows, 256]), "{scheme}");
        let [found, expected] = [made, matrix].map(|matrix| dequantise_rows(&matrix, 0..rows).unwrap());
        // `scale * level + bias` rounds twice where `scale * (level - middle)` rounds once.
        let largest = expected.iter().fold(0.0_f32, |most, value| most.max(value.abs()));
        for (found, expected) in found.iter().zip(&expected) {
            assert!(
                (found - expected).abs() <= largest * 1.2e-7,
                "{scheme}: {found}, expected {expected}"
            );
        }
    }
    assert_eq!(affine, 5);
}

/// Writes numbers as GGUF does.
#[derive(Default, Clone)]
struct Writer(Vec<u8>);

impl Writer {
    fn u32(&mut self, value: u32) -> &mut Self {
        self.0.extend(value.to_le_bytes());
        self
    }

    fn u64(&mut self, value: u64) -> &mut Self {
        self.0.extend(value.to_le_bytes());
        self
    }

    fn text(&mut self, text: &str) -> &mut Self {
        self.u64(text.len() as u64);
        self.0.extend(text.as_bytes());
        self
    }

    fn tensor(&mut self, name: &str, sizes: &[u64], kind: u32, offset: u64) -> &mut Self {
        self.text(name).u32(sizes.len() as u32);
        for size in sizes {
            self.u64(*size);
        }
        self.u32(kind).u64(offset)
    }
}

fn sample() -> Vec<u8> {
    let mut file = Writer(b"GGUF".to_vec());
    file.u32(3).u64(2).u64(4);
    file.text("general.architecture").u32(8).text("x");
    file.text("epsilon").u32(6).u32(1e-5_f32.to_bits());
    file.text("list").u32(9).u32(5).u64(2).u32(-1_i32 as u32).u32(7);
    file.text("words").u32(9).u32(8).u64(2).text("a").text("bc");
    file.tensor("dense", &[3, 2], 0, 0);
    file.tensor("blocks", &[64, 2], 2, 32);
    file.0.resize(file.0.len().next_multiple_of(32), 0);
    file.0.extend(
        [1.0_f32, 2.0, 3.0, 4.0, 5.0, 6.0]
            .iter()
            .flat_map(|value| value.to_le_bytes()),
    );
    file.0.resize(file.0.len() + 8, 0);
    file.0.extend([7; 4 * 18]);
    file.0
}

#[test]
fn a_header_is_read_as_it_was_written() {
    let bytes = sample();
    let header = GgufHeader::parse(&bytes).unwrap();
    assert_eq!(header.values["general.architecture"], "x");
    assert_eq!(header.values["epsilon"], json!(1e-5));
    assert_eq!(header.values["list"], json!([-1, 7]));
    assert_eq!(header.values["words"], json!(["a", "bc"]));
    let [dense, blocks] = &header.tensors[..] else {
        panic!()
    };
    assert_eq!(
        (dense.storage, &dense.shape[..]),
        (Storage::Plain(StoredType::F32), &[2, 3][..])
    );
    assert_eq!(
        (blocks.storage, &blocks.shape[..]),
        (Storage::Blocks(Scheme::Q4_0), &[2, 64][..])
    );
    assert_eq!(blocks.range.len(), 72);
    assert_eq!(blocks.range.start - dense.range.start, 32);
    assert_eq!(bytes[dense.range.clone()][..4], 1.0_f32.to_le_bytes());
    let path = std::env::temp_dir().join(format!("monocle-gguf-{}.gguf", std::process::id()));
    std::fs::write(&path, &bytes).unwrap();
    assert_eq!(GgufFile::open(&path).unwrap().header().tensors.len(), 2);
    std::fs::write(&path, &bytes[..bytes.len() - 1]).unwrap();
    let error = GgufFile::open(&path).unwrap_err().to_string();
    assert!(error.contains("`blocks` lies beyond the file's end"), "{error}");
    std::fs::remove_file(&path).unwrap();
}

#[test]
fn wrong_headers_are_refused_with_their_reason() {
    let with = |write: fn(&mut Writer)| {
        let mut file = Writer(b"GGUF".to_vec());
        write(&mut file);
        file.0.resize(file.0.len() + 4096, 0);
        GgufHeader::parse(&file.0).unwrap_err().to_string()
    };
    for (write, expected) in [
        (
            (|f: &mut Writer| {
                f.u32(1);
            }) as fn(&mut Writer),
            "version 1",
        ),
        (
            |f| {
                f.u32(3_u32.swap_bytes());
            },
            "big-endian",
        ),
        (
            |f| {
                f.u32(3).u64(1).u64(0).tensor("t", &[33], 2, 0);
            },
            "no multiple of its blocks of 32",
        ),
        (
            |f| {
                f.u32(3).u64(1).u64(0).tensor("t", &[1 << 62, 1 << 62], 0, 0);
            },
            "too large",
        ),
        (
            |f| {
                f.u32(3).u64(1).u64(0).tensor("t", &[0, 1 << 62, 8], 0, 0);
            },
            "too large",
        ),
        (
            |f| {
                f.u32(3).u64(1).u64(0).tensor("t", &[4], 0, 1);
            },
            "no multiple of 32",
        ),
        (
            |f| {
                f.u32(3).u64(1).u64(0).tensor("t", &[4], 0, u64::MAX - 31);
            },
            "beyond the file's end",
        ),
        (
            |f| {
                f.u32(3).u64(1).u64(0).tensor("t", &[256], 16, 0);
            },
            "IQ2_XXS",
        ),
        (
            |f| {
                f.u32(3).u64(1).u64(0).tensor("t", &[1; 5], 0, 0);
            },
            "5 dimensions",
        ),
        (
            |f| {
                f.u32(3)
                    .u64(2)
                    .u64(0)
                    .tensor("t", &[1], 0, 0)
                    .tensor("t", &[1], 0, 0);
            },
            "occurs twice",
        ),
        (
            |f| {
                f.u32(3).u64(0).u64(1).text("general.alignment").u32(4).u32(0);
            },
            "power of two",
        ),
        (
            |f| {
                f.u32(3).u64(0).u64(1).text("k").u32(9).u32(0).u64(u64::MAX);
            },
            "more than",
        ),
        (
            |f| {
                f.u32(3).u64(0).u64(1).u64(u64::MAX);
            },
            "in the middle of a value",
        ),
    ] {
        let error = with(write);
        assert!(error.contains(expected), "{error}, expected {expected}");
    }
}

/// A file of a kind that is not read is not called damaged: to fetch it again would not help.
#[test]
fn sound_files_that_are_not_read_are_told_from_broken_ones() {
    let of_type = |kind: u32| {
        let mut file = Writer(b"GGUF".to_vec());
        file.u32(3).u64(1).u64(0).tensor("t", &[256], kind, 0);
        file.0
    };
    let of_version = |version: u32| [b"GGUF".as_slice(), &version.to_le_bytes(), &[0; 64]].concat();
    let path = std::env::temp_dir().join(format!("monocle-gguf-unread-{}.gguf", std::process::id()));
    let error = |bytes: Vec<u8>| {
        std::fs::write(&path, bytes).unwrap();
        GgufFile::open(&path).unwrap_err().to_string()
    };
    // Numbers and names of `ggml_type` in `ggml.h`.
    for (number, name) in [
        (15, "Q8_K"),
        (21, "IQ3_S"),
        (40, "NVFP4"),
        (41, "Q1_0"),
        (99, "does not know"),
    ] {
        let error = error(of_type(number));
        assert!(
            error.contains("cannot be used: tensor `t` is stored as") && error.contains(name),
            "{error}"
        );
        assert!(!error.contains("download"), "{error}");
    }
    for version in [1, 9, 3_u32.swap_bytes()] {
        let error = error(of_version(version));
        assert!(
            error.contains("cannot be used") && error.contains("take"),
            "{error}"
        );
    }
    for broken in [of_type(0xdead_beef), of_version(0xdead_beef)] {
        let error = error(broken);
        assert!(
            error.contains("is not a sound GGUF file") && error.contains("download it again"),
            "{error}"
        );
    }
    std::fs::remove_file(&path).unwrap();
}

proptest! {
    #[test]
    fn no_change_of_a_file_does_harm(changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4), cut in any::<prop::sample::Index>()) {
        let mut bytes = sample();
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        let end = cut.index(bytes.len() * 2).min(bytes.len());
        if let Ok(header) = GgufHeader::parse(&bytes[..end]) {
            for tensor in header.tensors {
                prop_assert!(tensor.range.start <= tensor.range.end && tensor.range.end <= end);
            }
        }
    }
}

/// What fuzzers begin with (`tests/fuzz/make_corpora.py`): sound and broken files, and all their beginnings.
#[test]
fn the_corpus_and_all_its_prefixes_are_read() {
    let corpus = concat!(env!("CARGO_MANIFEST_DIR"), "/fuzz/corpus/gguf");
    let mut files = 0;
    for entry in std::fs::read_dir(corpus).unwrap() {
        let bytes = std::fs::read(entry.unwrap().path()).unwrap();
        for end in 0..=bytes.len() {
            if let Ok(header) = GgufHeader::parse(&bytes[..end]) {
                assert!(header.tensors.iter().all(|tensor| tensor.range.end <= end));
            }
        }
        files += 1;
    }
    assert!(files >= 4, "{files}");
    let read = |name: &str| GgufHeader::parse(&std::fs::read(format!("{corpus}/{name}")).unwrap());
    let header = read("one-tensor.gguf").unwrap();
    let tensor = &header.tensors[0];
    assert_eq!((tensor.shape.as_slice(), tensor.range.len()), (&[2, 4][..], 32));
    assert_eq!(read("values-only.gguf").unwrap().values.len(), 2);
    read("cut.gguf").unwrap_err();
    read("many-tensors.gguf").unwrap_err();
}
