//! Decoding every kind of file, against what PIL and transformers read from the same files
//! (`tests/oracle/make_decode_goldens.py`).

use std::fs;
use std::path::PathBuf;

use monocle_image::{AlphaHandling, DecodeOptions, Format, Narrowed, Source, WideGrey, decode, open};
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

/// As PIL has it.
fn with_alpha(alpha: AlphaHandling) -> DecodeOptions {
    DecodeOptions {
        alpha,
        wide_grey: WideGrey::Clip,
        ..DecodeOptions::default()
    }
}

/// Kinds of JPEG that are refused, and what they are called. PIL reads all but the last.
const UNREADABLE: [(&str, &str); 6] = [
    ("colour_311.jpg", "colours of a third of the resolution"),
    ("progressive_311.jpg", "colours of a third of the resolution"),
    ("arithmetic.jpg", "arithmetic coding"),
    ("arithmetic_progressive.jpg", "arithmetic coding"),
    ("lossless.jpg", "lossless coding"),
    ("twelve.jpg", "samples of 12 bits"),
];

struct Golden {
    name: String,
    width: u32,
    height: u32,
    orientation: u8,
    may_round: bool,
    dropped: String,
    over_white: String,
}

/// Files of every kind, and (`make_decode_kinds.py`) of the less common kinds, pages and frames.
fn goldens() -> Vec<Golden> {
    let index = |name| fs::read_to_string(oracle(name)).expect("the index");
    let text = index("index.tsv") + &index("kinds.tsv");
    text.lines()
        .filter(|line| {
            !UNREADABLE
                .iter()
                .any(|(name, _)| line.starts_with(&format!("{name}\t")))
        })
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
    assert!(goldens.len() > 80);
    for golden in goldens {
        let path = oracle(&golden.name);
        for (alpha, digest) in [
            (AlphaHandling::Drop, &golden.dropped),
            (AlphaHandling::OverWhite, &golden.over_white),
        ] {
            let decoded = open(&path, &with_alpha(alpha)).expect(&golden.name);
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
/// of lower resolution are stretched; so a pixel may differ a little from libjpeg-turbo's, which PIL uses. (And PIL
/// rounds ties to even when it scales the values of a PNM file.) `docs/design.md` has the figures.
#[test]
fn files_that_decoders_may_round_are_close_to_pil() {
    let goldens: Vec<Golden> = goldens().into_iter().filter(|golden| golden.may_round).collect();
    assert!(goldens.len() > 50);
    for golden in goldens {
        let decoded = open(&oracle(&golden.name), &DecodeOptions::default()).expect(&golden.name);
        assert_eq!(decoded.source.damage, None, "{}", golden.name);
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
        // Frames that are laid over others are rounded down each time, and not to the nearest.
        let (most, most_mean) = match golden.name.starts_with("frames") {
            true => (2, 1.0),
            false => (3, 0.3),
        };
        println!("{}: largest {largest}, mean {mean:.3}", golden.name);
        assert!(
            largest <= most && mean <= most_mean,
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
    for (name, pages) in [
        ("two_frames.gif", 2),
        ("two_pages.tiff", 2),
        ("frames.png", 3),
        ("frames.webp", 3),
    ] {
        let told = format!(
            "only the first of {pages} pages or frames used (`#2` behind the file's name takes the second)"
        );
        assert!(
            source(name).losses().contains(&told),
            "{name}: {:?}",
            source(name).steps()
        );
        let chosen = source(&format!("{name}#2"));
        assert_eq!(
            chosen
                .losses()
                .iter()
                .filter(|loss| loss.contains("pages"))
                .count(),
            0
        );
        assert!(
            chosen
                .steps()
                .contains(&format!("page or frame 2 of {pages} used")),
            "{:?}",
            chosen.steps()
        );
    }
    assert_eq!(source("palette.gif").pages, 1);
    assert_eq!(source("rgb.tiff").pages, 1);
    assert_eq!(source("rgb16.png").losses(), ["16 bits a colour brought to 8"]);
    assert!(transparent[1] == source("rgba.png").losses()[0]);
    assert_eq!(
        source("no_end.png").losses(),
        ["damage worked around: the file has no end"]
    );
}

#[test]
fn colour_profiles_other_than_srgb_are_told() {
    for name in ["profile.png", "profile.webp", "profile.tiff", "profile.jpg"] {
        assert_eq!(
            source(name).losses(),
            ["colours taken as sRGB: the colour profile `Odd colours` is not applied"],
            "{name}"
        );
    }
    assert_eq!(source("srgb_profile.png").steps(), [""; 0]);
}

#[test]
fn unreadable_kinds_of_jpeg_are_named() {
    for (name, what) in UNREADABLE {
        let error = open(&oracle(name), &DecodeOptions::default()).expect_err(name);
        assert!(
            error.to_string().contains(&format!("cannot be read: {what}")),
            "{error}"
        );
    }
}

/// 0 to 65535 as 0 to 255: `value * 255 / 65535`, rounded, by hand.
#[test]
fn wide_grey_is_scaled_or_cut_off() {
    let file = b"P5 5 1 65535\n\x00\x80\x00\x81\x00\xff\x80\x00\xff\xff";
    let decoded = decode(file, &DecodeOptions::default()).expect("a picture");
    let grey: Vec<u8> = decoded.picture.rgb().iter().copied().step_by(3).collect();
    assert_eq!(grey, [0, 1, 1, 128, 255]);
    assert_eq!(
        decoded.source.narrowed,
        Some(Narrowed::GreyScaled { largest: 65535 })
    );
    let loss = "16-bit grey scaled to 8 bits (its largest value is 65535 of 65535)";
    assert_eq!(decoded.source.losses(), [loss]);

    let clipped = decode(file, &with_alpha(AlphaHandling::Drop)).expect("a picture");
    let grey: Vec<u8> = clipped.picture.rgb().iter().copied().step_by(3).collect();
    assert_eq!(grey, [128, 129, 255, 255, 255]);
    assert_eq!(clipped.source.losses(), ["2 grey values above 255 cut off"]);
}

#[test]
fn a_page_that_is_not_there_is_refused_with_how_many_are() {
    let cases = [
        (
            "two_pages.tiff#3",
            "the TIFF file has 2 pages or frames, and number 3 was asked for",
        ),
        (
            "frames_1.gif#4",
            "the GIF file has 3 pages or frames, and number 4 was asked for",
        ),
        (
            "frames.png#4",
            "the PNG file has 3 pages or frames, and number 4 was asked for",
        ),
        (
            "frames.webp#4",
            "the WebP file has 3 pages or frames, and number 4 was asked for",
        ),
        (
            "rgb.jpg#2",
            "the JPEG file has 1 page or frame, and number 2 was asked for",
        ),
        (
            "rgb.bmp#2",
            "the BMP file has 1 page or frame, and number 2 was asked for",
        ),
        (
            "two_pages.tiff#0",
            "number 0 was asked for; they are counted from 1",
        ),
    ];
    for (name, expected) in cases {
        let error = open(&oracle(name), &DecodeOptions::default())
            .expect_err(name)
            .to_string();
        assert!(
            error.contains(&format!("{name}`: ")) && error.contains(expected),
            "{error}"
        );
    }
}

#[test]
fn a_file_whose_name_ends_like_a_page_wins() {
    let folder = std::env::temp_dir().join(format!("monocle-pages-{}", std::process::id()));
    fs::create_dir_all(&folder).expect("a folder");
    fs::copy(oracle("two_pages.tiff"), folder.join("photo.tif")).expect("a copy");
    let open = |name: &str| open(&folder.join(name), &DecodeOptions::default());
    let (first, second) = (
        open("photo.tif").expect("page 1"),
        open("photo.tif#2").expect("page 2"),
    );
    assert_ne!(first.picture, second.picture);
    fs::copy(oracle("rgb.png"), folder.join("photo.tif#2")).expect("a copy");
    assert_eq!(open("photo.tif#2").expect("the file").source.format, Format::Png);
    assert!(
        open("other.tif#2")
            .expect_err("no file")
            .to_string()
            .contains("other.tif#2`")
    );
    fs::remove_dir_all(&folder).expect("tidied up");
}
