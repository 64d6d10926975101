//! Answers with parts, in every dress.

use monocle_survey::structure::*;

#[test]
fn labels_are_read_in_every_dress() {
    let plain = "Title: A red disc\nDescription: A red disc on white.\nKeywords: disc, red, circle";
    let bold =
        "**Title:** A red disc\n\n**Description:** A red disc on white.\n\n**Keywords:** disc, red, circle.";
    let heads = "## Title\nA red disc\n\n## Description\nA red disc on white.\n\n## Keywords\n- disc\n- red\n- circle\n";
    let numbered =
        "1. Title - A red disc\n2. Description - A red disc on white.\n3. Keywords - disc; red; circle";
    let json = r#"```json
{"title": "A red disc", "description": "A red disc on white.", "keywords": ["disc", "red", "circle"]}
```"#;
    let expected = Structure {
        title: Some("A red disc".to_owned()),
        description: Some("A red disc on white.".to_owned()),
        keywords: ["disc", "red", "circle"].map(str::to_owned).to_vec(),
    };
    for text in [plain, bold, heads, numbered, json] {
        assert_eq!(Structure::of(text), expected, "{text}");
    }
}

#[test]
fn prose_has_no_parts() {
    let text = "The title of the book is hidden. A description: none.";
    assert_eq!(
        Structure::of(text).missing(),
        ["title", "description", "keywords"]
    );
    assert_eq!(
        Structure::of("Title:\nDescription:\nKeywords:").missing().len(),
        3
    );
}

#[test]
fn prose_after_the_keywords_is_none_of_them() {
    let found = Structure::of("Keywords: church, tower\n\nThis picture was taken in spring, I think.");
    assert_eq!(found.keywords, ["church", "tower"]);
}

#[test]
fn duplicates_are_found_case_aside() {
    let found = Structure::of("Keywords: Church, tower, church, CHURCH");
    assert_eq!(found.duplicates(), ["church", "CHURCH"]);
}

#[test]
fn of_json_that_was_cut_off_what_is_whole_counts() {
    let whole =
        r#"{"title": "A, \"red\" [disc", "description": "On white.", "keywords": ["disc", "a, b", "red"]}"#;
    let expected = Structure::of(whole);
    assert_eq!(expected.title.as_deref(), Some("A, \"red\" [disc"));
    // Wherever it ends, what is found is a beginning of what it says.
    for (at, _) in whole.char_indices() {
        let found = Structure::of(&whole[..at]);
        assert!(
            found.title.is_none() || found.title == expected.title,
            "{at}: {found:?}"
        );
        assert!(
            found.description.is_none() || found.description == expected.description,
            "{at}: {found:?}"
        );
        assert!(expected.keywords.starts_with(&found.keywords), "{at}: {found:?}");
    }
    let cut = |end: &str| Structure::of(&whole[..whole.find(end).expect("it is there")]);
    assert_eq!(cut("\"red\"]").keywords, ["disc", "a, b"]);
    assert_eq!(cut("On white").title, expected.title);
    assert_eq!(cut("On white").description, None);
    for broken in ["{", "[1,", "{]", "{\"a\":1,}}", "{,", "{\"title\": \"x\",,"] {
        assert_eq!(Structure::of(broken).keywords, [""; 0], "{broken}");
    }
}
