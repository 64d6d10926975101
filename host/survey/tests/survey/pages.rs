//! Reports of rows, and two runs compared.

use monocle_survey::compare::compare;
use monocle_survey::failure::{Failure, Place};
use monocle_survey::findings::{Finding, Rule};
use monocle_survey::grade::Grade;
use monocle_survey::report::{About, csv, markdown, page, read_rows, read_wanted};
use monocle_survey::row::{Answer, Figures, Row};

fn rows() -> Vec<Row> {
    let answered = Row {
        model: "one".to_owned(),
        answer: Some(Answer {
            text: "=A \"red\" <script>alert(1)</script> disc,\nand | more ```".to_owned(),
            finish: "it ended".to_owned(),
            ..Answer::default()
        }),
        figures: Figures {
            decode_tokens_per_s: Some(20.0),
            decode_s: Some(1.5),
            process_peak_bytes: Some(300_000_000),
            ..Figures::default()
        },
        ..Row::default()
    };
    let failed = Row {
        model: "two".to_owned(),
        failure: Some(Failure::new(Place::Weights, "a tensor is missing\n\nhint: none")),
        ..Row::default()
    };
    vec![answered, failed]
}

#[test]
fn a_page_holds_all_and_runs_nothing_of_a_model() {
    let html = page(&About::default(), &rows());
    assert!(
        !html.contains("<script>alert"),
        "a model's words must not become markup"
    );
    for part in [
        "&lt;script&gt;alert(1)",
        "1 answered, 1 failed",
        "<svg",
        "a tensor is missing",
        "weights (1)",
    ] {
        assert!(html.contains(part), "{part}");
    }
    assert!(
        !html.contains("http://") && !html.contains("https://"),
        "one file, that needs no other"
    );
}

#[test]
fn a_servers_wait_for_its_first_token_is_a_phase_and_names_stand_apart() {
    let mut rows = rows();
    rows[1] = Row {
        model: "other".to_owned(),
        figures: Figures {
            first_token_s: Some(3.0),
            ..rows[0].figures.clone()
        },
        ..rows[0].clone()
    };
    let html = page(&About::default(), &rows);
    // 3.0 and 1.5 s: a bar of 704 units in all, two thirds of which are the wait.
    assert!(html.contains("other: 4.50 s") && html.contains("one: 1.50 s"));
    assert!(html.contains("width=\"469.33\" height=\"14\"><title>first token: 3.000 s</title>"));
    // Of one's own, the wait is told by its phases.
    rows[1].figures.prefill_s = Some(2.0);
    assert!(page(&About::default(), &rows).contains("other: 3.50 s"));
    // Both points are at one place.
    let labels: Vec<&str> = html.lines().flat_map(|line| line.split("<text ")).collect();
    let at = |name: &str| {
        let own = labels
            .iter()
            .find(|label| label.contains(&format!("\">{name}</text>")) && label.contains("anchor"));
        let label = own.expect("a name at its point");
        let y = label.split("y=\"").nth(1).and_then(|rest| rest.split('"').next());
        y.expect("a place").parse::<f64>().expect("a number")
    };
    assert_eq!(at("one") - at("other"), 14.0);
}

#[test]
fn tables_of_commas_are_quoted() {
    let text = csv(&rows()[..1]);
    assert!(
        text.ends_with("\"'=A \"\"red\"\" <script>alert(1)</script> disc,\nand | more ```\"\r\n"),
        "{text}"
    );
    assert_eq!(text.matches("\r\n").count(), 2);
}

#[test]
fn markdown_fences_are_longer_than_what_they_hold() {
    let text = markdown(&About::default(), &rows());
    assert!(text.contains("````text\n=A"), "{text}");
    assert!(text.contains("### weights (1)"));
}

#[test]
fn changes_are_told_and_noise_is_not() {
    let (old, mut new) = (rows(), rows());
    assert_eq!(compare(&old, &new), Vec::<String>::new());
    // 20 to 21 is 5 %, 300 MB to 360 MB is 20 %.
    new[0].figures.decode_tokens_per_s = Some(21.0);
    new[0].figures.process_peak_bytes = Some(360_000_000);
    new[1].failure = None;
    new[1].answer = Some(Answer::default());
    assert_eq!(
        compare(&old, &new),
        ["one: peak MB 300.00 → 360.00 (+20 %)", "two: works now"]
    );
    assert_eq!(
        compare(&old, &new[..1]).last().unwrap(),
        "two: not there any more"
    );
}

#[test]
fn each_kind_of_change_is_told() {
    let (mut old, mut new) = (rows(), rows());
    // 20 to 15 is a quarter less; from 1 s to 1.5 s is half as much again.
    new[0].figures.decode_tokens_per_s = Some(15.0);
    (old[0].figures.first_token_s, new[0].figures.first_token_s) = (Some(1.0), Some(1.5));
    let finding = |rule: Rule| Finding {
        rule,
        detail: "some".to_owned(),
    };
    old[0].findings = vec![finding(Rule::Verbose), finding(Rule::Cut)];
    new[0].findings = vec![finding(Rule::Cut), finding(Rule::Refusal)];
    let grade = |letter: char, points: u32| Grade {
        letter,
        points,
        parts: Vec::new(),
    };
    (old[0].grade, new[0].grade) = (Some(grade('B', 72)), Some(grade('C', 60)));
    let text = |text: &str| {
        Some(Answer {
            text: text.to_owned(),
            ..Answer::default()
        })
    };
    (old[0].answer, new[0].answer) = (text("A red disc"), text("A red kite"));
    new[1].failure = Some(Failure::new(Place::Memory, "it does not fit"));
    new.push(Row {
        model: "three".to_owned(),
        ..Row::default()
    });
    assert_eq!(
        compare(&old, &new),
        [
            "one: decode tokens/s 20.00 → 15.00 (-25 %)",
            "one: first token s 1.00 → 1.50 (+50 %)",
            "one: grade B 72 → C 60",
            "one: new finding refusal: some",
            "one: no longer verbose",
            "one: the answer is another from character 7 on",
            "two: fails otherwise: it does not fit",
            "three: new",
        ]
    );
    let now = compare(
        &new[..1],
        &[Row {
            failure: new[1].failure.clone(),
            ..new[0].clone()
        }],
    );
    assert_eq!(now[0], "one: fails now (memory): it does not fit");
}

#[test]
fn lines_that_are_kept_stay_as_they_stand() {
    let path = std::env::temp_dir().join(format!("monocle-kept-{}.jsonl", std::process::id()));
    let mut rows = rows();
    (rows[0].key, rows[1].key) = ("a".to_owned(), "b".to_owned());
    // A number whose last digit a quick reader gets wrong.
    rows[0].figures.total_s = Some(3842.4956329854085);
    let lines = [0, 1].map(|row| serde_json::to_string(&rows[row]).unwrap());
    std::fs::write(&path, format!("{}\n{}\n{}", lines[0], lines[1], &lines[0][..20])).unwrap();
    let (kept, text) = read_wanted(&path, |row: &Row| row.key != "b").unwrap();
    assert_eq!((kept.len(), kept[0].key.as_str()), (1, "a"));
    assert_eq!(kept[0].figures, rows[0].figures);
    assert_eq!(text, format!("{}\n", lines[0]));
    // One that only lacks its end is whole.
    std::fs::write(&path, &lines[1]).unwrap();
    let (_, text) = read_wanted(&path, |_: &Row| true).unwrap();
    assert_eq!(text, format!("{}\n", lines[1]));
    std::fs::remove_file(&path).unwrap();
}

#[test]
fn a_line_that_a_crash_cut_off_is_left_out() {
    let path = std::env::temp_dir().join(format!("monocle-rows-{}.jsonl", std::process::id()));
    let line = serde_json::to_string(&rows()[0]).unwrap();
    std::fs::write(&path, format!("{line}\n{}", &line[..line.len() / 2])).unwrap();
    assert_eq!(read_rows(&path).unwrap().len(), 1);
    std::fs::write(&path, format!("{}\n{line}\n", &line[..line.len() / 2])).unwrap();
    assert!(read_rows(&path).unwrap_err().contains("line 1"));
    std::fs::remove_file(&path).unwrap();
}

#[test]
fn base64_is_that_of_the_standard() {
    // RFC 4648, section 10.
    for (bytes, text) in [
        ("", ""),
        ("f", "Zg=="),
        ("fo", "Zm8="),
        ("foo", "Zm9v"),
        ("foob", "Zm9vYg=="),
        ("foobar", "Zm9vYmFy"),
    ] {
        assert_eq!(monocle_survey::base64(bytes.as_bytes()), text);
    }
}
