//! Decoding every kind of file, against what PIL and transformers read from the same files
//! (`tests/oracle/make_decode_goldens.py`).

use std::fs;
use std::path::PathBuf;

use monocle_image::{AlphaHandling, DecodeOptions, Format, Source, WideGrey, decode, open};
use sha2::{Digest, Sha256};

fn oracle(name: &str) -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/oracle/decode")).join(name)
}

fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

fn with_alpha(alpha: AlphaHandling) -> DecodeOptions {
    DecodeOptions {
        alpha,
        ..DecodeOptions::default()
    }
}

struct Golden {
    name: String,
    width: u32,
    height: u32,
    orientation: u8,
    may_round: bool,
    dropped: String,
    over_white: String,
}

fn goldens() -> Vec<Golden> {
    let text = fs::read_to_string(oracle("index.tsv")).expect("the index");
    text.lines()
        .map(|line| {
            let fields: Vec<&str> = line.split('\t').collect();
            let [name, width, height, orientation, may_round, dropped, over_white] = fields[..] else {
                panic!("not seven fields: {line}");
            };
            Golden {
                name: name.to_owned(),
                width: width.parse().expect("width"),
                height: height.parse().expect("height"),
                orientation: orientation.parse().expect("orientation"),
                may_round: may_round == "1",
                dropped: dropped.to_owned(),
                over_white: over_white.to_owned(),
            }
        })
        .collect()
}

#[test]
fn files_equal_pil_bit_for_bit() {
    let goldens: Vec<Golden> = goldens().into_iter().filter(|golden| !golden.may_round).collect();
    assert!(goldens.len() > 30);
    for golden in goldens {
        let path = oracle(&golden.name);
        for (alpha, digest) in [
            (AlphaHandling::Drop, &golden.dropped),
            (AlphaHandling::OverWhite, &golden.over_white),
        ] {
            let decoded = open(&path, &with_alpha(alpha)).expect("a picture");
            let picture = &decoded.picture;
            assert_eq!(
                (picture.width(), picture.height()),
                (golden.width, golden.height),
                "{}",
                golden.name
            );
            assert_eq!(decoded.source.orientation, golden.orientation, "{}", golden.name);
            assert_eq!(sha256(picture.rgb()), *digest, "{} {alpha:?}", golden.name);
        }
    }
}

/// JPEG leaves to the decoder the last bit of the inverse transform and of the colour conversion, and the way colours
/// of halved resolution are stretched; so a pixel may differ a little from libjpeg-turbo's, which PIL uses. (And PIL
/// rounds ties to even when it scales the values of a PNM file.)
#[test]
fn files_that_decoders_may_round_are_close_to_pil() {
    let goldens: Vec<Golden> = goldens().into_iter().filter(|golden| golden.may_round).collect();
    assert!(goldens.len() > 15);
    for golden in goldens {
        let decoded = open(&oracle(&golden.name), &DecodeOptions::default()).expect("a picture");
        let picture = &decoded.picture;
        assert_eq!(
            (picture.width(), picture.height()),
            (golden.width, golden.height),
            "{}",
            golden.name
        );
        assert_eq!(decoded.source.orientation, golden.orientation, "{}", golden.name);
        let expected = fs::read(oracle(&format!("{}.rgb", golden.name))).expect("the pixels");
        let differences: Vec<u8> = picture
            .rgb()
            .iter()
            .zip(&expected)
            .map(|(a, b)| a.abs_diff(*b))
            .collect();
        let largest = differences.iter().copied().max().expect("pixels");
        let mean = differences.iter().map(|value| f64::from(*value)).sum::<f64>() / differences.len() as f64;
        assert!(
            largest <= 3 && mean <= 0.3,
            "{}: largest {largest}, mean {mean}",
            golden.name
        );
    }
}

#[test]
fn every_value_and_transparency_is_laid_over_white_as_pil_does() {
    let decoded = open(&oracle("every_alpha.png"), &with_alpha(AlphaHandling::OverWhite)).expect("a picture");
    let expected = fs::read_to_string(oracle("every_alpha.sha256")).expect("the digest");
    assert_eq!(sha256(decoded.picture.rgb()), expected.trim());
    assert_eq!(decoded.source.transparent_pixels, 256 * 255);
}

fn source(name: &str) -> Source {
    open(&oracle(name), &DecodeOptions::default())
        .expect("a picture")
        .source
}

#[test]
fn what_was_done_is_told() {
    assert_eq!(source("rgb.png").steps(), [""; 0]);

    let turned = source("oriented_6.jpg");
    assert_eq!(
        (turned.format, turned.width, turned.height),
        (Format::Jpeg, 27, 19)
    );
    assert_eq!(turned.steps(), ["turned upright (EXIF orientation 6)"]);

    assert_eq!(source("cmyk.jpg").steps(), ["converted from CMYK to RGB"]);
    assert_eq!(source("grey.tiff").steps(), ["converted from grey to RGB"]);
    let transparent = source("rgba.png").steps();
    assert_eq!(transparent[0], "converted from RGB with alpha to RGB");
    assert!(
        transparent[1].ends_with("transparent pixels laid over white"),
        "{transparent:?}"
    );
    for name in ["two_frames.gif", "two_pages.tiff"] {
        let steps = source(name).steps();
        assert!(
            steps.contains(&"only the first frame or page used".to_owned()),
            "{name}: {steps:?}"
        );
    }
    assert!(!source("palette.gif").more_frames);
    assert!(!source("rgb.tiff").more_frames);
    let clipped = source("grey16.tiff").steps();
    assert!(
        clipped[1].ends_with("grey values above 255 cut off"),
        "{clipped:?}"
    );
}

#[test]
fn wide_grey_can_keep_its_high_byte() {
    let options = DecodeOptions {
        wide_grey: WideGrey::HighByte,
        ..DecodeOptions::default()
    };
    let file = b"P5 3 1 65535\n\x00\xff\x80\x00\xff\xff";
    let decoded = decode(file, &options).expect("a picture");
    assert_eq!(decoded.picture.rgb(), [0, 0, 0, 128, 128, 128, 255, 255, 255]);
    assert_eq!(decoded.source.clipped_pixels, 0);
}
