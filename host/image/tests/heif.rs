//! HEIC and AVIF, against what Pillow and pillow_heif read from the same files (`tests/oracle/make_heif_goldens.py`).
//!
//! Both stretch colours of lower resolution in their own way, so that edges between colours differ; `docs/design.md` has the figures.
#![cfg(feature = "heif")]

use std::fs;
use std::path::PathBuf;

use monocle_image::{DecodeOptions, Format, ImageError, Limits, decode, open};
use proptest::prelude::*;

fn oracle(name: &str) -> PathBuf {
    PathBuf::from(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../tests/oracle/decode/heif"
    ))
    .join(name)
}

fn file(name: &str) -> Vec<u8> {
    fs::read(oracle(name)).expect("the file")
}

#[test]
fn files_are_close_to_the_reference() {
    let index = fs::read_to_string(oracle("index.tsv")).expect("the index");
    assert!(index.lines().count() > 14);
    for line in index.lines() {
        let fields: Vec<&str> = line.split('\t').collect();
        let [name, width, height] = fields[..] else {
            panic!("not three fields: {line}");
        };
        let decoded = open(&oracle(name), &DecodeOptions::default()).expect(name);
        let picture = &decoded.picture;
        let size = format!("{}\t{}", picture.width(), picture.height());
        assert_eq!(size, format!("{width}\t{height}"), "{name}");
        let is_avif = name.contains(".avif");
        assert_eq!(decoded.source.format == Format::Avif, is_avif, "{name}");
        let expected = fs::read(oracle(&format!("{name}.rgb"))).expect("the pixels");
        assert_eq!(expected.len(), picture.rgb().len());
        let differences = picture.rgb().iter().zip(&expected).map(|(a, b)| a.abs_diff(*b));
        let largest = differences.clone().max().expect("pixels");
        let mean = differences.map(f64::from).sum::<f64>() / expected.len() as f64;
        println!("{name}: largest {largest}, mean {mean:.3}");
        // libavif stretches halved colours smoothly, and libheif repeats them (its smooth way is wrong at the borders, in 1.23.1).
        let (most, most_mean) = match () {
            _ if !is_avif => (0, 0.0),
            _ if ["444", "grey", "profile"].iter().any(|kind| name.contains(kind)) => (2, 0.6),
            _ => (80, 5.0),
        };
        assert!(
            largest <= most && mean <= most_mean,
            "{name}: largest {largest}, mean {mean}"
        );
    }
}

#[test]
fn what_was_done_is_told() {
    let losses = |name: &str| {
        let decoded = open(&oracle(name), &DecodeOptions::default()).expect(name);
        decoded.source.losses()
    };
    assert_eq!(losses("photo.heic"), [""; 0]);
    assert_eq!(losses("ten.avif"), ["10 bits a colour brought to 8"]);
    assert_eq!(
        losses("profile.avif"),
        ["colours taken as sRGB: the colour profile `Odd colours` is not applied"]
    );
    assert!(losses("alpha.heic")[0].ends_with("transparent pixels laid over white"));
    assert!(losses("two.heic")[0].starts_with("only the first of 2 pages or frames used"));
    let error = open(&oracle("two.heic#3"), &DecodeOptions::default()).expect_err("no such picture");
    assert!(
        error.to_string().contains("the HEIC file has 2 pages or frames"),
        "{error}"
    );
}

#[test]
fn both_kinds_are_held_to_the_limits() {
    for name in ["photo.heic", "photo.avif"] {
        let bytes = file(name);
        let within = |limits: Limits| {
            let options = DecodeOptions {
                limits,
                ..DecodeOptions::default()
            };
            decode(&bytes, &options).expect_err(name)
        };
        let pixels = Limits {
            max_pixels: 64 * 48 - 1,
            ..Limits::default()
        };
        assert!(!matches!(within(pixels), ImageError::Damaged { .. }), "{name}");
        let decoded = Limits {
            max_decoded_bytes: 64 * 48 * 3 - 1,
            ..Limits::default()
        };
        assert!(
            matches!(within(decoded), ImageError::TooManyBytes { .. }),
            "{name}"
        );
        let memory = Limits {
            max_memory_bytes: 64 * 48 * 8,
            ..Limits::default()
        };
        assert!(!matches!(within(memory), ImageError::Damaged { .. }), "{name}");
    }
}

#[test]
fn files_cut_in_half_are_refused() {
    for name in ["photo.heic", "photo.avif"] {
        let bytes = file(name);
        let error = decode(&bytes[..bytes.len() / 2], &DecodeOptions::default()).expect_err(name);
        assert!(!error.to_string().is_empty());
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn damaged_files_never_panic(
        which in prop::sample::select(vec!["photo.heic", "alpha.heic", "two.heic", "photo.avif", "alpha.avif", "ten.avif"]),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>(), any::<bool>()), 0..8),
        keep in prop::option::of(any::<prop::sample::Index>()),
        page in prop::option::of(1u32..3),
    ) {
        let mut bytes = file(which);
        for (at, value, near_start) in changes {
            let at = if near_start { at.index(bytes.len().min(600)) } else { at.index(bytes.len()) };
            bytes[at] = value;
        }
        if let Some(keep) = keep {
            bytes.truncate(keep.index(bytes.len()));
        }
        let limits = Limits { max_pixels: 10_000, max_decoded_bytes: 100_000, max_memory_bytes: 1_000_000, max_file_bytes: 100_000 };
        match decode(&bytes, &DecodeOptions { limits, page, ..DecodeOptions::default() }) {
            Ok(decoded) => {
                let picture = decoded.picture;
                let pixels = u64::from(picture.width()) * u64::from(picture.height());
                prop_assert!(pixels <= 10_000);
                prop_assert_eq!(picture.rgb().len() as u64, pixels * 3);
            }
            Err(error) => prop_assert!(!error.to_string().is_empty()),
        }
    }
}
