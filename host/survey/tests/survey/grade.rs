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
    // Twenty words of meaning. Ten of them in the context: all 20 points. Fifteen: 75 %, of which 25 of 50 are left: 10 points.
    let words: Vec<&str> = "granite tower gulls circle weathered ramparts stormy breakers crash jagged rocks beneath leaden clouds fortress coast ocean \
                            castle tempest cliff"
        .split(' ')
        .collect();
    let text = format!(
        "Title: {}\nDescription: {}.\nKeywords: {}",
        words[..2].join(" "),
        words[2..14].join(" "),
        words[14..].join(", ")
    );
    let known = |count: usize| words[..count].iter().rev().copied().collect::<Vec<_>>().join(" ");
    assert_eq!(graded(&text, &known(10)).points, 100);
    assert_eq!(graded(&text, &known(15)).points, 100 - 10);
}

#[test]
fn each_part_is_counted() {
    let title = "Red rowing boat on a calm lake";
    for (words, points) in [
        ("Boat".to_owned(), 100 - 7),
        ("Red boat".to_owned(), 100),
        ("red ".repeat(3) + &"boat and jetty ".repeat(4), 100),
        ("red ".repeat(4) + &"boat and jetty ".repeat(4), 100 - 7),
    ] {
        let grade = graded(&GOOD.replace(title, words.trim()), "");
        assert_eq!(grade.points, points, "{words}: {:?}", grade.parts);
    }
    // Six words of meaning of twelve: 25 * 6 / 12 = 12.
    let lines: Vec<&str> = GOOD.lines().collect();
    let short = format!(
        "{}\nDescription: Rowing boat, moored; a jetty, morning mist.\n{}",
        lines[0], lines[2]
    );
    let grade = graded(&short, "");
    assert_eq!(grade.points, 100 - 13, "{:?}", grade.parts);
    // Twelve keywords where ten are the most: 10 * 2 / 10 = 2 points, and a finding.
    let many = GOOD.to_owned() + ", reeds, dawn, oars, hull, shore, calm";
    let grade = graded(&many, "");
    assert_eq!(grade.points, 100 - 2 - 5, "{:?}", grade.parts);
    // One of seven that was there before counts as six, and is a finding.
    let twice = graded(&(GOOD.to_owned() + ", Boat"), "");
    assert_eq!(twice.points, 100 - 5, "{:?}", twice.parts);
}

#[test]
fn letters_are_those_of_the_sums() {
    let lines: Vec<&str> = GOOD.lines().collect();
    for (text, letter, points) in [
        // Without keywords: 25 less, and a finding. 70 is the least of B.
        (lines[..2].join("\n"), 'B', 70),
        // Without a title, and one keyword of five: 15, 20 and two findings less.
        (format!("{}\nKeywords: boat", lines[1]), 'C', 55),
        // A title alone: 25, 25 and a finding less.
        (lines[0].to_owned(), 'D', 45),
    ] {
        let grade = graded(&text, "");
        assert_eq!(
            (grade.letter, grade.points),
            (letter, points),
            "{:?}",
            grade.parts
        );
    }
}
