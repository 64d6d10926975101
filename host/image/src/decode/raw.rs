//! Raw photos: what a camera's sensor saw, which is not developed here, and beside it a preview, which is a JPEG.
//!
//! DNG, NEF, CR2, ARW, PEF and RW2 are TIFF files (RW2 by another number in its head). Their previews stand in pages, in pages below pages
//! (`SubIFDs`), or under a tag of their own. Of several, the largest is taken. RAF has a head of its own.

use super::jpeg;
use super::tiff::directory::{Page, Tiff};

const WIDTH: u16 = 256;
const HEIGHT: u16 = 257;
const COMPRESSION: u16 = 259;
const PHOTOMETRIC: u16 = 262;
const STRIPS: u16 = 273;
const ORIENTATION: u16 = 274;
const STRIP_LENGTHS: u16 = 279;
const PAGES_BELOW: u16 = 330;
/// TIFF 6.0, section 22: the old way to have a JPEG in a page.
const JPEG_START: u16 = 513;
const JPEG_LENGTH: u16 = 514;
/// Exif 2.3, 4.6.3: a page with what is known of the shot.
const EXIF: u16 = 34665;
const SHOT_WIDTH: u16 = 40962;
const SHOT_HEIGHT: u16 = 40963;
const DNG_VERSION: u16 = 50706;
/// Panasonic's own (exiftool.org/TagNames/PanasonicRaw.html).
const PANASONIC_WIDTH: u16 = 2;
const PANASONIC_HEIGHT: u16 = 3;
const PANASONIC_JPEG: u16 = 46;

/// Values of `PHOTOMETRIC`: colour filters, and what was made of them before any colour (DNG 1.7, chapter 2).
const OF_SENSORS: [u64; 2] = [32803, 34892];
/// Values of `COMPRESSION`: JPEG, the old and the new way.
const JPEG: [u64; 2] = [6, 7];
/// The most pages that are looked at, those below others among them.
const MOST_PAGES: usize = 64;

/// A raw photo, and the best that can be had of it.
pub(super) struct Raw<'a> {
    /// None: there is none that can be read.
    pub preview: Option<&'a [u8]>,
    /// Width and height of what the sensor saw, as far as the file says.
    pub sensor: Option<(u32, u32)>,
    /// How the camera was held (EXIF), where the preview does not say.
    pub orientation: Option<u8>,
}

/// Whether these bytes begin a raw photo that is no TIFF file by its head.
pub(super) fn is_marked(bytes: &[u8]) -> bool {
    bytes.starts_with(PANASONIC) || bytes.starts_with(FUJI)
}

/// The head of RW2.
const PANASONIC: &[u8] = b"IIU\0";
const FUJI: &[u8] = b"FUJIFILMCCD-RAW ";

/// Looks into a file whose head is that of TIFF, or [`is_marked`]; nothing for an ordinary picture.
pub(super) fn read(bytes: &[u8]) -> Option<Raw<'_>> {
    if bytes.starts_with(FUJI) {
        // Libopenraw's description of RAF: where the JPEG is, and how long.
        let number = |at: usize| Some(u32::from_be_bytes(*bytes.get(at..)?.first_chunk()?) as usize);
        let preview = number(84).and_then(|start| part(bytes, start, number(88)?));
        return Some(Raw {
            preview: preview.filter(|jpeg| jpeg::size(jpeg).is_some()),
            sensor: None,
            orientation: None,
        });
    }
    let tiff = Tiff::new(bytes);
    let first = tiff.page(0)?;
    let mut pages: Vec<Page> = (0..tiff.page_count())
        .map_while(|index| tiff.page(index))
        .take(MOST_PAGES)
        .collect();
    let mut next = 0;
    while next < pages.len() {
        let below = pages[next].below(PAGES_BELOW);
        pages.extend(below.into_iter().take(MOST_PAGES - pages.len()));
        next += 1;
    }
    let of_sensor = |page: &Page| {
        page.number(PHOTOMETRIC)
            .is_some_and(|kind| OF_SENSORS.contains(&kind))
    };
    let is_canon = bytes.get(8..10) == Some(b"CR");
    let is_raw = bytes.starts_with(PANASONIC)
        || is_canon
        || first.number(DNG_VERSION).is_some()
        || pages.iter().any(of_sensor);
    if !is_raw {
        return None;
    }
    let previews = pages
        .iter()
        .filter(|page| !of_sensor(page))
        .flat_map(|page| jpegs(page, bytes));
    let sized = previews.filter_map(|jpeg| Some((jpeg::size(jpeg)?, jpeg)));
    let pixels = |(width, height): (u32, u32)| u64::from(width) * u64::from(height);
    let best = sized.max_by_key(|(size, _)| pixels(*size));
    let size = |page: &Page, width, height| -> Option<(u32, u32)> {
        let side = |tag| u32::try_from(page.number(tag)?).ok().filter(|side| *side > 0);
        Some((side(width)?, side(height)?))
    };
    let sensor = pages
        .iter()
        .filter(|page| of_sensor(page))
        .filter_map(|page| size(page, WIDTH, HEIGHT));
    let shot = || {
        first
            .below(EXIF)
            .first()
            .and_then(|exif| size(exif, SHOT_WIDTH, SHOT_HEIGHT))
    };
    let panasonic =
        || size(&first, PANASONIC_WIDTH, PANASONIC_HEIGHT).filter(|_| bytes.starts_with(PANASONIC));
    Some(Raw {
        preview: best.map(|(_, jpeg)| jpeg),
        sensor: sensor
            .max_by_key(|size| pixels(*size))
            .or_else(panasonic)
            .or_else(shot),
        orientation: first
            .number(ORIENTATION)
            .and_then(|value| u8::try_from(value).ok()),
    })
}

/// What of a page may be a JPEG.
fn jpegs<'a>(page: &Page, bytes: &'a [u8]) -> Vec<&'a [u8]> {
    let at = |start, length| {
        let number = |tag| usize::try_from(page.number(tag)?).ok();
        part(bytes, number(start)?, number(length)?)
    };
    let is_jpeg = page.number(COMPRESSION).is_some_and(|kind| JPEG.contains(&kind));
    let is_one_strip = page.numbers(STRIPS).is_some_and(|strips| strips.len() == 1);
    let strip = (is_jpeg && is_one_strip)
        .then(|| at(STRIPS, STRIP_LENGTHS))
        .flatten();
    let own = page.place(PANASONIC_JPEG).and_then(|place| bytes.get(place));
    [at(JPEG_START, JPEG_LENGTH), strip, own]
        .into_iter()
        .flatten()
        .collect()
}

fn part(bytes: &[u8], start: usize, length: usize) -> Option<&[u8]> {
    bytes.get(start..start.checked_add(length)?)
}
