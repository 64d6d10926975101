//! Files that are missing, empty, cut off or lying give an error that says so; nothing panics.

#[path = "../fuzz/pictures.rs"]
mod made;

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use made::small;
use monocle_image::{DecodeOptions, ImageError, decode, open};
use proptest::prelude::*;

fn oracle() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/oracle/decode"))
}

fn file(name: &str) -> Vec<u8> {
    fs::read(oracle().join(name)).expect("the file")
}

fn refusal(bytes: &[u8]) -> String {
    let refused = decode(bytes, &DecodeOptions::default());
    refused.expect_err("a refusal").to_string()
}

#[test]
fn a_missing_file_is_named() {
    let error = open(Path::new("no/such/photo.jpg"), &DecodeOptions::default()).expect_err("no file");
    assert!(matches!(error, ImageError::Read { .. }));
    assert!(error.to_string().contains("`no/such/photo.jpg`"), "{error}");
}

#[test]
fn a_folder_is_no_picture() {
    let error = open(&oracle(), &DecodeOptions::default()).expect_err("a folder");
    assert!(matches!(error, ImageError::Read { .. }), "{error}");
}

/// Of what is no file nothing is read, and of a file no more than may be in memory.
#[test]
fn pipes_devices_and_giants_are_not_read() {
    let folder = std::env::temp_dir().join(format!("monocle-image-pipes-{}", std::process::id()));
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).expect("a folder");
    let pipe = folder.join("pipe.png");
    let made = std::process::Command::new("mkfifo").arg(&pipe).status();
    assert!(made.expect("mkfifo starts").success());
    std::os::unix::fs::symlink("/dev/zero", folder.join("zero.png")).expect("a link");
    let sparse = fs::File::create(folder.join("sparse.png")).expect("a file");
    sparse.set_len(9_000_000_000).expect("a hole");
    let (told, found) = std::sync::mpsc::channel();
    let there = folder.clone();
    std::thread::spawn(move || {
        let refused = |name: &str, options: &DecodeOptions| {
            let error = open(&there.join(name), options).expect_err("no picture");
            let _ = told.send(error.to_string());
        };
        refused("pipe.png", &DecodeOptions::default());
        refused("zero.png", &DecodeOptions::default());
        refused("sparse.png", &DecodeOptions::default());
        // The limit of memory counts where it is the smaller.
        let mut options = small();
        options.limits.max_memory_bytes = 500;
        refused("sparse.png", &options);
    });
    let next = || {
        let error = found.recv_timeout(std::time::Duration::from_secs(10));
        error.expect("it waits for nobody")
    };
    let error = next();
    assert!(
        error.contains("pipe.png`") && error.contains("a pipe; expected a regular file"),
        "{error}"
    );
    let error = next();
    assert!(error.contains("a device; expected a regular file"), "{error}");
    let error = next();
    assert!(error.contains("the limit of 536870912 bytes"), "{error}");
    let error = next();
    assert!(error.contains("the limit of 500 bytes"), "{error}");
    let _ = fs::remove_dir_all(&folder);
}

#[test]
fn a_file_with_something_wrong_is_named() {
    let error = open(&oracle().join("index.tsv"), &DecodeOptions::default()).expect_err("no picture");
    let text = error.to_string();
    assert!(
        text.contains("index.tsv`: the picture is of a kind that cannot be read"),
        "{text}"
    );
    assert!(text.contains("PNG, JPEG, WebP, GIF, BMP, TIFF"), "{text}");
}

#[test]
fn a_file_longer_than_the_limit_is_not_read() {
    let mut options = small();
    options.limits.max_file_bytes = 100;
    let error = open(&oracle().join("rgb.png"), &options).expect_err("too long");
    assert!(
        error.to_string().contains("longer than the limit of 100 bytes"),
        "{error}"
    );
}

#[test]
fn an_empty_file_is_called_empty() {
    assert!(refusal(b"").contains("empty (0 bytes)"));
}

#[test]
fn unreadable_kinds_are_called_by_their_names() {
    let cases: [(&[u8], &str); 7] = [
        (b"\x00\x00\x00\x18ftypmp42\x00\x00\x00\x00mp42isom", "a video"),
        (
            b"\x00\x00\x00\x18ftypcrx \x00\x00\x00\x01crx isom",
            "a Canon raw photo",
        ),
        (b"%PDF-1.7", "a PDF document"),
        (b"  <svg xmlns='http://www.w3.org/2000/svg'/>", "an SVG drawing"),
        (b"<!doctype html><html>", "an HTML or XML text"),
        (b"version https://git-lfs.github.com/spec/v1", "a Git LFS pointer"),
        (b"\x01\x02\x03", "the bytes 01 02 03"),
    ];
    for (bytes, expected) in cases {
        let text = refusal(bytes);
        assert!(text.contains(expected), "{text}");
    }
}

/// Brands of ISO/IEC 23008-12 (HEIF), annex B, and of the AV1 Image File Format, section 6.
#[cfg(not(feature = "heif"))]
#[test]
fn kinds_that_another_build_reads_are_told_apart_and_the_feature_is_named() {
    let cases: [(&[u8], &str); 6] = [
        (
            b"\x00\x00\x00\x18ftypheic\x00\x00\x00\x00mif1heic",
            "a HEIC photo",
        ),
        (
            b"\x00\x00\x00\x18ftypmif1\x00\x00\x00\x00mif1heic",
            "a HEIC photo",
        ),
        (
            b"\x00\x00\x00\x18ftyphevc\x00\x00\x00\x00msf1hevc",
            "a HEIC photo",
        ),
        (
            b"\x00\x00\x00\x18ftypavif\x00\x00\x00\x00mif1avif",
            "an AVIF picture",
        ),
        (
            b"\x00\x00\x00\x18ftypmif1\x00\x00\x00\x00mif1avif",
            "an AVIF picture",
        ),
        (
            b"\x00\x00\x00\x18ftypmsf1\x00\x00\x00\x00avismsf1",
            "an AVIF picture",
        ),
    ];
    for (bytes, expected) in cases {
        let text = refusal(bytes);
        assert!(text.contains(expected), "{text}");
        assert!(text.contains("without the feature `heif`"), "{text}");
    }
}

/// The header of a PNG of this size, with a right checksum, and no data.
fn png_header(width: u32, height: u32, checksum: u32) -> Vec<u8> {
    let mut bytes = b"\x89PNG\r\n\x1a\n\x00\x00\x00\x0dIHDR".to_vec();
    bytes.extend(width.to_be_bytes());
    bytes.extend(height.to_be_bytes());
    bytes.extend([8, 2, 0, 0, 0]);
    bytes.extend(checksum.to_be_bytes());
    bytes
}

/// A PNG chunk.
fn chunk(name: &[u8; 4], data: &[u8]) -> Vec<u8> {
    let mut sum = flate2::Crc::new();
    sum.update(name);
    sum.update(data);
    let (length, sum) = ((data.len() as u32).to_be_bytes(), sum.sum().to_be_bytes());
    [&length, name.as_slice(), data, &sum].concat()
}

/// A colour profile or a text that unpacks to 1 GiB is not unpacked.
#[test]
fn what_stands_beside_the_pixels_does_not_unpack_to_gigabytes() {
    let mut packer = flate2::write::ZlibEncoder::new(b"name\0\0".to_vec(), flate2::Compression::fast());
    let zeros = vec![0; 1 << 20];
    for _ in 0..1024 {
        packer.write_all(&zeros).expect("packed");
    }
    let bomb = packer.finish().expect("packed");
    let picture = file("rgb.png");
    for name in [b"iCCP", b"zTXt"] {
        let bytes = [&picture[..33], &chunk(name, &bomb), &picture[33..]].concat();
        let before = peak_memory();
        let decoded = decode(&bytes, &DecodeOptions::default()).expect("a picture");
        assert_eq!(decoded.source.steps(), [""; 0]);
        let taken = peak_memory() - before;
        assert!(taken < 200 << 20, "{taken} bytes");
    }
}

/// The most memory that this process has had, in bytes.
fn peak_memory() -> usize {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let number = line.and_then(|line| line.split_whitespace().next());
    number.map_or(0, |number| number.parse::<usize>().expect("a number") << 10)
}

/// A GIF of 13000 x 13000 whose only frame is one pixel: RGB with alpha takes 676 MB, RGB of it 507 MB more.
#[test]
fn memory_is_counted_before_anything_is_decoded() {
    let mut bytes = b"GIF89a\xc8\x32\xc8\x32\x80\0\0RGBrgb".to_vec();
    bytes.extend(b"\x2c\0\0\0\0\x01\0\x01\0\0\x02\x02\x44\x01\0;");
    let mut options = DecodeOptions::default();
    options.limits.max_memory_bytes = 1_000_000_000;
    let error = decode(&bytes, &options).expect_err("too much").to_string();
    let expected = 13000u64 * 13000 * 7 + bytes.len() as u64;
    assert!(
        error.contains(&format!(
            "takes {expected} bytes of memory, more than the limit of 1000000000"
        )),
        "{error}"
    );
}

/// 100000 x 100000 RGB is 30 GB, which could not be allocated here; the checksum is Python's
/// `zlib.crc32(b"IHDR" + struct.pack(">IIBBBBB", 100000, 100000, 8, 2, 0, 0, 0))`.
#[test]
fn a_bomb_is_refused_from_its_header() {
    let mut bytes = png_header(100_000, 100_000, 0x27309c9f);
    bytes.extend(b"\x00\x00\x10\x00IDAT");
    let text = refusal(&bytes);
    assert!(
        text.contains("PNG picture says it is 100000 x 100000 = 10000000000 pixels"),
        "{text}"
    );
    assert!(text.contains("limit of 178956970"), "{text}");
}

#[test]
fn every_kind_is_held_to_both_limits() {
    let names = [
        "rgb.png",
        "colour.jpg",
        "rgb.webp",
        "palette.gif",
        "rgb.bmp",
        "rgb.tiff",
        "rgb.ppm",
    ];
    for name in names {
        let bytes = file(name);
        let mut options = DecodeOptions::default();
        options.limits.max_pixels = 37 * 23 - 1;
        let error = decode(&bytes, &options).expect_err(name);
        assert!(
            matches!(error, ImageError::TooManyPixels { .. }),
            "{name}: {error}"
        );

        let mut options = DecodeOptions::default();
        options.limits.max_decoded_bytes = 37 * 23 * 3 - 1;
        let error = decode(&bytes, &options).expect_err(name);
        assert!(
            matches!(error, ImageError::TooManyBytes { .. }),
            "{name}: {error}"
        );
    }
}

#[test]
fn a_picture_that_just_fits_is_decoded() {
    let mut options = DecodeOptions::default();
    options.limits.max_pixels = 37 * 23;
    options.limits.max_decoded_bytes = 37 * 23 * 3;
    for name in [
        "rgb.png",
        "rgb.webp",
        "rgb.bmp",
        "rgb.tiff",
        "rgb_lzw.tiff",
        "rgb.ppm",
    ] {
        decode(&file(name), &options).expect(name);
    }
}

#[test]
fn files_cut_in_half_are_called_damaged() {
    let names = [
        "rgb.png",
        "no_end.png",
        "colour.jpg",
        "progressive.jpg",
        "restarts.jpg",
        "scans.jpg",
        "rgb.webp",
        "lossy.webp",
        "palette.gif",
        "rgb.bmp",
        "rgb.tiff",
        "rgb_lzw.tiff",
        "rgb.ppm",
    ];
    for name in names {
        let bytes = file(name);
        let error = decode(&bytes[..bytes.len() / 2], &DecodeOptions::default()).expect_err(name);
        assert!(matches!(error, ImageError::Damaged { .. }), "{name}: {error}");
        assert!(
            error.to_string().contains(&format!("{} bytes", bytes.len() / 2)),
            "{name}: {error}"
        );
    }
}

fn damage(bytes: &[u8]) -> Option<String> {
    let decoded = decode(bytes, &DecodeOptions::default()).expect("a picture");
    decoded.source.damage
}

/// Half of the data, and the end mark: decoders fill in the rest without a word.
#[test]
fn a_jpeg_with_an_end_mark_but_not_all_data_is_read_and_what_lacks_is_told() {
    for name in [
        "colour_444.jpg",
        "colour.jpg",
        "progressive.jpg",
        "restarts.jpg",
        "grey.jpg",
        "cmyk.jpg",
        "scans.jpg",
        "scans_two.jpg",
    ] {
        let bytes = file(name);
        assert_eq!(damage(&bytes), None, "{name}");
        let scan = bytes
            .windows(2)
            .rposition(|pair| pair == [0xff, 0xda])
            .expect("a scan");
        let half = scan + (bytes.len() - scan) / 2;
        let told = damage(&[&bytes[..half], b"\xff\xd9"].concat()).expect(name);
        assert!(
            told.contains("% of its data are missing or flawed, from row "),
            "{name}: {told}"
        );
    }
}

/// A grey picture of 4 x 1 blocks, each of a DC code of one bit (`0`: nothing) and an AC code of one bit (`0`: end of block): eight
/// bits of data. Without the byte, all of it is missing; with a restart after each two blocks, half is.
#[test]
fn what_lacks_in_a_jpeg_is_counted_in_blocks() {
    let jpeg = |interval: &[u8], data: &[u8]| {
        let table = [&[0xff, 0xdb, 0, 67, 0][..], &[1; 64]].concat();
        let frame = b"\xff\xc0\0\x0b\x08\0\x08\0\x20\x01\x01\x11\0";
        let code = |kind: u8| [&[0xff, 0xc4, 0, 20, kind, 1][..], &[0; 15], &[0]].concat();
        let scan = b"\xff\xda\0\x08\x01\x01\0\0\x3f\0";
        [
            b"\xff\xd8",
            &table[..],
            frame,
            &code(0),
            &code(0x10),
            interval,
            scan,
            data,
            b"\xff\xd9",
        ]
        .concat()
    };
    assert_eq!(damage(&jpeg(b"", b"\x00")), None);
    assert_eq!(
        damage(&jpeg(b"", b"")).as_deref(),
        Some("100 % of its data are missing or flawed, from row 0 on")
    );
    let restart = b"\xff\xdd\0\x04\0\x02";
    assert_eq!(damage(&jpeg(restart, b"\x0f\xff\xd0\x0f")), None);
    assert_eq!(
        damage(&jpeg(restart, b"\x0f\xff\xd0")).as_deref(),
        Some("50 % of its data are missing or flawed, from row 0 on")
    );
}

/// PIL, too, takes a JPEG without its end marker.
#[test]
fn a_jpeg_may_lack_its_end_marker_but_no_rows() {
    let bytes = file("colour_444.jpg");
    let whole = decode(&bytes, &DecodeOptions::default()).expect("a picture");
    assert_eq!(whole.source.damage, None);
    let unmarked = decode(&bytes[..bytes.len() - 2], &DecodeOptions::default()).expect("a picture");
    assert_eq!(unmarked.picture, whole.picture);
    assert!(
        unmarked.source.steps()[0].contains("no end marker"),
        "{:?}",
        unmarked.source
    );
    for keep in [700, 1000, bytes.len() - 500] {
        assert!(refusal(&bytes[..keep]).contains("ends too early"), "{keep} kept");
    }
}

#[test]
fn a_jpeg_with_a_flaw_is_read_and_the_flaw_told() {
    // Rubbish between two segments, which libjpeg skips with a warning.
    let mut bytes = file("colour.jpg");
    let segment = usize::from(u16::from_be_bytes([bytes[4], bytes[5]]));
    let rubbish = [0x00, 0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77];
    bytes.splice(4 + segment..4 + segment, rubbish);
    let flawed = decode(&bytes, &DecodeOptions::default()).expect("a picture");
    let whole = decode(&file("colour.jpg"), &DecodeOptions::default()).expect("a picture");
    assert_eq!(flawed.picture, whole.picture);
    assert!(
        flawed.source.steps()[0].starts_with("damage worked around"),
        "{:?}",
        flawed.source
    );
    assert_eq!(whole.source.damage, None);
}

/// Every file there is, to be damaged.
fn files() -> Vec<Vec<u8>> {
    let mut paths: Vec<PathBuf> = fs::read_dir(oracle())
        .expect("the folder")
        .map(|entry| entry.expect("an entry").path())
        .collect();
    paths.sort();
    let pictures = paths.into_iter().filter(|path| {
        path.extension()
            .is_some_and(|ending| ending != "rgb" && ending != "tsv")
    });
    pictures.map(|path| fs::read(path).expect("the file")).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 6000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn damaged_files_never_panic(
        which in any::<prop::sample::Index>(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>(), any::<bool>()), 0..8),
        keep in prop::option::of(any::<prop::sample::Index>()),
        page in prop::option::of(1u32..4),
    ) {
        thread_local!(static FILES: Vec<Vec<u8>> = files());
        FILES.with(|files| {
            let mut bytes = which.get(files).clone();
            for (at, value, near_start) in changes {
                let at = if near_start { at.index(bytes.len().min(120)) } else { at.index(bytes.len()) };
                bytes[at] = value;
            }
            if let Some(keep) = keep {
                bytes.truncate(keep.index(bytes.len()));
            }
            prop_assert_eq!(made::check(&bytes, &DecodeOptions { page, ..small() }), Ok(()));
            Ok(())
        })?;
    }

    #[test]
    fn any_bytes_after_a_signature_never_panic(
        signature in prop::sample::select(vec![
            b"\x89PNG\r\n\x1a\n".to_vec(), b"\xff\xd8\xff".to_vec(), b"RIFF\x40\x00\x00\x00WEBPVP8".to_vec(), b"GIF89a".to_vec(),
            b"BM".to_vec(), b"II*\x00".to_vec(), b"MM\x00*".to_vec(), b"P6 ".to_vec(), b"P7\n".to_vec(), b"P1\n".to_vec(), b"II+\x00\x08\x00\x00\x00".to_vec(),
            b"MM\x00+\x00\x08\x00\x00".to_vec(), b"\x00\x00\x00\x14ftypavif".to_vec(), Vec::new(),
        ]),
        rest in prop::collection::vec(any::<u8>(), 0..300),
    ) {
        let bytes = [signature, rest].concat();
        prop_assert_eq!(made::check(&bytes, &small()), Ok(()));
    }
}

/// What fuzzers begin with (`tests/fuzz/make_corpora.py`), as their target takes it: sound files of each kind, with the colours that were written.
#[test]
fn the_corpus_is_decoded() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus/picture");
    let sound: [(&str, u32, &[u8]); 3] = [
        ("four.png", 2, &[255, 0, 0, 0, 255, 0, 0, 0, 255, 255, 255, 255]),
        ("one.gif", 1, &[255, 0, 0]),
        ("two.bmp", 2, &[255, 0, 0, 0, 255, 0]),
    ];
    for (name, width, rgb) in sound {
        let bytes = fs::read(corpus.join(name)).expect("the file");
        let (options, file) = made::made(&bytes);
        let decoded = decode(file, &options).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(
            (decoded.picture.width(), decoded.picture.rgb()),
            (width, rgb),
            "{name}"
        );
    }
    let mut files = 0;
    for entry in fs::read_dir(&corpus).expect("the folder") {
        let path = entry.expect("the folder can be read").path();
        let bytes = fs::read(&path).expect("the file");
        let (options, file) = made::made(&bytes);
        assert_eq!(made::check(file, &options), Ok(()), "{}", path.display());
        files += 1;
    }
    assert!(files >= 5, "{files}");
}
