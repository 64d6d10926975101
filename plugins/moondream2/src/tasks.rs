//! What can be asked, and by which words.

use monocle_plugin::prelude::*;

/// One of the original's functions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Task {
    Caption(Length),
    Query(String),
    Point(String),
    Detect(String),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Length {
    Short,
    Normal,
    Long,
}

/// `caption`, `short caption` or `long caption`, and no words at all, ask for a caption; `point: WHAT` for points,
/// `detect: WHAT` for rectangles; all else is a question.
pub fn task(text: &str) -> Result<Task> {
    let text = text.trim();
    let lower = text.to_lowercase();
    let after = |word: &str| {
        let (before, after) = text.split_once(':')?;
        before
            .trim()
            .eq_ignore_ascii_case(word)
            .then(|| after.trim().to_owned())
    };
    if let Some(what) = after("point") {
        ensure!(
            !what.is_empty(),
            "`point:` needs words after it: what to point at"
        );
        return Ok(Task::Point(what));
    }
    if let Some(what) = after("detect") {
        ensure!(
            !what.is_empty(),
            "`detect:` needs words after it: what to draw rectangles around"
        );
        return Ok(Task::Detect(what));
    }
    Ok(match lower.trim_end_matches('.') {
        "" | "caption" | "normal caption" => Task::Caption(Length::Normal),
        "short caption" => Task::Caption(Length::Short),
        "long caption" => Task::Caption(Length::Long),
        _ => Task::Query(text.to_owned()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_ask_for_functions() {
        assert_eq!(task(" ").unwrap(), Task::Caption(Length::Normal));
        assert_eq!(task("Short caption").unwrap(), Task::Caption(Length::Short));
        assert_eq!(task("long caption").unwrap(), Task::Caption(Length::Long));
        assert_eq!(
            task("Point: the dog's nose").unwrap(),
            Task::Point("the dog's nose".into())
        );
        for question in [
            "What is it?",
            "What time is it: 10:30?",
            "Caption this for a blog",
        ] {
            assert_eq!(task(question).unwrap(), Task::Query(question.into()));
        }
        assert!(task("point:").unwrap_err().to_string().contains("needs words"));
        assert_eq!(task("detect: Faces").unwrap(), Task::Detect("Faces".into()));
        assert!(task("DETECT : ").unwrap_err().to_string().contains("needs words"));
    }
}
