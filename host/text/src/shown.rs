//! What others wrote (plugins, templates, files) as people may be shown it: no longer than anybody reads, and without control characters.

use std::borrow::Cow;

/// Bytes of a message.
pub const LONGEST: usize = 4000;
/// Bytes of its end, which are kept: a hint comes last.
const END: usize = 800;

/// A message that is short and without controls.
pub fn message(text: &str) -> String {
    // Cut first: what is thrown away need not be cleaned. What stands for a control takes three bytes, so it may be long again.
    short(&without_controls(&short(text))).into_owned()
}

/// The start and the end of what is longer than anybody reads.
pub fn short(text: &str) -> Cow<'_, str> {
    if text.len() <= LONGEST {
        return Cow::Borrowed(text);
    }
    let start = text.floor_char_boundary(LONGEST - END - 60);
    let end = text.ceil_char_boundary(text.len() - END);
    Cow::Owned(format!(
        "{} … ({} bytes more) … {}",
        &text[..start],
        end - start,
        &text[end..]
    ))
}

/// Text without control characters, but for ends of lines and tabulators.
pub fn without_controls(text: &str) -> Cow<'_, str> {
    let harmful = |c: char| c.is_control() && c != '\n' && c != '\t';
    match text.contains(harmful) {
        true => Cow::Owned(text.replace(harmful, "\u{fffd}")),
        false => Cow::Borrowed(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_long_is_cut_in_its_middle() {
        let long = format!("start {} end", "ü".repeat(1 << 20));
        let cut = short(&long);
        assert!(cut.len() <= LONGEST && cut.starts_with("start ü") && cut.ends_with("ü end"));
        let fits = "x".repeat(LONGEST);
        assert_eq!(short(&fits), fits);
    }

    #[test]
    fn controls_are_replaced() {
        assert_eq!(
            without_controls("a\x1b[2Jb\x07\u{9b}c\td\ne\r"),
            "a\u{fffd}[2Jb\u{fffd}\u{fffd}c\td\ne\u{fffd}"
        );
        assert!(matches!(without_controls("Grüße\n"), Cow::Borrowed(_)));
    }

    #[test]
    fn messages_are_both() {
        let told = message(&"\x1b".repeat(1 << 20));
        assert!(told.len() <= LONGEST && !told.contains('\x1b'), "{}", told.len());
        assert_eq!(message("a\x07b"), "a\u{fffd}b");
    }
}
