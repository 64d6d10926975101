//! Expressions that are known to take time in proportion to a text.

/// Those that cut words, as published `tokenizer.json` files and tiktoken have them. After a run of characters of one kind nothing is asked
/// for but one character, so that nothing is gone back over twice.
const WORDS: [&str; 16] = [
    // GPT-2.
    r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+",
    r"'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+",
    // cl100k of tiktoken: up to three digits together.
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
    // The same with each digit alone; then with marks as letters.
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
    // Letters by their case.
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+",
    // o200k of tiktoken.
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+",
    // The same, Chinese characters apart.
    r"[\p{Han}]+|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]*[\p{Ll}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]+[\p{Ll}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
    // Punctuation together with the letters after it.
    "[!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+|[^\\r\\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+| ?[\\p{P}\\p{S}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+",
    // The same with the line ends themselves, as the file has it.
    "[!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+|[^\r\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+| ?[\\p{P}\\p{S}]+[\r\n]*|\\s*[\r\n]+|\\s+(?!\\S)|\\s+",
    "[一-龥぀-ゟ゠-ヿ]+",
    r"[\p{Han}]+",
    // CLIP.
    r"<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+",
    r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+",
    // Smaller steps of several.
    r"\w+|[^\w\s]+",
    r" ?\p{L}+",
];

/// Whether an expression is one of them, or a character, or a run of characters of one kind.
pub fn is_known(expression: &str) -> bool {
    WORDS.contains(&expression) || is_run(expression)
}

/// All that have a name here.
#[cfg(test)]
pub fn all() -> impl Iterator<Item = &'static str> {
    WORDS.into_iter()
}

/// A character or a class without anything within it, and a count behind it or none: `\s+`, ` {2,}`, `[0-9]`, `\p{N}{1,3}`.
fn is_run(expression: &str) -> bool {
    let Some(rest) = after_one(expression) else {
        return false;
    };
    let counted = |rest: &str| {
        let counts = rest.strip_prefix('{').and_then(|rest| rest.strip_suffix('}'));
        let numbers = |counts: &str| {
            counts
                .split(',')
                .all(|count| count.parse::<u16>().is_ok_and(|count| count < 1000))
        };
        counts.is_some_and(|counts| counts.split(',').count() <= 2 && numbers(counts.trim_end_matches(',')))
    };
    matches!(rest, "" | "+" | "*" | "?") || counted(rest)
}

/// What stands behind the first character or class.
fn after_one(expression: &str) -> Option<&str> {
    let mut chars = expression.chars();
    match chars.next()? {
        '[' => {
            let (class, rest) = chars.as_str().split_once(']')?;
            (!class.is_empty() && !class.contains(['[', '\\', '&'])).then_some(rest)
        }
        '\\' => match chars.next()? {
            's' | 'S' | 'd' | 'D' | 'w' | 'W' | 'n' | 'r' | 't' => Some(chars.as_str()),
            'p' | 'P' => {
                let (name, rest) = chars.as_str().strip_prefix('{')?.split_once('}')?;
                name.bytes()
                    .all(|byte| byte.is_ascii_alphabetic())
                    .then_some(rest)
            }
            _ => None,
        },
        '(' | ')' | '|' | '^' | '$' | '*' | '+' | '?' | '{' | '}' | ']' => None,
        _ => Some(chars.as_str()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_are_told_from_what_is_more() {
        for expression in [
            " ",
            r"\s+",
            " {2,}",
            "[0-9]",
            r"\p{N}{1,3}",
            r"\d",
            ".",
            "▁",
            "[^a-z]*",
            "\n",
            "x{3}",
        ] {
            assert!(is_known(expression), "{expression:?}");
        }
        for expression in [
            "", "(x+x+)+y", r"\s+x", "x+y", "[a-z]+1", r"\1", r"\R", "(x)", "x|y", "x{1001}", "x{1,2,3}",
            "x{}", "x++", "[]x]", r"\p{^L}", "x{2,}+",
        ] {
            assert!(!is_known(expression), "{expression:?}");
        }
    }
}
