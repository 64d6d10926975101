//! What can be asked: a task's token becomes a sentence, and says what kind of places an answer has. As `Florence2Processor` has them.

use monocle_plugin::prelude::*;

/// What kind of places an answer has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Places {
    #[default]
    None,
    /// Words, then rectangles.
    Boxes,
    /// As `Boxes`, but words that stand for nothing are left out.
    Phrases,
    /// Rectangles alone.
    Proposals,
    /// Outlines.
    Polygons,
    /// Words, then outlines or rectangles.
    BoxesOrPolygons,
    /// Words, then the four corners around them.
    Quads,
}

/// Token, sentence (`{}` is where what is said beside the token goes), places in the answer.
const TASKS: [(&str, &str, Places); 15] = [
    ("<OCR>", "What is the text in the image?", Places::None),
    (
        "<OCR_WITH_REGION>",
        "What is the text in the image, with regions?",
        Places::Quads,
    ),
    ("<CAPTION>", "What does the image describe?", Places::None),
    (
        "<DETAILED_CAPTION>",
        "Describe in detail what is shown in the image.",
        Places::None,
    ),
    (
        "<MORE_DETAILED_CAPTION>",
        "Describe with a paragraph what is shown in the image.",
        Places::None,
    ),
    (
        "<OD>",
        "Locate the objects with category name in the image.",
        Places::Boxes,
    ),
    (
        "<DENSE_REGION_CAPTION>",
        "Locate the objects in the image, with their descriptions.",
        Places::Boxes,
    ),
    (
        "<REGION_PROPOSAL>",
        "Locate the region proposals in the image.",
        Places::Proposals,
    ),
    (
        "<CAPTION_TO_PHRASE_GROUNDING>",
        "Locate the phrases in the caption: {}",
        Places::Phrases,
    ),
    (
        "<REFERRING_EXPRESSION_SEGMENTATION>",
        "Locate {} in the image with mask",
        Places::Polygons,
    ),
    (
        "<REGION_TO_SEGMENTATION>",
        "What is the polygon mask of region {}",
        Places::Polygons,
    ),
    (
        "<OPEN_VOCABULARY_DETECTION>",
        "Locate {} in the image.",
        Places::BoxesOrPolygons,
    ),
    ("<REGION_TO_CATEGORY>", "What is the region {}?", Places::None),
    (
        "<REGION_TO_DESCRIPTION>",
        "What does the region {} describe?",
        Places::None,
    ),
    ("<REGION_TO_OCR>", "What text is in the region {}?", Places::None),
];

/// The sentence that is asked, and what the answer will have. A text without a task's token is asked as it is.
pub fn sentence(text: &str) -> Result<(String, Places)> {
    let Some((token, sentence, places)) = TASKS.into_iter().find(|(token, ..)| text.contains(token)) else {
        return Ok((text.to_owned(), Places::None));
    };
    let said = text.replace(token, "");
    let takes_more = sentence.contains("{}");
    ensure!(
        takes_more || said.trim().is_empty(),
        "the task `{token}` takes no words beside it; found `{}`",
        said.trim()
    );
    ensure!(
        !takes_more || !said.trim().is_empty(),
        "the task `{token}` needs words after it: what to look for, or a region"
    );
    Ok((sentence.replace("{}", said.trim()), places))
}

/// Tokens of answers and regions that the first repositories' tokenizers lack, in the order of their ids; misspelt as they are.
pub fn tokens() -> Vec<String> {
    let ends = |names: &[&str]| {
        names
            .iter()
            .flat_map(|name| [format!("<{name}>"), format!("</{name}>")])
            .collect::<Vec<_>>()
    };
    let places = (0..1000).map(|place| format!("<loc_{place}>"));
    let mut tokens = ends(&["od", "ocr"]);
    tokens.extend(places);
    tokens.extend(ends(&["cap", "ncap", "dcap", "grounding", "seg"]));
    tokens.push("<sep>".to_owned());
    tokens.extend(ends(&["region_cap", "region_to_desciption", "proposal", "poly"]));
    tokens.push("<and>".to_owned());
    tokens
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_of_tasks_become_sentences() {
        // transformers 5.23: Florence2Processor._construct_prompts
        let (asked, places) = sentence("<CAPTION_TO_PHRASE_GROUNDING> a red disc ").unwrap();
        assert_eq!(
            (asked.as_str(), places),
            ("Locate the phrases in the caption: a red disc", Places::Phrases)
        );
        assert_eq!(
            sentence("What is it?").unwrap(),
            ("What is it?".to_owned(), Places::None)
        );
        assert_eq!(sentence("<OD>").unwrap().1, Places::Boxes);
        assert!(
            sentence("<OD>cars")
                .unwrap_err()
                .to_string()
                .contains("takes no words")
        );
        assert!(
            sentence("<REGION_TO_OCR>")
                .unwrap_err()
                .to_string()
                .contains("needs words")
        );
    }

    #[test]
    fn ids_end_where_the_published_vocabulary_does() {
        // 50,265 of BART, and the first of these is 50,265: `vocab_size` of microsoft/Florence-2-base is 51,289.
        assert_eq!(50_265 + tokens().len(), 51_289);
    }
}
