//! How right an answer is: the accuracy of VQA 2.0, and whether it is one of the expected answers.
//!
//! The accuracy is that of the challenge's own evaluation (Antol et al., "VQA: Visual Question Answering", 2015, and
//! github.com/GT-Vision-Lab/VQA, state of 2021): with ten people's answers, each left out once, an answer counts a third for each of the other
//! nine that gave it, at most one, and the ten results are averaged. Answers are normalised first, but only where people disagree.

use std::collections::HashMap;
use std::sync::LazyLock;

/// Contractions without their apostrophe, as the evaluation lists them.
static CONTRACTIONS: LazyLock<HashMap<String, String>> = LazyLock::new(|| {
    serde_json::from_str(include_str!("../data/vqa_contractions.json")).expect("the list is JSON")
});

/// Signs that are removed, or replaced by a space.
const SIGNS: [char; 21] = [
    ';', '/', '[', ']', '"', '{', '}', '(', ')', '=', '+', '\\', '_', '-', '>', '<', '@', '`', ',', '?', '!',
];
/// The most full stops that are removed: the evaluation hands a flag where its library takes a count.
const STOPS: usize = 32;

/// How right an answer is: 0 to 1.
pub fn accuracy(given: &str, expected: &[String]) -> f64 {
    if expected.is_empty() {
        return 0.0;
    }
    let mut given = on_one_line(given);
    let mut expected: Vec<String> = expected.iter().map(|answer| on_one_line(answer)).collect();
    if expected.iter().any(|answer| *answer != expected[0]) {
        given = normalised(&given);
        expected = expected.iter().map(|answer| normalised(answer)).collect();
    }
    // The definition is one of ten answers: of one alone, nothing is left when it is left out. It is right or wrong.
    if let [only] = &expected[..] {
        return f64::from(u8::from(*only == given));
    }
    let same = expected.iter().filter(|answer| **answer == given).count();
    let others = expected.len() - same;
    let of = |same: usize| (same as f64 / 3.0).min(1.0);
    // Where the one left out gave it, the others have one less.
    let sum = same as f64 * of(same.saturating_sub(1)) + others as f64 * of(same);
    sum / expected.len() as f64
}

/// Whether an answer is one of the expected ones, case, articles and signs aside.
pub fn is_exact(given: &str, expected: &[String]) -> bool {
    let given = normalised(&on_one_line(given));
    expected
        .iter()
        .any(|answer| normalised(&on_one_line(answer)) == given)
}

/// An answer as the evaluation compares it.
pub fn normalised(text: &str) -> String {
    let text = without_signs(text).to_lowercase();
    let words = text.split_whitespace().map(|word| match word {
        "none" | "zero" => "0",
        "one" => "1",
        "two" => "2",
        "three" => "3",
        "four" => "4",
        "five" => "5",
        "six" => "6",
        "seven" => "7",
        "eight" => "8",
        "nine" => "9",
        "ten" => "10",
        word => word,
    });
    let words = words.filter(|word| !["a", "an", "the"].contains(word));
    let whole = words.map(|word| CONTRACTIONS.get(word).map_or(word, String::as_str));
    whole.collect::<Vec<_>>().join(" ")
}

fn on_one_line(text: &str) -> String {
    text.replace(['\n', '\t'], " ").trim().to_owned()
}

/// A sign that stands beside a space anywhere in the text is removed everywhere, and so are all signs where a comma stands between digits;
/// else a space takes its place. Full stops go, except before a digit.
fn without_signs(text: &str) -> String {
    let letters: Vec<char> = text.chars().collect();
    let has_number = letters
        .windows(3)
        .any(|three| three[1] == ',' && three[0].is_ascii_digit() && three[2].is_ascii_digit());
    let mut out = text.to_owned();
    for sign in SIGNS.into_iter().filter(|sign| text.contains(*sign)) {
        let beside = text.contains(&format!("{sign} ")) || text.contains(&format!(" {sign}"));
        let with = if beside || has_number { "" } else { " " };
        out = out.replace(sign, with);
    }
    let mut removed = 0;
    let mut rest = out.chars().peekable();
    let mut kept = String::with_capacity(out.len());
    while let Some(letter) = rest.next() {
        let is_stop = letter == '.' && !rest.peek().is_some_and(|next| next.is_ascii_digit());
        if is_stop && removed < STOPS {
            removed += 1;
        } else {
            kept.push(letter);
        }
    }
    kept
}
