//! What an answer is worth: sums worked out by hand.

use monocle_survey::findings::find;
use monocle_survey::findings::{Asked, Said};
use monocle_survey::grade::*;

fn graded(text: &str, context: &str) -> Grade {
    let asked = Asked {
        context: context.to_owned(),
        structured: true,
        keywords: Some((5, 10)),
        ..Asked::default()
    };
    let said = Said {
        text: text.to_owned(),
        is_cut: false,
    };
    grade(&asked, &said, &find(&asked, &said))
}

const GOOD: &str = "Title: Red rowing boat on a calm lake\nDescription: A red rowing boat lies moored beside a wooden jetty while morning mist \
                    drifts across calm water toward dark pine trees.\nKeywords: boat, lake, mist, jetty, morning, pines";

#[test]
fn a_whole_entry_of_own_words_is_an_a() {
    let grade = graded(GOOD, "");
    assert_eq!((grade.letter, grade.points), ('A', 100), "{:?}", grade.parts);
}

#[test]
fn the_parts_make_the_sum() {
    // Two of the five keywords asked for: 25 * 2 / 5 = 10 points, and one finding takes 5.
    let text = GOOD.replace("boat, lake, mist, jetty, morning, pines", "boat, lake");
    assert_eq!(graded(&text, "").points, 100 - 15 - 5);
}

#[test]
fn an_entry_that_repeats_itself_cannot_pass() {
    let text = format!("{GOOD}, {}", "calm lake, ".repeat(12));
    let grade = graded(&text, "");
    assert_eq!((grade.letter, grade.points), ('F', 39));
}

#[test]
fn nothing_is_worth_nothing() {
    assert_eq!(graded("", "").points, 0);
    assert_eq!(graded("I'm sorry, but I can't help with that.", "").points, 0);
}

#[test]
fn what_the_context_said_earns_less() {
    assert!(graded(GOOD, GOOD).points <= 75, "{:?}", graded(GOOD, GOOD));
}
