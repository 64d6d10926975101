//! A tokenizer's regular expression, searched for under the clock of [`crate::clock`].
//!
//! The library's engine goes back and forth, and cannot be stopped within a search. Expressions that are known ([`known`]) take time in
//! proportion to a text: of those only the time between matches is looked at. Any other is tried at one place after the other, with a
//! look at the clock before each, and may go back only so often at a place: the longer the text is, the less often, as what lies between
//! is no longer than the text. What looks ahead does so at each step, so less text may be looked through. What could go on without
//! going back is refused: see [`excess`].

mod known;

use std::sync::Arc;

use onig::{MatchParam, Regex, Region, SearchOptions};
use tokenizers::Offsets;
use tokenizers::tokenizer::pattern::Pattern;

use super::guard::{Stop, look, stop};
pub use known::is_known;

/// Bytes of an expression. Known ones have some hundred.
const LONGEST: usize = 1 << 16;
/// The product of all counts, as `3` in `{1,3}`: a step may be repeated so often without going back.
const MOST_REPEATS: usize = 4096;
/// Constructs that no tokenizer needs and that do much without going back: calls, absence, callouts, conditions, clusters, and the place
/// where a search began.
const REFUSED: [&str; 10] = [
    "\\g", "\\G", "\\K", "\\X", "\\y", "\\Y", "(?~", "(?{", "(?(", "(*",
];

/// Steps that may be taken at one place: some seconds of work.
const STEPS: u64 = 1 << 30;
/// How often it may go back at a place: as often in a short text, and in a long one at least so often. What would take too many steps even
/// so is an error.
const MOST_RETRIES: u64 = 1 << 15;
const LEAST_RETRIES: u64 = 64;
/// The same for expressions that are known, which a run of spaces makes go back as often as it is long.
const KNOWN_RETRIES: u32 = 10_000_000;
/// Choices that are open at once: each takes 32 bytes.
const OPEN: u32 = 1 << 20;

/// See the module.
#[derive(Debug, Clone)]
pub struct Expression {
    regex: Arc<Regex>,
    text: Arc<str>,
    known: bool,
    /// How deep within each other groups are that look through text without taking it.
    looking: u32,
}

/// What no tokenizer's expression needs, in words.
pub fn excess(expression: &str) -> Option<String> {
    if is_known(expression) {
        return None;
    }
    if expression.len() > LONGEST {
        return Some(format!(
            "a regular expression of {} bytes, more than {LONGEST}",
            expression.len()
        ));
    }
    // An escaped backslash is no beginning of another escape, and a character's number no count.
    let plain = expression.replace("\\\\", "  ").replace("\\x{", "  (");
    if let Some(found) = REFUSED.iter().find(|construct| plain.contains(*construct)) {
        return Some(format!("a regular expression with `{found}`"));
    }
    let repeats = plain
        .split('{')
        .skip(1)
        .filter_map(|rest| rest.split_once('}'))
        .filter(|(counts, _)| counts.bytes().all(|byte| byte.is_ascii_digit() || byte == b','))
        .filter_map(|(counts, _)| {
            counts
                .split(',')
                .filter(|count| !count.is_empty())
                .map(number)
                .max()
        })
        .fold(1usize, |all, count| all.saturating_mul(count.max(1)));
    (repeats > MOST_REPEATS)
        .then(|| format!("a regular expression that repeats {repeats} times, more than {MOST_REPEATS}"))
}

/// Digits as a number; what is too large for one is very many.
fn number(digits: &str) -> usize {
    digits.parse().unwrap_or(usize::MAX)
}

impl Expression {
    /// Reads one, as the library does.
    pub fn new(expression: &str) -> Result<Self, String> {
        if let Some(excess) = excess(expression) {
            return Err(format!("it has {excess}"));
        }
        let regex = Regex::new(expression).map_err(|error| error.description().to_owned())?;
        Ok(Self {
            regex: Arc::new(regex),
            text: expression.into(),
            known: is_known(expression),
            looking: looking(expression),
        })
    }

    /// As it was written.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// A text in matches and what lies between them, as the library's own search: matches that are empty right behind another are passed over.
    pub fn matches<'a>(&'a self, inside: &'a str) -> Matches<'a> {
        Matches {
            expression: self,
            inside,
            region: Region::new(),
            covered: 0,
            from: 0,
            last_end: None,
            found: None,
            ended: false,
        }
    }

    /// The first match that begins there or behind. Looks at the clock.
    fn find(&self, text: &str, from: usize, region: &mut Region) -> Option<(usize, usize)> {
        if self.known {
            look();
            let found = self.search(text, from, region);
            return found.unwrap_or_else(|_| stop(Stop::Word));
        }
        let Some(retries) = self.retries(text.len()) else {
            stop(Stop::Word)
        };
        let mut at = from;
        loop {
            look();
            region.clear();
            let found = self.regex.match_with_param(
                text,
                at,
                SearchOptions::SEARCH_OPTION_NONE,
                Some(&mut *region),
                bounds(retries),
            );
            match found {
                Ok(Some(length)) => return Some((at, at + length)),
                Ok(None) => {}
                Err(_) => stop(Stop::Time),
            }
            at += text[at..].chars().next()?.len_utf8();
        }
    }

    /// How often it may go back at a place of a text of so many bytes.
    fn retries(&self, length: usize) -> Option<u32> {
        let steps = (length.max(1) as u64).saturating_pow(1 + self.looking);
        let retries = (STEPS / steps).min(MOST_RETRIES);
        (retries >= LEAST_RETRIES).then_some(retries as u32)
    }

    fn search(
        &self,
        text: &str,
        from: usize,
        region: &mut Region,
    ) -> Result<Option<(usize, usize)>, onig::Error> {
        region.clear();
        let options = SearchOptions::SEARCH_OPTION_NONE;
        let bounds = bounds(KNOWN_RETRIES);
        let found =
            self.regex
                .search_with_param(text, from, text.len(), options, Some(&mut *region), bounds)?;
        Ok(found.and_then(|_| region.pos(0)))
    }
}

fn bounds(retries: u32) -> MatchParam {
    let mut bounds = MatchParam::default();
    bounds.set_match_stack_limit(OPEN);
    bounds.set_retry_limit_in_match(retries);
    bounds
}

/// A group of an expression, as far as it was read.
#[derive(Default)]
struct Group {
    /// Whether it takes none of the text, or does not go back into what it took.
    looks: bool,
    /// Whether something in it is repeated without end.
    repeats: bool,
    /// How deep within each other such groups are in it.
    depth: u32,
}

/// How deep within each other groups are that look through text without taking it: each step outside of one may be all steps inside.
fn looking(expression: &str) -> u32 {
    let mut groups = vec![Group::default()];
    let (mut rest, mut classes) = (expression, 0_usize);
    while let Some(letter) = rest.chars().next() {
        let escaped = letter == '\\';
        let group = groups.last_mut().expect("the expression itself is one");
        match letter {
            '[' => classes += 1,
            ']' => classes = classes.saturating_sub(1),
            _ if classes > 0 || escaped => {}
            '(' => groups.push(Group {
                looks: ["(?=", "(?!", "(?<=", "(?<!", "(?>"]
                    .iter()
                    .any(|start| rest.starts_with(start)),
                ..Group::default()
            }),
            ')' => {
                let inner = groups.pop().unwrap_or_default();
                if groups.is_empty() {
                    groups.push(Group::default());
                }
                let outer = groups.last_mut().expect("one was put there");
                outer.depth = outer
                    .depth
                    .max(inner.depth + u32::from(inner.looks && inner.repeats));
                outer.repeats |= inner.repeats;
            }
            '*' | '+' | '{' => group.repeats = true,
            _ => {}
        }
        let mut letters = rest.chars();
        letters.next();
        if escaped {
            letters.next();
        }
        rest = letters.as_str();
    }
    groups.iter().map(|group| group.depth).max().unwrap_or(0)
}

/// Matches, and what lies between them, in order; see [`Expression::matches`].
pub struct Matches<'a> {
    expression: &'a Expression,
    inside: &'a str,
    region: Region,
    covered: usize,
    from: usize,
    last_end: Option<usize>,
    /// What comes behind what was given last.
    found: Option<Offsets>,
    ended: bool,
}

impl Iterator for Matches<'_> {
    type Item = (Offsets, bool);

    fn next(&mut self) -> Option<Self::Item> {
        if let Some(found) = self.found.take() {
            return Some((found, true));
        }
        while !self.ended {
            let Some((start, end)) = self.expression.find(self.inside, self.from, &mut self.region) else {
                break;
            };
            if start == end && self.last_end == Some(end) {
                match self.inside[self.from..].chars().next() {
                    Some(char) => self.from += char.len_utf8(),
                    None => break,
                }
                continue;
            }
            let before = (self.covered, start);
            (self.covered, self.from, self.last_end) = (end, end, Some(end));
            if before.0 == before.1 {
                return Some(((start, end), true));
            }
            self.found = Some((start, end));
            return Some((before, false));
        }
        self.ended = true;
        let rest = (self.covered, self.inside.len());
        self.covered = rest.1;
        (rest.0 != rest.1).then_some((rest, false))
    }
}

impl Pattern for &Expression {
    fn find_matches(&self, inside: &str) -> tokenizers::Result<Vec<(Offsets, bool)>> {
        if inside.is_empty() {
            return Ok(vec![((0, 0), false)]);
        }
        Ok(self.matches(inside).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;
    use crate::tokenizer::guard::guarded;
    use std::time::{Duration, Instant};
    use tokenizers::utils::SysRegex;

    /// The library's own search is the reference.
    #[test]
    fn texts_are_cut_as_the_library_cuts_them() {
        let texts = [
            "",
            "a",
            "The quick brown fox, don't you 12345 see?\n\n  Yes\t it's  \r\n end   ",
            "\u{3000}中文字符和かな 123456 ñandú",
            "xx  xx   xxx\u{300}x",
            "👩‍👩‍👧 e\u{301}\u{301} ﬁ",
            "        ",
            "\n\n\n",
            "a,b,,c",
        ];
        let long = format!(
            "{}word {}12 {}",
            " ".repeat(300),
            "x".repeat(500),
            "\n".repeat(200)
        );
        let others = [
            r"\b",
            "b|(?=,)",
            r"\d*",
            "",
            "(?=.)|(?<!^)$",
            "^",
            " {2,}",
            r"\s+$",
            r"(?<=x)x",
            r"\w+|[^\w\s]+",
            "(?i:THE)|q.*?k",
            r"(x+)\s+\1",
            ".",
        ];
        for expression in known::all().chain(others) {
            let ours = Expression::new(expression).unwrap();
            let theirs = SysRegex::new(expression).unwrap();
            for text in texts.iter().copied().chain([long.as_str()]) {
                assert_eq!(
                    (&ours).find_matches(text).unwrap(),
                    (&theirs).find_matches(text).unwrap(),
                    "{expression} {text:?}"
                );
            }
        }
    }

    #[test]
    fn known_expressions_take_words_of_any_length() {
        for expression in known::all() {
            let ours = Expression::new(expression).unwrap();
            for text in [" ", "x", "7", "中", "\n", "!", "X", "xX", " \n"].map(|piece| piece.repeat(100_000))
            {
                let started = Instant::now();
                let pieces = guarded(0, || (&ours).find_matches(&text).unwrap().len());
                assert!(
                    pieces.is_ok(),
                    "{expression} {:?}: {pieces:?}",
                    text.chars().next()
                );
                assert!(
                    started.elapsed() < Duration::from_secs(5),
                    "{expression} {:?}: {:?}",
                    text.chars().next(),
                    started.elapsed()
                );
            }
        }
    }

    /// Each takes hours or days when nothing stops it.
    #[test]
    fn searches_end_when_their_time_is_over() {
        for (expression, text) in [
            ("(x+x+)+y", "xxxxxxxxxxxxxxxxxxxx ".repeat(100_000)),
            ("(?:[a-z]*1|[a-z])*2", "x".repeat(2 << 20)),
            ("(?:(?=(?:(?=[a-z]*)[a-z])*)[a-z])*1", "x".repeat(2 << 20)),
            ("(?>[a-z]*)1|(?>[a-z]*)2|(?>[a-z]*)3", "x".repeat(2 << 20)),
            ("[a-z].*1", "x".repeat(2 << 20)),
            (
                r"(?=(?:(?=(?:(?=(?:(?=.).){16}).){16}).){16})..y",
                "x".repeat(2 << 20),
            ),
            (r"(?<=[a-z]{1,64}1)x", "x".repeat(2 << 20)),
            (r"(x*)\1*\1*y", "x".repeat(2 << 20)),
        ] {
            let ours = Expression::new(expression).unwrap();
            let started = Instant::now();
            let _time = clock::Time::begin(Duration::from_millis(500));
            let told = guarded(0, || (&ours).find_matches(&text).map(drop).unwrap());
            // A promise of two seconds.
            assert!(
                started.elapsed() < Duration::from_secs(20),
                "{expression}: {:?}",
                started.elapsed()
            );
            assert!(
                told.is_err() || started.elapsed() < Duration::from_secs(1),
                "{expression}: {told:?}"
            );
        }
    }

    #[test]
    fn what_repeats_without_going_back_is_refused() {
        for expression in [
            "(?:(?:(?:x?){100}){100}){100}",
            "x{99999999999999999999}",
            r"(?<a>x\g<a>)",
            r"\Gx",
            "(?~abc)",
            "(*FAIL)",
            "(?(1)a|b)",
            r"\X",
        ] {
            assert!(excess(expression).is_some(), "{expression}");
            assert!(Expression::new(expression).is_err(), "{expression}");
        }
        for expression in [r"\p{N}{1,3}", r"\\g", r"\p{L}+{", "[{}]", "x{,3}"] {
            assert_eq!(excess(expression), None, "{expression}");
        }
    }

    #[test]
    fn what_looks_ahead_is_counted() {
        for (expression, depth) in [
            (r"\s+(?!\S)|\p{N}{1,3}", 0),
            (r"a(?=b+)|a(?!c*)", 1),
            (r"(?:(?=(?:(?=[a-z]*)[a-z])*)[a-z])*1", 2),
            (r"(?>x(?<=y{2,}))", 2),
            (r"\(?=x+[(?=y+)]*\)", 0),
            (")(?=x+", 0),
        ] {
            assert_eq!(looking(expression), depth, "{expression}");
        }
        // 2^30 steps: 64 times 2^24 bytes, or 64 times the square of 4,096.
        let retries = |expression: &str, length: usize| Expression::new(expression).unwrap().retries(length);
        assert_eq!(retries("q.*k", 1 << 24), Some(64));
        assert_eq!(retries("q.*k", (1 << 24) + 1), None);
        assert_eq!(retries("q(?=.*k)", 4096), Some(64));
        assert_eq!(retries("q(?=.*k)", 4097), None);
        assert_eq!(retries("q.*k", 100), Some(1 << 15));
    }

    /// What is seen is not cut off anywhere.
    #[test]
    fn words_of_unknown_expressions_are_as_long_as_they_are() {
        let ours = Expression::new("[a-z]+(?:-[a-z]+)*").unwrap();
        let long = 100_000;
        let pieces = guarded(0, || (&ours).find_matches(&"x".repeat(long)).unwrap());
        assert_eq!(pieces.unwrap(), vec![((0, long), true)]);
    }
}
