//! Python's `strftime` for the time of this place without a zone, as it comes out over the C library of GNU in the locale `C`: with its
//! flags and widths. What is no directive stays as it is.

use chrono::{Datelike, Local, NaiveDateTime, TimeZone, Timelike};
use minijinja::Error;

use super::arguments::wrong;

/// Wider fields are refused.
const WIDEST: usize = 1024;
/// Longer formats, and longer texts, are refused.
const LONGEST: usize = 64 << 10;

const DAYS: [&str; 7] = [
    "Sunday",
    "Monday",
    "Tuesday",
    "Wednesday",
    "Thursday",
    "Friday",
    "Saturday",
];
const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];

/// transformers' `strftime_now`.
pub fn strftime_now(format: &str) -> Result<String, Error> {
    strftime(Local::now().naive_local(), format)
}

/// What may stand between the percent sign and the letter.
#[derive(Clone, Copy, Default)]
struct Style {
    /// `-`: no padding; `_`: spaces; `0`: zeros.
    pad: Option<char>,
    upper: bool,
    swapped: bool,
    width: usize,
}

/// What a directive gives.
enum Piece {
    /// A text.
    Text(String),
    /// A number of so many digits at least, filled with spaces where the flag is set.
    Number(i64, usize, bool),
}

/// `date.strftime(format)`.
pub fn strftime(date: NaiveDateTime, format: &str) -> Result<String, Error> {
    let mut out = String::new();
    if format.len() > LONGEST {
        return Err(too_long());
    }
    write(&mut out, date, format, Style::default())?;
    Ok(out)
}

fn too_long() -> Error {
    wrong(format!("a date of more than {LONGEST} bytes"))
}

fn write(out: &mut String, date: NaiveDateTime, format: &str, outer: Style) -> Result<(), Error> {
    let mut rest = format;
    while let Some(at) = rest.find('%') {
        out.push_str(&rest[..at]);
        let directive = &rest[at..];
        rest = &directive[1..];
        // Python itself writes microseconds and the zone, which is empty for times without one.
        if let Some(after) = rest.strip_prefix('f') {
            out.push_str(&format!("{:06}", date.nanosecond() / 1000 % 1_000_000));
            rest = after;
            continue;
        }
        if let Some(after) = rest.strip_prefix(['z', 'Z']) {
            rest = after;
            continue;
        }
        let mut style = Style {
            upper: outer.upper,
            ..Style::default()
        };
        while let Some(flag) = rest.chars().next().filter(|c| "_-0^#".contains(*c)) {
            match flag {
                '^' => style.upper = true,
                '#' => style.swapped = true,
                pad => style.pad = Some(pad),
            }
            rest = &rest[1..];
        }
        let after = rest.trim_start_matches(|c: char| c.is_ascii_digit());
        let digits = &rest[..rest.len() - after.len()];
        if !digits.is_empty() {
            let width = digits.parse().ok().filter(|width| *width <= WIDEST);
            style.width =
                width.ok_or_else(|| wrong(format!("a date's field `%{digits}` wider than {WIDEST}")))?;
        }
        rest = after;
        let modifier = rest.chars().next().filter(|c| matches!(c, 'E' | 'O'));
        rest = &rest[modifier.map_or(0, char::len_utf8)..];
        let letter = rest.chars().next();
        rest = &rest[letter.map_or(0, char::len_utf8)..];
        let allowed = match modifier {
            Some('E') => "cCxXyY",
            Some(_) => "deHImMSuUVwWybB",
            None => "aAbBcCdDeFgGhHIjklmMnpPrRsStTuUVwWxXyY%Z",
        };
        let piece = letter
            .filter(|letter| allowed.contains(*letter))
            .and_then(|letter| piece(date, letter, &mut style));
        match piece {
            Some(Piece::Text(text)) => pad(out, style, &text),
            Some(Piece::Number(number, digits, spaces)) => {
                pad(out, style, &number_text(style, number, digits, spaces))
            }
            None => match (letter, composed(letter, allowed)) {
                (_, Some(format)) => {
                    let mut text = String::new();
                    write(&mut text, date, format, style)?;
                    pad(out, style, &text);
                }
                // Not known: as it is, from the last percent sign on.
                (Some('%'), None) => pad(out, style, "%"),
                (_, None) => pad(out, style, &directive[..directive.len() - rest.len()]),
            },
        }
        if out.len() > LONGEST {
            return Err(too_long());
        }
    }
    out.push_str(rest);
    Ok(())
}

/// Directives that stand for several.
fn composed(letter: Option<char>, allowed: &str) -> Option<&'static str> {
    Some(match letter.filter(|letter| allowed.contains(*letter))? {
        'c' => "%a %b %e %H:%M:%S %Y",
        'D' | 'x' => "%m/%d/%y",
        'F' => "%Y-%m-%d",
        'r' => "%I:%M:%S %p",
        'R' => "%H:%M",
        'T' | 'X' => "%H:%M:%S",
        _ => return None,
    })
}

fn piece(date: NaiveDateTime, letter: char, style: &mut Style) -> Option<Piece> {
    let (year, week) = (i64::from(date.year()), date.iso_week());
    let day = date.weekday().num_days_from_sunday();
    let hour = date.hour();
    let half = (hour + 11) % 12 + 1;
    let name = |names: &[&str], index: u32, length: usize| {
        let name = names[index as usize];
        Piece::Text(name.get(..length).unwrap_or(name).to_owned())
    };
    // Weeks that begin with this day; the days before the first are week 0.
    let weeks = |since: u32| (date.ordinal0() + 7 - since) / 7;
    let number = |number: u32, digits: usize| Piece::Number(i64::from(number), digits, false);
    Some(match letter {
        'a' | 'A' | 'b' | 'B' | 'h' => {
            style.upper |= style.swapped;
            match letter {
                'a' => name(&DAYS, day, 3),
                'A' => name(&DAYS, day, usize::MAX),
                'B' => name(&MONTHS, date.month0(), usize::MAX),
                _ => name(&MONTHS, date.month0(), 3),
            }
        }
        'p' | 'P' => {
            let text = if hour < 12 { "AM" } else { "PM" };
            let small = letter == 'P' || style.swapped;
            style.upper &= !small;
            Piece::Text(if small {
                text.to_lowercase()
            } else {
                text.to_owned()
            })
        }
        'C' => Piece::Number(year.div_euclid(100), 1, false),
        'd' => number(date.day(), 2),
        'e' => Piece::Number(i64::from(date.day()), 2, true),
        'g' => Piece::Number(i64::from(week.year()).rem_euclid(100), 2, false),
        'G' => Piece::Number(i64::from(week.year()), 1, false),
        'H' => number(hour, 2),
        'I' => number(half, 2),
        'j' => number(date.ordinal(), 3),
        'k' => Piece::Number(i64::from(hour), 2, true),
        'l' => Piece::Number(i64::from(half), 2, true),
        'm' => number(date.month(), 2),
        'M' => number(date.minute(), 2),
        'n' => Piece::Text("\n".to_owned()),
        's' => Piece::Number(seconds(date), 1, false),
        'S' => number(date.second(), 2),
        't' => Piece::Text("\t".to_owned()),
        'u' => number(date.weekday().number_from_monday(), 1),
        'U' => number(weeks(day), 2),
        'V' => number(week.week(), 2),
        'w' => number(day, 1),
        'W' => number(weeks(date.weekday().num_days_from_monday()), 2),
        'y' => Piece::Number(year.rem_euclid(100), 2, false),
        'Y' => Piece::Number(year, 1, false),
        '%' => Piece::Text("%".to_owned()),
        'Z' => Piece::Text(String::new()),
        _ => return None,
    })
}

/// Seconds since 1970 of a time in this place's zone.
fn seconds(date: NaiveDateTime) -> i64 {
    match Local.from_local_datetime(&date).earliest() {
        Some(date) => date.timestamp(),
        None => date.and_utc().timestamp(),
    }
}

fn number_text(style: Style, number: i64, digits: usize, spaces: bool) -> String {
    let text = number.to_string();
    let missing = digits.max(style.width).saturating_sub(text.len());
    match style.pad.or(spaces.then_some('_')) {
        Some('-') => text,
        Some('_') => " ".repeat(missing) + &text,
        _ => "0".repeat(missing) + &text,
    }
}

fn pad(out: &mut String, style: Style, text: &str) {
    let missing = style.width.saturating_sub(text.chars().count());
    let fill = if style.pad == Some('0') { "0" } else { " " };
    out.push_str(&fill.repeat(missing));
    match style.upper {
        true => out.push_str(&text.to_uppercase()),
        false => out.push_str(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_formatted_as_python_does() {
        let golden = include_str!("../../../../../tests/oracle/templates/dates.json");
        let golden: serde_json::Value = serde_json::from_str(golden).unwrap();
        let mut seen = 0;
        for case in golden["dates"].as_array().unwrap() {
            let iso = case["date"].as_str().unwrap();
            let date = NaiveDateTime::parse_from_str(iso, "%Y-%m-%dT%H:%M:%S%.f").unwrap();
            for (format, expected) in case["texts"].as_object().unwrap() {
                // Seconds since 1970 depend on where the test runs.
                if format.ends_with('s') {
                    continue;
                }
                seen += 1;
                let text = strftime(date, format).unwrap();
                assert_eq!(text, expected.as_str().unwrap(), "{iso} {format:?}");
            }
        }
        assert!(seen > 500, "{seen}");
    }

    #[test]
    fn seconds_since_1970_read_back_as_the_same_time() {
        let date = Local::now().naive_local();
        let seconds: i64 = strftime(date, "%s").unwrap().parse().unwrap();
        let back = Local.timestamp_opt(seconds, 0).unwrap().naive_local();
        assert_eq!(back, date.with_nanosecond(0).unwrap());
    }

    #[test]
    fn what_would_be_large_is_refused() {
        let date = NaiveDateTime::default();
        assert!(strftime(date, "%2000000000Y").is_err());
        assert!(strftime(date, &"%1000A".repeat(1000)).is_err());
        assert!(strftime(date, &"x".repeat(LONGEST + 1)).is_err());
    }
}
