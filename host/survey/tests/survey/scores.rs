//! Scores: VQA 2.0's accuracy by hand and by the challenge's own evaluation, intervals, data sets.

use std::path::{Path, PathBuf};

use monocle_survey::dataset::{self, DatasetError, Kind, Question};
use monocle_survey::failure::{Failure, Place};
use monocle_survey::interval::wilson;
use monocle_survey::score::{self, Scored, Share};
use monocle_survey::vqa::{accuracy, is_exact, normalised};
use proptest::prelude::*;
use serde::Deserialize;

fn ten(counts: &[(&str, usize)]) -> Vec<String> {
    let answers = counts
        .iter()
        .flat_map(|(answer, count)| std::iter::repeat_n((*answer).to_owned(), *count));
    let answers: Vec<String> = answers.collect();
    assert_eq!(answers.len(), 10);
    answers
}

#[test]
fn accuracies_worked_out_by_hand() {
    // Four gave it: without one of them three are left (1), without another four (1).
    // Three gave it: without one of them two thirds (3 of 10), else 1: 0.3 * 2/3 + 0.7 = 0.9.
    // Two gave it: 0.2 * 1/3 + 0.8 * 2/3 = 0.6. One gave it: 0.1 * 0 + 0.9 * 1/3 = 0.3.
    for (given, people, expected) in [
        ("red", ten(&[("red", 4), ("blue", 6)]), 1.0),
        ("red", ten(&[("red", 3), ("blue", 7)]), 0.9),
        ("red", ten(&[("red", 2), ("blue", 8)]), 0.6),
        ("red", ten(&[("red", 1), ("blue", 9)]), 0.3),
        ("red", ten(&[("blue", 10)]), 0.0),
        // Where people disagree, answers are normalised …
        ("The Red.", ten(&[("red", 5), ("a red", 1), ("blue", 4)]), 1.0),
        ("two", ten(&[("2", 3), ("3", 7)]), 0.9),
        // … and where all say the same, they are not.
        ("Red", ten(&[("red", 10)]), 0.0),
        ("red", ten(&[("red", 10)]), 1.0),
    ] {
        let found = accuracy(given, &people);
        assert!(
            (found - expected).abs() < 1e-12,
            "{given} {people:?}: {found}, expected {expected}"
        );
    }
    assert_eq!(accuracy("red", &[]), 0.0);
    assert!(is_exact(" The Red.", &["red".to_owned()]) && !is_exact("dark red", &["red".to_owned()]));
}

#[test]
fn answers_are_normalised_as_the_evaluation_does() {
    for (text, expected) in [
        ("It is A Dog!", "it is dog"),
        ("isnt", "isn't"),
        // No space beside the sign: a space takes its place.
        ("black/white", "black white"),
        ("black/ white", "black white"),
        ("yes/no", "yes no"),
        ("1,000", "1000"),
        ("3.5", "3.5"),
        ("3.", "3"),
        ("none", "0"),
        ("Zero", "0"),
        ("man's", "man's"),
    ] {
        assert_eq!(normalised(text), expected, "{text}");
    }
}

#[derive(Deserialize)]
struct Case {
    given: String,
    expected: Vec<String>,
    accuracy: f64,
}

#[test]
fn accuracies_are_those_of_the_challenges_own_evaluation() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/oracle/vqa/accuracy.json");
    let text = std::fs::read_to_string(path).expect("the evaluation's results are there");
    let cases: Vec<Case> = serde_json::from_str(&text).expect("they are JSON");
    assert!(cases.len() >= 200);
    for case in cases {
        let found = accuracy(&case.given, &case.expected);
        assert!(
            (found - case.accuracy).abs() < 1e-6,
            "{:?} {:?}: {found}, expected {}",
            case.given,
            case.expected,
            case.accuracy
        );
    }
}

#[test]
fn intervals_are_wilsons() {
    // By hand, with z² = 3.8414588: 0 of 10: z² / (10 + z²) = 0.27753; 5 of 10: 0.5 ± 1.959964 sqrt(0.025 + 3.8414588 / 400) / 1.38414588 =
    // 0.5 ± 0.26341; 81 of 263 (Newcombe, 1998, example 1): 0.2553 to 0.3662.
    for (share, cases, low, high) in [
        (0.0, 10, 0.0, 0.277_53),
        (1.0, 10, 1.0 - 0.277_53, 1.0),
        (0.5, 10, 0.236_59, 0.763_41),
        (81.0 / 263.0, 263, 0.2553, 0.3662),
    ] {
        let (a, b) = wilson(share, cases);
        assert!(
            (a - low).abs() < 1e-4 && (b - high).abs() < 1e-4,
            "{share} of {cases}: {a} to {b}"
        );
    }
    assert_eq!(wilson(0.0, 0), (0.0, 1.0));
}

struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("monocle-dataset-{}-{name}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(&path).expect("there is room");
        Self(path)
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.join(name);
        std::fs::create_dir_all(path.parent().expect("it is in a folder")).expect("there is room");
        std::fs::write(&path, text).expect("there is room");
        path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[test]
fn vqa_files_are_read_as_they_are() {
    let folder = Folder::new("vqa");
    // Their form as downloaded, with fields that nobody needs here.
    let asked = r#"{"info": {"version": "2.0"}, "task_type": "Open-Ended", "data_type": "mscoco", "license": {}, "data_subtype": "val2014",
        "questions": [{"image_id": 262148, "question": "Where is he looking?", "question_id": 262148000},
        {"image_id": 262148, "question": "Is he alone?", "question_id": 262148001}]}"#;
    let answered = r#"{"data_subtype": "val2014", "annotations": [
        {"question_type": "is he", "multiple_choice_answer": "yes", "image_id": 262148, "question_id": 262148001, "answer_type": "yes/no",
         "answers": [{"answer": "yes", "answer_confidence": "yes", "answer_id": 1}, {"answer": "no", "answer_confidence": "maybe", "answer_id": 2}]},
        {"question_type": "none of the above", "multiple_choice_answer": "down", "image_id": 262148, "question_id": 262148000,
         "answer_type": "other", "answers": [{"answer": "down", "answer_confidence": "yes", "answer_id": 1}]}]}"#;
    let path = folder.write("v2_OpenEnded_mscoco_val2014_questions.json", asked);
    match dataset::read(&path, None) {
        Err(DatasetError::Io { path, .. }) => assert!(path.ends_with("v2_mscoco_val2014_annotations.json")),
        other => panic!("{other:?}"),
    }
    folder.write("v2_mscoco_val2014_annotations.json", answered);
    assert!(matches!(
        dataset::read(&path, None),
        Err(DatasetError::NoPicture { .. })
    ));
    let picture = folder.write("val2014/COCO_val2014_000000262148.jpg", "");
    let questions = dataset::read(&folder.0, None).expect("it is a data set");
    let expected = Question {
        id: "262148001".to_owned(),
        picture,
        before: Vec::new(),
        question: "Is he alone?".to_owned(),
        answers: vec!["yes".to_owned(), "no".to_owned()],
        kind: Kind::YesNo,
    };
    assert_eq!((questions.len(), &questions[1]), (2, &expected));
    assert_eq!(questions[0].kind, Kind::Other);
}

#[test]
fn lines_are_read_and_wrong_ones_are_named() {
    let folder = Folder::new("lines");
    let good = r#"{"image": "a.png", "question": "How many?", "answers": ["3", "three", "3"]}
{"picture": "b/c.png", "question": "Red?", "answer": "no", "id": 7, "before": [["What is it?", "a disc"]]}

"#;
    let path = folder.write("questions.jsonl", good);
    let questions = dataset::read(&folder.0, None).expect("it is a data set");
    assert_eq!(questions, dataset::read(&path, None).expect("it is a data set"));
    assert_eq!(questions[0].kind, Kind::Number);
    assert_eq!(questions[0].picture, folder.0.join("a.png"));
    assert_eq!((questions[1].id.as_str(), questions[1].kind), ("7", Kind::YesNo));
    assert_eq!(
        questions[1].before,
        [("What is it?".to_owned(), "a disc".to_owned())]
    );
    for (line, word) in [
        ("{}", "image"),
        (r#"{"image": "a", "question": "b"}"#, "answers"),
        (
            r#"{"image": "a", "question": "b", "answer": "c", "answers": ["d"]}"#,
            "answers",
        ),
        (
            r#"{"image": "a", "question": "b", "answer": "c", "answer_type": "odd"}"#,
            "odd",
        ),
        (
            r#"{"image": "a", "question": "b", "answer": "c", "anser_type": "other"}"#,
            "anser_type",
        ),
    ] {
        let path = folder.write(
            "wrong.jsonl",
            &format!("{{\"image\": \"a\", \"question\": \"b\", \"answer\": \"c\"}}\n{line}\n"),
        );
        match dataset::read(&path, None) {
            Err(error @ DatasetError::Line { line: 2, .. }) => {
                assert!(error.to_string().contains(word), "{error}")
            }
            other => panic!("{line}: {other:?}"),
        }
    }
    let other = folder.write("a.txt", "");
    assert!(matches!(
        dataset::read(&other, None),
        Err(DatasetError::Unknown { .. })
    ));
}

#[test]
fn second_turns_follow_another_question_about_the_same_picture() {
    let question = |id: &str, picture: &str| Question {
        id: id.to_owned(),
        picture: picture.into(),
        before: Vec::new(),
        question: format!("{id}?"),
        answers: vec![format!("{id}!")],
        kind: Kind::Other,
    };
    let all = [
        question("1", "a"),
        question("2", "a"),
        question("3", "b"),
        question("4", "a"),
    ];
    let second = dataset::second_turns(&all);
    let told: Vec<(&str, &str, &str)> = second
        .iter()
        .map(|q| {
            (
                q.question.as_str(),
                q.before[0].0.as_str(),
                q.before[0].1.as_str(),
            )
        })
        .collect();
    assert_eq!(told, [("1?", "4?", "4!"), ("2?", "1?", "1!"), ("4?", "2?", "2!")]);
}

#[test]
fn shares_and_changes_are_counted() {
    let answer = |id: &str, accuracy: f64| Scored {
        model: "<m>".to_owned(),
        id: id.to_owned(),
        kind: "number".to_owned(),
        answer: Some("=1+1".to_owned()),
        accuracy,
        is_exact: accuracy == 1.0,
        ..Scored::default()
    };
    let (old, new) = (
        [answer("1", 0.6), answer("2", 1.0)],
        [answer("1", 1.0), answer("2", 1.0)],
    );
    let share = Share::of(old.iter()).expect("there are some");
    assert!((share.accuracy - 0.8).abs() < 1e-12 && (share.exact - 0.5).abs() < 1e-12);
    let changes = score::compare(&old, &new);
    assert_eq!(
        changes,
        [
            "<m>: VQA accuracy 80.0 % → 100.0 %, within the intervals",
            "<m>: 1 answers are better, 0 are worse"
        ]
    );
    // One better, two worse; and one that nobody asked before is neither.
    let (old, new) = (
        [
            answer("1", 0.6),
            answer("2", 1.0),
            answer("3", 1.0),
            answer("4", 0.0),
        ],
        [
            answer("1", 1.0),
            answer("2", 0.0),
            answer("3", 0.6),
            answer("4", 0.0),
            answer("5", 1.0),
        ],
    );
    assert_eq!(
        score::compare(&old, &new)[1],
        "<m>: 1 answers are better, 2 are worse"
    );
    let about = monocle_survey::report::About::default();
    let page = score::page(&about, &old);
    assert!(page.contains("&lt;m&gt;") && !page.contains("<m>"));
    assert!(
        score::csv(&old).contains("'=1+1"),
        "a spreadsheet must not compute it"
    );
}

#[test]
fn figures_are_those_of_their_kinds_and_turns() {
    let answer = |kind: &str, is_second_turn: bool, accuracy: f64| Scored {
        model: "m".to_owned(),
        kind: kind.to_owned(),
        is_second_turn,
        accuracy,
        is_exact: accuracy == 1.0,
        seconds: Some(accuracy + 1.0),
        ..Scored::default()
    };
    let all = [
        answer("number", false, 1.0),
        answer("other", false, 0.0),
        answer("other", true, 1.0),
        answer("other", true, 1.0),
        Scored {
            failure: Some(Failure::new(Place::Picture, "none is there")),
            seconds: None,
            ..answer("yes/no", false, 0.0)
        },
    ];
    let figures = score::figures(&all.iter().collect::<Vec<_>>());
    let figures: Vec<(&str, &str)> = figures
        .iter()
        .map(|(name, value)| (name.as_str(), value.split(" (").next().unwrap_or_default()))
        .collect();
    // (2 + 1 + 2 + 2) / 4 seconds.
    assert_eq!(
        figures,
        [
            ("questions", "5"),
            ("VQA accuracy", "60.0 %"),
            ("exact", "60.0 %"),
            ("yes/no", "0.0 %"),
            ("number", "100.0 %"),
            ("other", "66.7 %"),
            ("first turn", "33.3 %"),
            ("second turn", "100.0 %"),
            ("seconds for each", "1.75"),
            ("failed", "1"),
        ]
    );
}

proptest! {
    #[test]
    fn any_answer_has_an_accuracy(given in "\\PC{0,30}", expected in proptest::collection::vec("\\PC{0,8}", 0..12)) {
        let found = accuracy(&given, &expected);
        prop_assert!((0.0..=1.0).contains(&found));
    }
}
