//! What photos say of themselves. The photos are 17 by 16 pixels, and exiftool 12.57 wrote into them:
//!
//! - `camera.jpg`: `-EXIF:DateTimeOriginal="2019:08:14 16:11:23" -EXIF:GPSLatitude=33.8568 -EXIF:GPSLatitudeRef=S -EXIF:GPSLongitude=70.6333
//!   -EXIF:GPSLongitudeRef=W -EXIF:ImageDescription="A pier"`
//! - `agency.jpg`: `-IPTC:ObjectName=Café -IPTC:Caption-Abstract="By the sea" -IPTC:Keywords=boat -IPTC:Keywords=Größe -IPTC:City=Whitby
//!   -IPTC:Country-PrimaryLocationName=England -XMP-dc:Title="A title" -XMP-dc:Subject=Boat -XMP-dc:Subject=gull`; IPTC in Latin-1
//! - `unset.jpg`: `-EXIF:DateTimeOriginal#="0000:00:00 00:00:00" -codedcharacterset=UTF8 -IPTC:Keywords=Größe -IPTC:Keywords=東京`

use std::path::{Path, PathBuf};

use monocle_survey::metadata::Metadata;

fn photo(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/photos")
        .join(name)
}

#[test]
fn a_camera_says_when_and_where() {
    let said = Metadata::read(&photo("camera.jpg"), None);
    assert_eq!(said.time.as_deref(), Some("2019-08-14 16:11:23"));
    let (north, east) = said.position.expect("there is one");
    // South and west are negative; seconds are stored as fractions.
    assert!(
        (north + 33.8568).abs() < 1e-5 && (east + 70.6333).abs() < 1e-5,
        "{north} {east}"
    );
    assert_eq!(said.description.as_deref(), Some("A pier"));
}

/// Where somebody lives is told only if it is asked for.
#[test]
fn a_position_is_told_only_where_it_is_wanted() {
    let said = Metadata::read(&photo("camera.jpg"), None);
    let words = "Description: A pier\nTaken: 2019-08-14 16:11:23";
    assert_eq!(said.in_words(false), words);
    let with_position = format!("{words}\nPosition: -33.8568° north, -70.6333° east");
    assert_eq!(said.in_words(true), with_position);
}

#[test]
fn iptc_and_xmp_are_read_and_each_keyword_once() {
    let said = Metadata::read(&photo("agency.jpg"), None);
    // XMP is newer, and comes first.
    assert_eq!(
        said.in_words(true),
        "Title: A title\nDescription: By the sea\nExisting keywords: Boat, gull, Größe\nPlace: Whitby, England"
    );
    // What somebody wrote beside the photo comes before what is in it.
    let beside = "<x:xmpmeta xmlns:x='adobe:ns:meta/'><rdf:RDF xmlns:rdf='http://www.w3.org/1999/02/22-rdf-syntax-ns#'><rdf:Description \
                  xmlns:dc='http://purl.org/dc/elements/1.1/'><dc:title><rdf:Alt><rdf:li xml:lang='x-default'>Mine</rdf:li></rdf:Alt>\
                  </dc:title></rdf:Description></rdf:RDF></x:xmpmeta>";
    let said = Metadata::read(&photo("agency.jpg"), Some(beside.as_bytes()));
    assert_eq!(said.title.as_deref(), Some("Mine"));
    let other = Metadata::read(&photo("unset.jpg"), None);
    // A clock that was never set says nothing.
    assert_eq!(
        (other.time.as_deref(), other.keywords),
        (None, vec!["Größe".to_owned(), "東京".to_owned()])
    );
    assert!(Metadata::read(&photo("none.jpg"), None).is_empty());
}
