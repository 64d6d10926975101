//! Which markers of reasoning a model uses, when nobody says it: its template or its tokenizer has them.

use crate::filter::{MarkersFrom, ReasoningMarkers};

/// Pairs that published models use.
const KNOWN: [(&str, &str); 9] = [
    ("<think>", "</think>"),
    ("<thinking>", "</thinking>"),
    ("<thought>", "</thought>"),
    ("<reasoning>", "</reasoning>"),
    ("[THINK]", "[/THINK]"),
    ("◁think▷", "◁/think▷"),
    ("<|begin_of_thought|>", "<|end_of_thought|>"),
    ("<|START_THINKING|>", "<|END_THINKING|>"),
    ("<seed:think>", "</seed:think>"),
];

/// The markers that a template writes or takes out of earlier answers, else those that are tokens. `is_token` tells whether a text is a
/// token of its own.
pub fn find_markers(
    template: Option<&str>,
    is_token: impl Fn(&str) -> bool,
) -> Option<(ReasoningMarkers, MarkersFrom)> {
    let markers = |(start, end): &(&str, &str), from| {
        let markers = ReasoningMarkers {
            start: (*start).to_owned(),
            end: (*end).to_owned(),
        };
        (markers, from)
    };
    // A template that cuts reasoning off knows its end alone.
    let of_template = template.and_then(|template| KNOWN.iter().find(|(_, end)| template.contains(end)));
    let of_tokens = || KNOWN.iter().find(|(start, end)| is_token(start) && is_token(end));
    of_template
        .map(|pair| markers(pair, MarkersFrom::Template))
        .or_else(|| of_tokens().map(|pair| markers(pair, MarkersFrom::Tokenizer)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(template: Option<&str>, tokens: &[&str]) -> Option<(String, MarkersFrom)> {
        let found = find_markers(template, |token| tokens.contains(&token));
        found.map(|(markers, from)| (markers.start, from))
    }

    #[test]
    fn the_template_is_asked_before_the_tokens() {
        let cuts = Some("{{ content.split('</think>')[-1] }}");
        let think = ("<think>".to_owned(), MarkersFrom::Template);
        assert_eq!(found(cuts, &["[THINK]", "[/THINK]"]), Some(think));
        let token = ("[THINK]".to_owned(), MarkersFrom::Tokenizer);
        assert_eq!(found(Some("{{ x }}"), &["[THINK]", "[/THINK]"]), Some(token));
        assert_eq!(found(None, &["<think>"]), None);
        assert_eq!(found(None, &[]), None);
    }
}
