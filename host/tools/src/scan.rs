//! Looking at text of which more may come: what is said of a beginning stays true however it goes on.

use serde_json::Value;

/// What stands at a place, and the byte behind it.
pub type At<T> = Result<(T, usize), Not>;

/// Why nothing does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Not {
    /// It may, when more has come.
    Yet,
    /// Something else does.
    There,
}

/// The first byte from `at` on that is no white space.
pub fn skip_space(text: &str, at: usize) -> usize {
    text.len() - text[at..].trim_start().len()
}

/// A text that is known.
pub fn literal(text: &str, at: usize, wanted: &str) -> At<()> {
    let rest = &text[at..];
    if rest.starts_with(wanted) {
        Ok(((), at + wanted.len()))
    } else if wanted.starts_with(rest) {
        Err(Not::Yet)
    } else {
        Err(Not::There)
    }
}

/// Everything up to the first of several texts: it, and which of them ends it. The end counts in.
pub fn until<'a>(text: &'a str, at: usize, ends: &[&str]) -> At<(&'a str, usize)> {
    let rest = &text[at..];
    let found = ends
        .iter()
        .enumerate()
        .filter(|(_, end)| !end.is_empty())
        .filter_map(|(number, end)| Some((rest.find(end)?, number)))
        .min();
    match found {
        // One that begins before it may still become whole; so may a longer one that begins there.
        Some((place, number)) => {
            let open = ends.iter().any(|end| {
                let tail = tail_that_begins(rest, &[end]);
                tail > 0 && rest.len() - tail < place
            });
            match open {
                true => Err(Not::Yet),
                false => Ok(((&rest[..place], number), at + place + ends[number].len())),
            }
        }
        None => Err(Not::Yet),
    }
}

/// How many bytes at the end of a text may be the beginning of one of these, the most.
pub fn tail_that_begins(text: &str, wanted: &[&str]) -> usize {
    let longest = wanted.iter().map(|wanted| wanted.len()).max().unwrap_or(0);
    let from = text.len().saturating_sub(longest);
    (from..text.len())
        .filter(|at| text.is_char_boundary(*at))
        .find(|at| wanted.iter().any(|wanted| wanted.starts_with(&text[*at..])))
        .map_or(0, |at| text.len() - at)
}

/// A JSON object or list.
pub fn json(text: &str, at: usize) -> At<Value> {
    let bytes = text.as_bytes();
    if at >= bytes.len() {
        return Err(Not::Yet);
    }
    if !matches!(bytes[at], b'{' | b'[') {
        return Err(Not::There);
    }
    let (mut depth, mut in_text, mut escaped) = (0usize, false, false);
    for (place, byte) in bytes.iter().enumerate().skip(at) {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_text => escaped = true,
            b'"' => in_text = !in_text,
            _ if in_text => {}
            b'{' | b'[' => depth += 1,
            b'}' | b']' => {
                depth -= 1;
                if depth == 0 {
                    return match serde_json::from_str(&text[at..=place]) {
                        Ok(value) => Ok((value, place + 1)),
                        Err(_) => Err(Not::There),
                    };
                }
            }
            _ => {}
        }
    }
    Err(Not::Yet)
}
