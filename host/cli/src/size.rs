//! Sizes of memory as people write them.

/// Units and their bytes: powers of ten, and the IEC's powers of two.
const UNITS: [(&str, u64); 10] = [
    ("", 1),
    ("b", 1),
    ("kb", 1_000),
    ("mb", 1_000_000),
    ("gb", 1_000_000_000),
    ("tb", 1_000_000_000_000),
    ("kib", 1 << 10),
    ("mib", 1 << 20),
    ("gib", 1 << 30),
    ("tib", 1 << 40),
];

/// Bytes of `4GB`, `1.5 GiB`, `500000`; letters may be small or large.
pub fn parse(text: &str) -> Result<usize, String> {
    let wrong = || format!("expected a size like `4GB`, `1.5GiB` or `800MB`, found `{text}`");
    let trimmed = text.trim();
    let end = trimmed
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(trimmed.len());
    let (number, unit) = trimmed.split_at(end);
    let number: f64 = number.parse().map_err(|_| wrong())?;
    let unit = unit.trim().to_ascii_lowercase();
    let (_, bytes) = UNITS.iter().find(|(name, _)| *name == unit).ok_or_else(wrong)?;
    let bytes = number * *bytes as f64;
    // 2^53: up to here every whole number is a float.
    if !(1.0..9_007_199_254_740_992.0).contains(&bytes) {
        return Err(wrong());
    }
    Ok(bytes as usize)
}

/// The same, or nothing at all.
pub fn parse_or_zero(text: &str) -> Result<usize, String> {
    match text.trim() {
        "0" => Ok(0),
        text => parse(text),
    }
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn sizes_are_read() {
        for (text, bytes) in [
            ("4GB", 4_000_000_000),
            ("1.5GiB", 1_610_612_736),
            ("512 mib", 536_870_912),
            ("10kb", 10_000),
            ("123456", 123_456),
            ("7B", 7),
        ] {
            assert_eq!(parse(text), Ok(bytes), "{text}");
        }
    }

    #[test]
    fn what_is_no_size_is_refused() {
        for text in [
            "",
            "GB",
            "-1GB",
            "4 gigabytes",
            "0",
            "0.2b",
            "1e9",
            "inf",
            "1..5GB",
            "99999999999TB",
            "4G B",
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.contains("like `4GB`"), "{error}");
        }
    }
}
