//! What a photo says of itself: time, place, title and keywords, from EXIF, IPTC and XMP, and from a sidecar.

use std::fs::File;
use std::io::BufReader;
use std::path::Path;

use image::{ImageDecoder, ImageReader};
use serde::{Deserialize, Serialize};

use crate::xmp::{DC, IPTC, PHOTOSHOP, Packet};

/// The longest text of metadata that goes into a prompt, in characters.
const LONGEST: usize = 1000;
/// The most keywords that do.
const KEYWORDS: usize = 60;

/// See the module; absent where the photo does not say.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Metadata {
    /// When it was taken, as the camera says: `2019-08-14 16:11:23`.
    pub time: Option<String>,
    /// Where, in degrees: north, east.
    pub position: Option<(f64, f64)>,
    /// Where, in words: the place, the city, the country.
    pub place: Vec<String>,
    /// Its title.
    pub title: Option<String>,
    /// Its description.
    pub description: Option<String>,
    /// Its keywords.
    pub keywords: Vec<String>,
}

impl Metadata {
    /// What a photo says, and what a sidecar says of it; nothing where nothing can be read.
    pub fn read(photo: &Path, sidecar: Option<&[u8]>) -> Self {
        let mut found = Self::default();
        if let Some(packet) = sidecar.and_then(|bytes| Packet::read(bytes).ok()) {
            found.add_xmp(&packet);
        }
        let (xmp, iptc) = embedded(photo);
        if let Some(packet) = xmp.as_deref().and_then(|bytes| Packet::read(bytes).ok()) {
            found.add_xmp(&packet);
        }
        if let Some(records) = iptc.as_deref() {
            found.add_iptc(records);
        }
        found.add_exif(photo);
        found
    }

    /// Whether nothing is known.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// As context for a prompt; the position only where it is wanted.
    pub fn in_words(&self, with_position: bool) -> String {
        let mut lines: Vec<String> = Vec::new();
        let mut add = |what: &str, value: Option<String>| {
            if let Some(value) = value {
                lines.push(format!("{what}: {value}"));
            }
        };
        add("Title", self.title.as_deref().map(shortened));
        add("Description", self.description.as_deref().map(shortened));
        let some: Vec<&str> = self.keywords.iter().take(KEYWORDS).map(String::as_str).collect();
        add(
            "Existing keywords",
            (!some.is_empty()).then(|| shortened(&some.join(", "))),
        );
        add(
            "Place",
            (!self.place.is_empty()).then(|| shortened(&self.place.join(", "))),
        );
        add("Taken", self.time.clone());
        let position = self.position.filter(|_| with_position);
        add(
            "Position",
            position.map(|(north, east)| format!("{north:.4}° north, {east:.4}° east")),
        );
        lines.join("\n")
    }

    fn add_xmp(&mut self, packet: &Packet) {
        let text = |name| {
            let items = packet.items(DC, name);
            let default = items.iter().find(|(language, _)| *language == Some("x-default"));
            let item = default
                .or(items.first())
                .map(|(_, item)| item.text.trim().to_owned());
            item.filter(|text| !text.is_empty())
        };
        self.title = self.title.take().or_else(|| text("title"));
        self.description = self.description.take().or_else(|| text("description"));
        self.add_keywords(packet.texts(DC, "subject"));
        if self.place.is_empty() {
            let parts = [
                packet.value(IPTC, "Location"),
                packet.value(PHOTOSHOP, "City"),
                packet.value(PHOTOSHOP, "State"),
                packet.value(PHOTOSHOP, "Country"),
            ];
            self.place = parts.into_iter().flatten().collect();
        }
    }

    /// IPTC's "information interchange model", record 2, as Photoshop's resource 1028 holds it.
    fn add_iptc(&mut self, bytes: &[u8]) {
        let records = iptc_records(bytes);
        let utf8 = records
            .iter()
            .any(|(record, set, value)| (*record, *set) == (1, 90) && value == b"\x1b%G");
        let text = |bytes: &[u8]| match (std::str::from_utf8(bytes), utf8) {
            (Ok(text), _) => text.trim().to_owned(),
            (Err(_), true) => String::from_utf8_lossy(bytes).trim().to_owned(),
            // Nothing said: Latin-1, as old programs wrote.
            (Err(_), false) => bytes
                .iter()
                .map(|&byte| char::from(byte))
                .collect::<String>()
                .trim()
                .to_owned(),
        };
        let of = |wanted: u8| -> Vec<String> {
            let values = records
                .iter()
                .filter(|(record, set, _)| (*record, *set) == (2, wanted));
            values
                .map(|(.., value)| text(value))
                .filter(|text| !text.is_empty())
                .collect()
        };
        self.title = self.title.take().or_else(|| of(5).into_iter().next());
        self.description = self.description.take().or_else(|| of(120).into_iter().next());
        self.add_keywords(of(25));
        if self.place.is_empty() {
            self.place = [92, 90, 95, 101]
                .into_iter()
                .filter_map(|set| of(set).into_iter().next())
                .collect();
        }
    }

    fn add_exif(&mut self, photo: &Path) {
        use exif::{In, Tag, Value};
        let Some(file) = open(photo) else { return };
        let Ok(exif) = exif::Reader::new().read_from_container(&mut BufReader::new(file)) else {
            return;
        };
        let ascii = |tag| match &exif.get_field(tag, In::PRIMARY)?.value {
            Value::Ascii(parts) => {
                let text = String::from_utf8_lossy(parts.first()?)
                    .trim_matches(['\0', ' '])
                    .to_owned();
                (!text.is_empty()).then_some(text)
            }
            _ => None,
        };
        let degrees = |tag, reference, negative: &str| {
            let Value::Rational(parts) = &exif.get_field(tag, In::PRIMARY)?.value else {
                return None;
            };
            let part = |at: usize| {
                parts
                    .get(at)
                    .map_or(Some(0.0), |part| (part.denom != 0).then(|| part.to_f64()))
            };
            let degrees = part(0)? + part(1)? / 60.0 + part(2)? / 3600.0;
            let sign = if ascii(reference)?.eq_ignore_ascii_case(negative) {
                -1.0
            } else {
                1.0
            };
            Some(degrees * sign).filter(|degrees| degrees.is_finite())
        };
        self.time = ascii(Tag::DateTimeOriginal)
            .or_else(|| ascii(Tag::DateTime))
            .and_then(|time| {
                // `2019:08:14 16:11:23`, and only zeros or spaces where the camera's clock was not set.
                let (date, clock) = time.split_once(' ')?;
                let set = date.chars().any(|c| ('1'..='9').contains(&c));
                set.then(|| format!("{} {clock}", date.replace(':', "-")))
            });
        let north = degrees(Tag::GPSLatitude, Tag::GPSLatitudeRef, "S");
        let east = degrees(Tag::GPSLongitude, Tag::GPSLongitudeRef, "W");
        self.position = north.zip(east);
        self.description = self.description.take().or_else(|| ascii(Tag::ImageDescription));
    }

    fn add_keywords(&mut self, more: Vec<String>) {
        for word in more {
            if !self
                .keywords
                .iter()
                .any(|known| known.to_lowercase() == word.to_lowercase())
            {
                self.keywords.push(word);
            }
        }
    }
}

fn shortened(text: &str) -> String {
    let line: Vec<&str> = text.split_whitespace().collect();
    line.join(" ").chars().take(LONGEST).collect()
}

/// A photo's file, where it is one, and no larger than photos are.
fn open(photo: &Path) -> Option<File> {
    let (file, _) = monocle_files::open_within(photo, monocle_files::PICTURE).ok()?;
    Some(file)
}

/// The packets in a file, if it has any.
fn embedded(photo: &Path) -> (Option<Vec<u8>>, Option<Vec<u8>>) {
    let Some(file) = open(photo) else {
        return (None, None);
    };
    let reader = ImageReader::new(BufReader::new(file)).with_guessed_format();
    let Some(mut decoder) = reader.ok().and_then(|reader| reader.into_decoder().ok()) else {
        return (None, None);
    };
    let xmp = decoder.xmp_metadata().ok().flatten();
    let iptc = decoder.iptc_metadata().ok().flatten();
    (xmp, iptc)
}

/// Records, data sets and values. The bytes are Photoshop's resources or the records alone.
fn iptc_records(bytes: &[u8]) -> Vec<(u8, u8, &[u8])> {
    let mut rest = resource(bytes, 0x0404).unwrap_or(bytes);
    let mut records = Vec::new();
    // A marker, the record, the data set, and the length in two bytes; a set top bit means a longer length, which no text has.
    while let [0x1c, record, set, high, low, tail @ ..] = rest {
        let length = usize::from(u16::from_be_bytes([*high, *low]));
        if length >= 0x8000 || length > tail.len() {
            break;
        }
        let (value, tail) = tail.split_at(length);
        records.push((*record, *set, value));
        rest = tail;
    }
    records
}

/// One of Photoshop's resources: `8BIM`, its number, its name (padded to an even length), its length, its bytes (padded likewise).
fn resource(bytes: &[u8], wanted: u16) -> Option<&[u8]> {
    let mut rest = &bytes[bytes.windows(4).position(|window| window == b"8BIM")?..];
    loop {
        let tail = rest.strip_prefix(b"8BIM")?;
        let number = u16::from_be_bytes(tail.first_chunk::<2>().copied()?);
        let tail = &tail[2..];
        let name = usize::from(*tail.first()?);
        let tail = tail.get((name + 1).next_multiple_of(2)..)?;
        let length = u32::from_be_bytes(tail.first_chunk::<4>().copied()?) as usize;
        let tail = &tail[4..];
        let body = tail.get(..length)?;
        if number == wanted {
            return Some(body);
        }
        rest = tail.get(length.next_multiple_of(2)..)?;
    }
}
