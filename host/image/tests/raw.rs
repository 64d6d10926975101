//! Raw photos, put together here as cameras put them together: pages of TIFF around a JPEG. What must come out is what that JPEG gives alone.
//!
//! Where each camera's preview stands was read off files of exiftool's tests (`t/images`: CanonRaw.cr2, DNG.dng, FujiFilm.raf, Nikon.nef,
//! Panasonic.rw2).

use std::path::{Path, PathBuf};

use monocle_image::{DecodeOptions, Decoded, Format, ImageError, decode};
use proptest::prelude::*;

fn oracle(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../tests/oracle/decode")
        .join(name)
}

fn jpeg(name: &str) -> Vec<u8> {
    std::fs::read(oracle(name)).expect("the picture is there")
}

/// A TIFF file under construction.
struct Tiff {
    is_little: bool,
    bytes: Vec<u8>,
}

impl Tiff {
    fn new(head: &[u8]) -> Self {
        let mut bytes = head.to_vec();
        bytes.resize(16, 0);
        Self {
            is_little: head.starts_with(b"II"),
            bytes,
        }
    }

    fn number(&self, number: u32, size: usize) -> Vec<u8> {
        match self.is_little {
            true => number.to_le_bytes()[..size].to_vec(),
            false => number.to_be_bytes()[4 - size..].to_vec(),
        }
    }

    /// Puts data into the file; gives their place.
    fn data(&mut self, data: &[u8]) -> u32 {
        let at = self.bytes.len() as u32;
        self.bytes.extend(data);
        if self.bytes.len() % 2 == 1 {
            self.bytes.push(0);
        }
        at
    }

    /// Puts a page into the file; its numbers have four bytes, and those of tag 46 one.
    fn page(&mut self, entries: &[(u16, &[u32])], next: u32) -> u32 {
        let mut table = self.number(entries.len() as u32, 2);
        for (tag, values) in entries {
            let (kind, size) = if *tag == 46 { (7, 1) } else { (4, 4) };
            let values: Vec<u8> = values
                .iter()
                .flat_map(|value| self.number(*value, size))
                .collect();
            let count = (values.len() / size) as u32;
            let place = match values.len() {
                4 => values,
                _ => {
                    let at = self.data(&values);
                    self.number(at, 4)
                }
            };
            table.extend(
                [
                    self.number((*tag).into(), 2),
                    self.number(kind, 2),
                    self.number(count, 4),
                    place,
                ]
                .concat(),
            );
        }
        table.extend(self.number(next, 4));
        self.data(&table)
    }

    fn begins_at(mut self, page: u32) -> Vec<u8> {
        let pointer = self.number(page, 4);
        self.bytes[4..8].copy_from_slice(&pointer);
        self.bytes
    }
}

/// As Nikon: a thumbnail first, and below it a JPEG and the sensor's data.
fn nikon(preview: &[u8], orientation: u32) -> Vec<u8> {
    let mut tiff = Tiff::new(b"II*\0");
    let at = tiff.data(preview);
    let thumbnail = tiff.data(&[200; 8 * 8 * 3]);
    let jpeg = tiff.page(
        &[
            (254, &[1]),
            (259, &[6]),
            (513, &[at]),
            (514, &[preview.len() as u32]),
        ],
        0,
    );
    let sensor = tiff.page(
        &[(256, &[3040]), (257, &[2014]), (259, &[34713]), (262, &[32803])],
        0,
    );
    let first = tiff.page(
        &[
            (254, &[1]),
            (256, &[8]),
            (257, &[8]),
            (258, &[8, 8, 8]),
            (259, &[1]),
            (262, &[2]),
            (273, &[thumbnail]),
            (274, &[orientation]),
            (277, &[3]),
            (279, &[192]),
            (330, &[jpeg, sensor]),
        ],
        0,
    );
    tiff.begins_at(first)
}

/// As Canon: a JPEG as the first page, a smaller one later, the size of the shot in the Exif page.
fn canon(preview: &[u8], smaller: &[u8]) -> Vec<u8> {
    let mut tiff = Tiff::new(b"II*\0\0\0\0\0CR\x02\0");
    let (at, small) = (tiff.data(preview), tiff.data(smaller));
    let sensor = jpeg("lossless.jpg");
    let data = tiff.data(&sensor);
    let exif = tiff.page(&[(40962, &[3456]), (40963, &[2304])], 0);
    let last = tiff.page(&[(259, &[6]), (273, &[data]), (279, &[sensor.len() as u32])], 0);
    let second = tiff.page(&[(513, &[small]), (514, &[smaller.len() as u32])], last);
    let length = preview.len() as u32;
    let first = tiff.page(
        &[
            (259, &[6]),
            (273, &[at]),
            (274, &[1]),
            (279, &[length]),
            (34665, &[exif]),
        ],
        second,
    );
    tiff.begins_at(first)
}

/// As Adobe, the other way round in its bytes: the sensor's data are a JPEG without loss, the previews have the new compression.
fn adobe(preview: &[u8], smaller: &[u8]) -> Vec<u8> {
    let mut tiff = Tiff::new(b"MM\0*");
    let (at, small) = (tiff.data(preview), tiff.data(smaller));
    let sensor = jpeg("colour.jpg");
    let data = tiff.data(&sensor);
    let thumbnail = tiff.data(&[200; 8 * 8 * 3]);
    let page = |tiff: &mut Tiff, at: u32, length: usize| {
        tiff.page(
            &[(259, &[7]), (262, &[6]), (273, &[at]), (279, &[length as u32])],
            0,
        )
    };
    let (one, two) = (
        page(&mut tiff, small, smaller.len()),
        page(&mut tiff, at, preview.len()),
    );
    // Were it taken for a preview, it would be the largest.
    let length = sensor.len() as u32;
    let raw = tiff.page(
        &[
            (256, &[3516]),
            (257, &[2328]),
            (259, &[7]),
            (262, &[32803]),
            (273, &[data]),
            (279, &[length]),
        ],
        0,
    );
    let first = tiff.page(
        &[
            (256, &[8]),
            (257, &[8]),
            (258, &[8, 8, 8]),
            (259, &[1]),
            (262, &[2]),
            (273, &[thumbnail]),
            (277, &[3]),
            (279, &[192]),
            (330, &[raw, one, two]),
            (50706, &[0x0104_0000]),
        ],
        0,
    );
    tiff.begins_at(first)
}

/// As Panasonic: a head of its own, and a tag of its own.
fn panasonic(preview: &[u8]) -> Vec<u8> {
    let mut tiff = Tiff::new(b"IIU\0");
    let values: Vec<u32> = preview.iter().map(|byte| u32::from(*byte)).collect();
    let first = tiff.page(&[(2, &[3724]), (3, &[2754]), (46, &values), (274, &[1])], 0);
    tiff.begins_at(first)
}

/// As Fujifilm: a head of text, and two numbers in it.
fn fujifilm(preview: &[u8]) -> Vec<u8> {
    let mut bytes = b"FUJIFILMCCD-RAW 0201FF383501".to_vec();
    bytes.resize(148, 0);
    bytes[84..88].copy_from_slice(&148_u32.to_be_bytes());
    bytes[88..92].copy_from_slice(&(preview.len() as u32).to_be_bytes());
    bytes.extend(preview);
    bytes.extend([7; 999]);
    bytes
}

fn read(bytes: &[u8]) -> Decoded {
    decode(bytes, &DecodeOptions::default()).expect("it has a preview")
}

#[test]
fn the_preview_is_what_its_jpeg_is() {
    // 27 x 19 and 9 x 1; what stands for the sensor's data in `adobe` has 47 x 35.
    let (large, small) = (jpeg("oriented_1.jpg"), jpeg("odd_9_1.jpg"));
    let alone = read(&large);
    let size = format!("{} x {}", alone.picture.width(), alone.picture.height());
    for (name, file, sensor) in [
        (
            "nikon",
            nikon(&large, 1),
            "the sensor's 3040 x 2014 are not developed",
        ),
        (
            "canon",
            canon(&large, &small),
            "the sensor's 3456 x 2304 are not developed",
        ),
        (
            "canon, the larger one later",
            canon(&small, &large),
            "the sensor's 3456 x 2304 are not developed",
        ),
        (
            "adobe",
            adobe(&large, &small),
            "the sensor's 3516 x 2328 are not developed",
        ),
        (
            "adobe, the larger one first",
            adobe(&small, &large),
            "the sensor's 3516 x 2328 are not developed",
        ),
        (
            "panasonic",
            panasonic(&large),
            "the sensor's 3724 x 2754 are not developed",
        ),
        (
            "fujifilm",
            fujifilm(&large),
            "what the sensor saw is not developed",
        ),
    ] {
        let found = read(&file);
        assert_eq!(found.picture, alone.picture, "{name}");
        assert_eq!(
            (found.source.format, found.source.file_bytes),
            (Format::Raw, file.len()),
            "{name}"
        );
        assert_eq!(
            found.source.losses(),
            [format!("the preview of {size} in the raw photo used: {sensor}")],
            "{name}"
        );
    }
}

/// Orientation 6 (EXIF 2.3, 4.6.4): the first row is at the right, the first column at the top.
#[test]
fn the_preview_is_held_as_the_camera_was() {
    let alone = read(&jpeg("rgb.jpg")).picture;
    let turned = read(&nikon(&jpeg("rgb.jpg"), 6)).picture;
    let (width, height) = (alone.width() as usize, alone.height() as usize);
    assert_eq!(
        (turned.width() as usize, turned.height() as usize),
        (height, width)
    );
    for (row, column) in (0..height).flat_map(|row| (0..width).map(move |column| (row, column))) {
        let before = (row * width + column) * 3;
        let after = (column * height + (height - 1 - row)) * 3;
        assert_eq!(
            alone.rgb()[before..before + 3],
            turned.rgb()[after..after + 3],
            "{row} {column}"
        );
    }
    // A preview that says it itself is turned once.
    let own = jpeg("oriented_6.jpg");
    assert_eq!(read(&nikon(&own, 6)).picture, read(&own).picture);
}

#[test]
fn a_raw_photo_without_a_preview_is_refused_by_name() {
    let none = |file: &[u8]| {
        decode(file, &DecodeOptions::default())
            .expect_err("there is no preview")
            .to_string()
    };
    for file in [
        nikon(b"no picture", 1),
        nikon(&jpeg("lossless.jpg"), 1),
        panasonic(b"none"),
        fujifilm(b"none"),
    ] {
        let message = none(&file);
        assert!(
            message.contains("this raw picture uses") && message.contains("no preview beside them"),
            "{message}"
        );
    }
    assert!(none(b"IIU\0\0\0\0\0\0\0").contains("raw picture is damaged"));
    assert!(none(b"IIRO\x08\0\0\0").contains("an Olympus raw photo"));
    let second = DecodeOptions {
        page: Some(2),
        ..DecodeOptions::default()
    };
    assert!(matches!(
        decode(&nikon(&jpeg("rgb.jpg"), 1), &second),
        Err(ImageError::NoSuchPage { pages: 1, .. })
    ));
}

#[test]
fn pages_that_point_to_themselves_have_an_end() {
    let mut tiff = Tiff::new(b"II*\0");
    let at = tiff.bytes.len() as u32;
    let first = tiff.page(&[(262, &[32803]), (330, &[at])], at);
    assert_eq!(first, at);
    let file = tiff.begins_at(first);
    assert!(decode(&file, &DecodeOptions::default()).is_err());
}

proptest! {
    #[test]
    fn damage_makes_no_panic(kind in 0..4_usize, at in any::<prop::sample::Index>(), byte in any::<u8>(), end in any::<prop::sample::Index>()) {
        let small = jpeg("odd_9_1.jpg");
        let mut file = match kind {
            0 => nikon(&small, 6),
            1 => adobe(&small, &small),
            2 => panasonic(&small),
            _ => fujifilm(&small),
        };
        let length = file.len();
        file[at.index(length)] = byte;
        let _ = decode(&file, &DecodeOptions::default());
        let _ = decode(&file[..end.index(length)], &DecodeOptions::default());
    }
}
