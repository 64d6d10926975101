//! Resizing, cropping and turning into floats, against what PIL and transformers made of the same pictures
//! (`tests/oracle/make_resize_goldens.py`).

use std::fs;
use std::path::PathBuf;

use monocle_image::{DecodeOptions, Filter, ImageError, Layout, Normalise, Picture, open};
use sha2::{Digest, Sha256};

fn oracle(name: &str) -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/oracle/resize")).join(name)
}

/// The fields of each line of a table.
fn table(name: &str) -> Vec<Vec<String>> {
    let text = fs::read_to_string(oracle(name)).expect("the golden table");
    let lines: Vec<_> = text
        .lines()
        .map(|line| line.split('\t').map(str::to_owned).collect())
        .collect();
    assert!(!lines.is_empty());
    lines
}

fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

fn numbers(text: &str) -> Vec<i64> {
    text.split(' ')
        .map(|number| number.parse().expect("a number"))
        .collect()
}

/// The script's `synthetic` picture, or a photo.
fn picture(name: &str) -> Picture {
    if name.ends_with(".png") {
        return open(&oracle(name), &DecodeOptions::default())
            .expect("the photo")
            .picture;
    }
    let (width, height) = name.split_once('x').expect("a size");
    let (width, height): (u64, u64) = (width.parse().expect("width"), height.parse().expect("height"));
    let mut rgb = Vec::new();
    for y in 0..height {
        for x in 0..width {
            for channel in 0..3 {
                let hashed = ((x * 31 + y * 1009 + channel * 57 + 1) * 2654435761) as u32;
                rgb.push((hashed >> 13) as u8);
            }
        }
    }
    Picture::from_rgb(width as u32, height as u32, rgb).expect("a picture")
}

fn samples(picture: &Picture) -> String {
    let (w, h) = (picture.width(), picture.height());
    let points = [(0, 0), (w - 1, 0), (w / 2, h / 2), (w - 1, h - 1)];
    let pixels = points.map(|(x, y)| {
        let at = (y as usize * w as usize + x as usize) * 3;
        picture.rgb()[at..at + 3]
            .iter()
            .map(|value| format!("{value:02x}"))
            .collect::<String>()
    });
    pixels.join(" ")
}

#[test]
fn resizing_equals_pil_bit_for_bit() {
    resizes_to("resize.tsv", |code| {
        Filter::from_pil(code.parse().expect("a code")).expect("a filter")
    });
}

#[test]
fn resizing_equals_pytorch_bit_for_bit() {
    resizes_to("torch.tsv", |_| Filter::TorchBilinear);
}

fn resizes_to(name: &str, filter: fn(&str) -> Filter) {
    for row in table(name) {
        let [source, width, height, code, digest, pixels] = row.try_into().expect("six fields");
        let filter = filter(&code);
        let (width, height) = (width.parse().expect("width"), height.parse().expect("height"));
        let resized = picture(&source).resize(width, height, filter).expect("a picture");
        let case = format!("{source} to {width} x {height} with {filter:?}");
        assert_eq!((resized.width(), resized.height()), (width, height), "{case}");
        assert_eq!(samples(&resized), pixels, "{case}");
        assert_eq!(sha256(resized.rgb()), digest, "{case}");
    }
}

#[test]
fn pil_has_six_filters() {
    let named = [
        Filter::Nearest,
        Filter::Lanczos,
        Filter::Bilinear,
        Filter::Bicubic,
        Filter::Box,
        Filter::Hamming,
    ];
    for (code, filter) in named.into_iter().enumerate() {
        assert_eq!(Filter::from_pil(code as u32), Some(filter));
    }
    assert_eq!(Filter::from_pil(6), None);
}

/// Bands of odd numbers of rows too; that one thread gives the references' pixels is held above.
#[test]
fn any_number_of_threads_gives_the_same_pixels() {
    let source: Vec<u8> = (0..701 * 403 * 3_u32).map(|at| (at * 37 % 251) as u8).collect();
    let source = Picture::from_rgb(701, 403, source).expect("a picture");
    let normalise = Normalise {
        rescale: 1.0 / 255.0,
        mean: [0.5; 3],
        std: [0.5; 3],
    };
    let made = |threads: usize| {
        monocle_image::use_threads(Some(threads));
        let resized = source.resize(1203, 801, Filter::Lanczos).expect("a picture");
        let layouts = [Layout::ChannelsFirst, Layout::ChannelsLast];
        let tensors = layouts.map(|layout| monocle_image::stack(&[&resized, &resized], &normalise, layout));
        monocle_image::use_threads(None);
        (resized.rgb().to_vec(), tensors)
    };
    let one = made(1);
    for threads in [2, 3, 7] {
        assert!(made(threads) == one, "{threads} threads");
    }
}

#[test]
fn resizing_to_the_same_size_changes_nothing() {
    let picture = picture("97x61");
    assert_eq!(
        picture.resize(97, 61, Filter::Lanczos).expect("a picture"),
        picture
    );
}

#[test]
fn crops_equal_the_references() {
    for row in table("crop.tsv") {
        let [source, kind, area, digest] = row.try_into().expect("four fields");
        let source = picture(&source);
        let cropped = match (kind.as_str(), numbers(&area)[..].as_ref()) {
            ("crop", [x, y, width, height]) => source.crop(*x, *y, *width as u32, *height as u32),
            ("centre", [width, height]) => source.centre_crop(*width as u32, *height as u32),
            other => panic!("unknown crop {other:?}"),
        };
        assert_eq!(sha256(cropped.expect("a picture").rgb()), digest, "{kind} {area}");
    }
}

#[test]
fn padding_puts_a_border_around() {
    let picture = Picture::from_rgb(1, 2, vec![1, 2, 3, 4, 5, 6]).expect("a picture");
    let padded = picture.pad(1, 0, 2, 1, [7, 8, 9]).expect("a picture");
    assert_eq!((padded.width(), padded.height()), (4, 3));
    #[rustfmt::skip]
    let expected = [
        7, 8, 9, 1, 2, 3, 7, 8, 9, 7, 8, 9,
        7, 8, 9, 4, 5, 6, 7, 8, 9, 7, 8, 9,
        7, 8, 9, 7, 8, 9, 7, 8, 9, 7, 8, 9,
    ];
    assert_eq!(padded.rgb(), expected);
}

#[test]
fn floats_equal_transformers_bit_for_bit() {
    let ramp: Vec<u8> = (0..=255).flat_map(|value| [value; 3]).collect();
    let ramp = Picture::from_rgb(256, 1, ramp).expect("a picture");
    for row in table("tensor.tsv") {
        let [rescale, mean, std, bits] = row.try_into().expect("four fields");
        let triple = |text: &str| -> [f32; 3] {
            let values: Vec<f32> = text
                .split(' ')
                .map(|value| value.parse().expect("a float"))
                .collect();
            values.try_into().expect("three floats")
        };
        let normalise = Normalise {
            rescale: rescale.parse().expect("a float"),
            mean: triple(&mean),
            std: triple(&std),
        };
        let planes = ramp.to_tensor(&normalise, Layout::ChannelsFirst);
        let found: Vec<String> = planes
            .iter()
            .map(|value| format!("{:08x}", value.to_bits()))
            .collect();
        assert_eq!(found.join(" "), bits, "mean {mean}, std {std}");

        let interleaved = ramp.to_tensor(&normalise, Layout::ChannelsLast);
        for (index, value) in interleaved.iter().enumerate() {
            assert_eq!(*value, planes[index % 3 * 256 + index / 3]);
        }
    }
}

/// The recipe of the checkpoint behind the goldens: longest edge to 224 (the other side made even), then both sides
/// up to multiples of 56, tiles of 56, and the whole picture as one more tile. All with Lanczos.
#[test]
fn a_tiling_processor_is_reproduced() {
    let normalise = Normalise {
        rescale: 1.0 / 255.0,
        mean: [0.5; 3],
        std: [0.5; 3],
    };
    // The sizes follow from the recipe by hand: 333 x 217 -> 224 x 145.97 -> 224 x 146 -> 224 x 168;
    // 160 x 241 -> 148.7 x 224 -> 148 x 224 -> 168 x 224.
    let plans = [
        ("image.png", (224, 146), (224, 168)),
        ("image2.png", (148, 224), (168, 224)),
    ];
    for (row, (photo, first, second)) in table("processor.tsv").into_iter().zip(plans) {
        let [name, shape, digest, shown] = row.try_into().expect("four fields");
        assert_eq!((name.as_str(), shape.as_str()), (photo, "13x3x56x56"));

        let resized = picture(photo)
            .resize(first.0, first.1, Filter::Lanczos)
            .expect("a picture");
        let resized = resized
            .resize(second.0, second.1, Filter::Lanczos)
            .expect("a picture");
        let mut pixel_values = Vec::new(); // [tiles, 3, 56, 56]
        for y in (0..second.1).step_by(56) {
            for x in (0..second.0).step_by(56) {
                let tile = resized.crop(i64::from(x), i64::from(y), 56, 56).expect("a tile");
                pixel_values.extend(tile.to_tensor(&normalise, Layout::ChannelsFirst));
            }
        }
        let whole = resized.resize(56, 56, Filter::Lanczos).expect("a picture");
        pixel_values.extend(whole.to_tensor(&normalise, Layout::ChannelsFirst));

        for sample in shown.split(' ') {
            let (index, bits) = sample.split_once(':').expect("index and bits");
            let index: usize = index.parse().expect("an index");
            let expected = f32::from_bits(u32::from_str_radix(bits, 16).expect("bits"));
            let found = pixel_values[index];
            assert!(
                (found - expected).abs() <= 1e-6,
                "{photo} at {index}: {found}, not {expected}"
            );
        }
        let bytes: Vec<u8> = pixel_values
            .iter()
            .flat_map(|value| value.to_le_bytes())
            .collect();
        assert_eq!(sha256(&bytes), digest, "{photo}");
    }
}

#[test]
fn impossible_sizes_are_refused_with_their_numbers() {
    let sliver = Picture::filled(1, 200_000, [1, 2, 3]).expect("a picture");
    let cases: [(Result<Picture, ImageError>, &str); 5] = [
        (sliver.resize(0, 5, Filter::Bicubic), "resize to 0 x 5"),
        (
            sliver.resize(100_000, 100_000, Filter::Nearest),
            "100000 x 100000",
        ),
        (
            sliver.crop(i64::MIN, i64::MAX, u32::MAX, 1_000),
            "4294967295 x 1000",
        ),
        (
            sliver.pad(u32::MAX, 0, u32::MAX, 0, [0; 3]),
            "8589934591 x 200000",
        ),
        (Picture::from_rgb(2, 2, vec![0; 11]), "take 12 bytes, but 11"),
    ];
    for (result, expected) in cases {
        let text = result.expect_err(expected).to_string();
        assert!(text.contains(expected), "{text}");
    }
    // Far outside is black, not an overflow.
    for corner in [i64::MIN, i64::MAX] {
        let outside = sliver.crop(corner, corner, 2, 2).expect("a picture");
        assert_eq!(outside.rgb(), [0; 12]);
    }
}
