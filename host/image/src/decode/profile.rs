//! Colour profiles (ICC.1:2022). They are not applied, as the reference's processors do not apply them; they are told.

/// The longest name that is told, in characters.
const LONGEST_NAME: usize = 60;
/// Bytes before the table of tags.
const HEADER: usize = 128;
/// The most tags that are looked at.
const MOST_TAGS: usize = 100;

/// sRGB's red, green and blue, adapted to D50: X, Y, Z (IEC 61966-2-1 through Bradford, as sRGB profiles have them).
const SRGB: [(&[u8; 4], [f64; 3]); 3] = [
    (b"rXYZ", [0.4361, 0.2225, 0.0139]),
    (b"gXYZ", [0.3851, 0.7169, 0.0971]),
    (b"bXYZ", [0.1431, 0.0606, 0.7141]),
];

/// What a profile calls itself, unless it is sRGB, or no profile at all.
pub(super) fn foreign(profile: &[u8]) -> Option<String> {
    if profile.get(36..40)? != b"acsp" {
        return None;
    }
    let name = tag(profile, b"desc").and_then(description).unwrap_or_default();
    let is_srgb = name.to_ascii_lowercase().contains("srgb") || has_srgb_colours(profile);
    match name.as_str() {
        _ if is_srgb => None,
        "" => Some("without a name".to_owned()),
        name => Some(format!("`{name}`")),
    }
}

fn has_srgb_colours(profile: &[u8]) -> bool {
    SRGB.iter().all(|(name, expected)| {
        tag(profile, name)
            .and_then(colour)
            .is_some_and(|found| found.iter().zip(expected).all(|(a, b)| (a - b).abs() < 0.003))
    })
}

/// A tag's data.
fn tag<'a>(profile: &'a [u8], name: &[u8; 4]) -> Option<&'a [u8]> {
    let count = number(profile, HEADER)?.min(MOST_TAGS);
    let entries = profile.get(HEADER + 4..)?.chunks_exact(12).take(count);
    let entry = entries.into_iter().find(|entry| entry.starts_with(name))?;
    let at = number(entry, 4)?;
    profile.get(at..at.checked_add(number(entry, 8)?)?)
}

/// An XYZType's first colour: three numbers of 16 bits before the point and 16 behind it.
fn colour(tag: &[u8]) -> Option<[f64; 3]> {
    let part = |at| Some(f64::from(number(tag, at)? as u32 as i32) / 65536.0);
    Some([part(8)?, part(12)?, part(16)?])
}

/// The text of a textDescriptionType (version 2) or of a multiLocalizedUnicodeType's first record (version 4).
fn description(tag: &[u8]) -> Option<String> {
    let text = match tag.first_chunk()? {
        b"desc" => {
            let length = number(tag, 8)?;
            let text = tag.get(12..12usize.checked_add(length)?)?;
            String::from_utf8_lossy(text).into_owned()
        }
        b"mluc" => {
            let (length, at) = (number(tag, 20)?, number(tag, 24)?);
            let text = tag.get(at..at.checked_add(length)?)?;
            let units: Vec<u16> = text
                .as_chunks()
                .0
                .iter()
                .map(|pair| u16::from_be_bytes(*pair))
                .collect();
            String::from_utf16_lossy(&units)
        }
        _ => return None,
    };
    let clean = text.split('\0').next().unwrap_or_default();
    let clean: String = clean
        .chars()
        .filter(|letter| !letter.is_control() && *letter != '`')
        .take(LONGEST_NAME)
        .collect();
    Some(clean.trim().to_owned())
}

fn number(bytes: &[u8], at: usize) -> Option<usize> {
    let four = bytes.get(at..)?.first_chunk()?;
    Some(u32::from_be_bytes(*four) as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A profile with these tags.
    fn profile(tags: &[(&[u8; 4], Vec<u8>)]) -> Vec<u8> {
        let mut file = vec![0; HEADER];
        file[36..40].copy_from_slice(b"acsp");
        file.extend((tags.len() as u32).to_be_bytes());
        let mut at = file.len() + 12 * tags.len();
        for (name, data) in tags {
            file.extend(*name);
            file.extend((at as u32).to_be_bytes());
            file.extend((data.len() as u32).to_be_bytes());
            at += data.len();
        }
        file.extend(tags.iter().flat_map(|(_, data)| data.clone()));
        file
    }

    fn old_name(name: &str) -> Vec<u8> {
        let length = (name.len() as u32 + 1).to_be_bytes();
        [b"desc\0\0\0\0", &length[..], name.as_bytes(), b"\0"].concat()
    }

    fn new_name(name: &str) -> Vec<u8> {
        let text: Vec<u8> = name.encode_utf16().flat_map(u16::to_be_bytes).collect();
        let mut tag = b"mluc\0\0\0\0\0\0\0\x01\0\0\0\x0cenUS".to_vec();
        tag.extend((text.len() as u32).to_be_bytes());
        tag.extend(28u32.to_be_bytes());
        tag.extend(text);
        tag
    }

    fn xyz(colour: [f64; 3]) -> Vec<u8> {
        let parts = colour.map(|part| ((part * 65536.0).round() as i32).to_be_bytes());
        [b"XYZ \0\0\0\0".as_slice(), parts.concat().as_slice()].concat()
    }

    #[test]
    fn a_profile_is_called_by_its_name_unless_it_is_srgb() {
        let named = |tag: Vec<u8>| foreign(&profile(&[(b"desc", tag)]));
        assert_eq!(
            named(old_name("Adobe RGB (1998)")),
            Some("`Adobe RGB (1998)`".to_owned())
        );
        assert_eq!(named(new_name("Display P3")), Some("`Display P3`".to_owned()));
        assert_eq!(named(old_name("sRGB IEC61966-2.1")), None);
        assert_eq!(named(new_name("sRGB built-in")), None);
        assert_eq!(foreign(&profile(&[])), Some("without a name".to_owned()));
        assert_eq!(foreign(b"no profile"), None);
        assert_eq!(
            named(old_name(&"x".repeat(1000))).map(|name| name.len()),
            Some(62)
        );
        assert_eq!(named(old_name("a\x1b[2Jb`c")), Some("`a[2Jbc`".to_owned()));
    }

    /// Facebook's small sRGB profile is called `c2`.
    #[test]
    fn srgb_is_known_by_its_colours_too() {
        let of = |red: [f64; 3]| {
            let tags = [
                (b"desc", old_name("c2")),
                (b"rXYZ", xyz(red)),
                (b"gXYZ", xyz([0.3851, 0.7169, 0.0971])),
                (b"bXYZ", xyz([0.1431, 0.0606, 0.7141])),
            ];
            foreign(&profile(&tags))
        };
        assert_eq!(of([0.4360, 0.2225, 0.0139]), None);
        // Display P3's red.
        assert_eq!(of([0.5151, 0.2412, -0.0011]), Some("`c2`".to_owned()));
    }

    #[test]
    fn lies_in_a_profile_do_not_matter() {
        let whole = profile(&[(b"desc", new_name("Display P3")), (b"rXYZ", xyz([0.5, 0.2, 0.0]))]);
        for cut in 0..whole.len() {
            foreign(&whole[..cut]);
            for value in [0, 0x7f, 0xff] {
                let mut changed = whole.clone();
                changed[cut] = value;
                foreign(&changed);
            }
        }
    }
}
