//! What of a model's text is shown: stop strings, strings to strip, reasoning apart from the answer.
//!
//! Text comes in pieces and goes out as soon as it is certain; only what could be the begin of a marker is held
//! back. How the text was cut into pieces makes no difference to what comes out.

use serde::{Deserialize, Serialize};

/// What to look for in a model's text.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OutputRules {
    /// Strings that end the answer; they are not shown, nor is anything after them. In the reasoning they are words like others.
    pub stop: Vec<String>,
    /// Strings that are taken out wherever they stand.
    pub strip: Vec<String>,
    /// Special tokens that are words of the answer; others are taken out.
    pub keep_tokens: Vec<u32>,
    /// The markers of reasoning, if the model reasons.
    pub reasoning: Option<ReasoningMarkers>,
    /// Who said that these are the markers.
    pub reasoning_from: Option<MarkersFrom>,
    /// The prompt's end has opened the reasoning already (see [`ReasoningMarkers::opened_by`]).
    pub reasoning_opened: bool,
    /// Leave out white space before the first character of the answer and of the reasoning.
    pub trim_start: bool,
    /// Leave out white space around reasoning: before its first character, and before the answer's where one follows it.
    pub trim_reasoning: bool,
}

/// Who knows a model's markers of reasoning.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum MarkersFrom {
    /// The manifest names them.
    Manifest,
    /// The chat template writes or looks for them.
    Template,
    /// They are tokens of their own.
    Tokenizer,
}

/// The strings between which a model reasons.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReasoningMarkers {
    /// Opens the reasoning.
    pub start: String,
    /// Closes it.
    pub end: String,
}

/// Text that may be shown now.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Delta {
    /// Added to the answer.
    pub text: String,
    /// Added to the reasoning.
    pub reasoning: String,
}

/// Something that was taken out of the text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Removed {
    /// What sort of thing.
    pub kind: RemovedKind,
    /// The thing itself.
    pub what: String,
    /// How many times; for white space, how many characters.
    pub count: usize,
}

/// The sorts of things a filter takes out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum RemovedKind {
    /// The token that ended the answer.
    EndToken,
    /// Another special token.
    SpecialToken,
    /// An id that the tokenizer does not have; embedding tables often have more rows than there are tokens.
    UnknownToken,
    /// The string that ended the answer.
    StopString,
    /// A string the rules strip.
    Strip,
    /// A marker of reasoning.
    ReasoningMarker,
    /// White space at the start.
    LeadingSpace,
    /// The begin of a character whose rest never came.
    UnfinishedCharacter,
}

/// How far reasoning went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ReasoningState {
    /// There was none.
    Absent,
    /// It was opened and is not closed: the answer is missing.
    Open,
    /// It was opened and closed.
    Closed,
}

/// The filter, at some place in a text.
#[derive(Debug, Clone)]
pub struct OutputFilter {
    rules: OutputRules,
    /// Text not yet decided on.
    held: String,
    region: Region,
    state: ReasoningState,
    text_begun: bool,
    reasoning_begun: bool,
    /// Whether there were words, not only white space.
    answer_has_words: bool,
    reasoning_has_words: bool,
    /// Stop strings that act in the reasoning too.
    stop_everywhere: Vec<String>,
    stopped: Option<String>,
    removed: Vec<Removed>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Region {
    Answer,
    Reasoning,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Marker {
    Stop,
    ReasoningStart,
    ReasoningEnd,
    Strip,
}

/// What stands at the begin of the held text.
enum Found {
    Marker(Marker, String),
    /// Perhaps a marker; more text will tell.
    Perhaps,
    Nothing,
}

impl ReasoningMarkers {
    /// Whether a prompt ends inside an opened reasoning block, as some templates' generation prompts do.
    pub fn opened_by(&self, prompt: &str) -> bool {
        !self.start.is_empty() && prompt.trim_end().ends_with(self.start.trim_end())
    }
}

impl OutputFilter {
    /// A filter at the start of a text. Empty strings in the rules are ignored.
    pub fn new(mut rules: OutputRules) -> Self {
        rules.stop.retain(|stop| !stop.is_empty());
        rules.strip.retain(|strip| !strip.is_empty());
        rules.reasoning = rules
            .reasoning
            .filter(|markers| !markers.start.is_empty() && !markers.end.is_empty());
        let opened = rules.reasoning_opened && rules.reasoning.is_some();
        Self {
            rules,
            held: String::new(),
            region: if opened { Region::Reasoning } else { Region::Answer },
            state: if opened {
                ReasoningState::Open
            } else {
                ReasoningState::Absent
            },
            text_begun: false,
            reasoning_begun: false,
            answer_has_words: false,
            reasoning_has_words: false,
            stop_everywhere: Vec::new(),
            stopped: None,
            removed: Vec::new(),
        }
    }

    /// The filter with stop strings that act in the reasoning too: special tokens, which are never words of it.
    pub fn stopping_everywhere(mut self, stop: Vec<String>) -> Self {
        self.stop_everywhere = stop;
        self
    }

    /// Takes more text and gives what is certain. After a stop string, nothing more comes out.
    pub fn push(&mut self, text: &str) -> Delta {
        self.run(text, false)
    }

    /// Ends the text and gives what was held back.
    pub fn finish(&mut self) -> Delta {
        self.run("", true)
    }

    /// The stop string that ended the text, if one did.
    pub fn stopped_by(&self) -> Option<&str> {
        self.stopped.as_deref()
    }

    /// Whether the text is inside reasoning now.
    pub fn in_reasoning(&self) -> bool {
        self.region == Region::Reasoning
    }

    /// How far reasoning went.
    pub fn reasoning_state(&self) -> ReasoningState {
        self.state
    }

    /// What was taken out so far.
    pub fn removed(&self) -> &[Removed] {
        &self.removed
    }

    /// Adds something taken out elsewhere (a special token) to the list.
    pub fn note_removed(&mut self, kind: RemovedKind, what: &str, count: usize) {
        match self
            .removed
            .iter_mut()
            .find(|entry| entry.kind == kind && entry.what == what)
        {
            Some(entry) => entry.count += count,
            None => self.removed.push(Removed {
                kind,
                what: what.to_owned(),
                count,
            }),
        }
    }

    fn run(&mut self, text: &str, last: bool) -> Delta {
        let mut delta = Delta::default();
        if self.stopped.is_some() {
            return delta;
        }
        let mut held = std::mem::take(&mut self.held) + text;
        let mut at = 0;
        while let Some(first) = held[at..].chars().next() {
            match self.find(&held[at..], last) {
                Found::Marker(marker, what) => {
                    at += what.len();
                    self.apply(marker, what);
                    if self.stopped.is_some() {
                        return delta;
                    }
                }
                Found::Perhaps => break,
                Found::Nothing => {
                    at += first.len_utf8();
                    self.emit(first, &mut delta);
                }
            }
        }
        self.held = held.split_off(at);
        delta
    }

    /// Decides on the start of `rest`: a stop string at once; otherwise the longest marker, once no longer one can
    /// still come.
    fn find(&self, rest: &str, last: bool) -> Found {
        let mut longest: Option<(Marker, &str)> = None;
        let mut perhaps = false;
        for (marker, what) in self.markers() {
            if rest.starts_with(what) {
                if marker == Marker::Stop {
                    return Found::Marker(marker, what.to_owned());
                }
                if longest.is_none_or(|(_, other)| what.len() > other.len()) {
                    longest = Some((marker, what));
                }
            } else if what.starts_with(rest) {
                perhaps = true;
            }
        }
        match longest {
            _ if perhaps && !last => Found::Perhaps,
            Some((marker, what)) => Found::Marker(marker, what.to_owned()),
            None => Found::Nothing,
        }
    }

    /// The markers that mean something here. One that opens reasoning comes before all words, of the answer or of the reasoning that
    /// the prompt opened; one that closes it is part of the answer once reasoning was closed.
    fn markers(&self) -> impl Iterator<Item = (Marker, &str)> {
        let thinks = self.region == Region::Reasoning;
        let opens = match self.region {
            Region::Answer => !self.answer_has_words,
            Region::Reasoning => !self.reasoning_has_words,
        };
        let closes = thinks || self.state != ReasoningState::Closed;
        let reasoning = self.rules.reasoning.iter().flat_map(move |markers| {
            let start = opens.then_some((Marker::ReasoningStart, markers.start.as_str()));
            let end = closes.then_some((Marker::ReasoningEnd, markers.end.as_str()));
            start.into_iter().chain(end)
        });
        let stop = match thinks {
            true => &self.stop_everywhere,
            false => &self.rules.stop,
        };
        let stop = stop.iter().map(|stop| (Marker::Stop, stop.as_str()));
        let strip = self
            .rules
            .strip
            .iter()
            .map(|strip| (Marker::Strip, strip.as_str()));
        stop.chain(reasoning).chain(strip)
    }

    fn apply(&mut self, marker: Marker, what: String) {
        let kind = match marker {
            Marker::Stop => RemovedKind::StopString,
            Marker::Strip => RemovedKind::Strip,
            Marker::ReasoningStart | Marker::ReasoningEnd => RemovedKind::ReasoningMarker,
        };
        self.note_removed(kind, &what, 1);
        match marker {
            Marker::Stop => self.stopped = Some(what),
            Marker::Strip => {}
            Marker::ReasoningStart => {
                self.region = Region::Reasoning;
                self.state = ReasoningState::Open;
            }
            Marker::ReasoningEnd => {
                if self.region == Region::Reasoning {
                    self.state = ReasoningState::Closed;
                }
                self.region = Region::Answer;
            }
        }
    }

    fn emit(&mut self, character: char, delta: &mut Delta) {
        let closed = self.state == ReasoningState::Closed;
        let (begun, has_words, around_reasoning, out) = match self.region {
            Region::Answer => (
                &mut self.text_begun,
                &mut self.answer_has_words,
                closed,
                &mut delta.text,
            ),
            Region::Reasoning => (
                &mut self.reasoning_begun,
                &mut self.reasoning_has_words,
                true,
                &mut delta.reasoning,
            ),
        };
        if character.is_whitespace() {
            let before_all = self.rules.trim_start && !*begun;
            let before_words = self.rules.trim_reasoning && around_reasoning && !*has_words;
            if before_all || before_words {
                self.note_removed(RemovedKind::LeadingSpace, "", 1);
                return;
            }
        } else {
            *has_words = true;
        }
        *begun = true;
        out.push(character);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn rules(stop: &[&str], strip: &[&str]) -> OutputRules {
        let owned = |list: &[&str]| list.iter().map(|&text| text.to_owned()).collect();
        OutputRules {
            stop: owned(stop),
            strip: owned(strip),
            ..OutputRules::default()
        }
    }

    fn thinking() -> OutputRules {
        let markers = ReasoningMarkers {
            start: "<think>".into(),
            end: "</think>".into(),
        };
        OutputRules {
            reasoning: Some(markers),
            reasoning_from: Some(MarkersFrom::Manifest),
            trim_start: true,
            ..OutputRules::default()
        }
    }

    /// Runs a filter over pieces and joins what came out.
    fn filter(rules: OutputRules, pieces: &[&str]) -> (Delta, OutputFilter) {
        let mut filter = OutputFilter::new(rules);
        let mut all = Delta::default();
        for piece in pieces {
            let delta = filter.push(piece);
            all.text += &delta.text;
            all.reasoning += &delta.reasoning;
        }
        let delta = filter.finish();
        all.text += &delta.text;
        all.reasoning += &delta.reasoning;
        (all, filter)
    }

    #[test]
    fn a_stop_string_over_several_pieces_ends_the_text_before_it() {
        let (out, filter) = filter(rules(&["User:"], &[]), &["A disc.\nUs", "er", ": and then"]);
        assert_eq!(out.text, "A disc.\n");
        assert_eq!(filter.stopped_by(), Some("User:"));
        assert_eq!(
            filter.removed(),
            [Removed {
                kind: RemovedKind::StopString,
                what: "User:".into(),
                count: 1
            }]
        );
    }

    #[test]
    fn only_what_may_be_a_stop_string_is_held_back() {
        let mut filter = OutputFilter::new(rules(&["<|end|>"], &[]));
        assert_eq!(filter.push("a < b, c <|e").text, "a < b, c ");
        assert_eq!(filter.push("at").text, "<|eat");
        assert_eq!(filter.push("x<").text, "x");
        assert_eq!(filter.finish().text, "<");
    }

    #[test]
    fn stripped_strings_are_counted_and_the_longest_wins() {
        let (out, filter) = filter(rules(&[], &["</s>", "</s> "]), &["a</s", "> b</s>c", "</s>"]);
        assert_eq!(out.text, "abc");
        let counts: Vec<_> = filter
            .removed()
            .iter()
            .map(|entry| (entry.what.as_str(), entry.count))
            .collect();
        assert_eq!(counts, [("</s> ", 1), ("</s>", 2)]);
    }

    #[test]
    fn a_string_both_stopped_at_and_stripped_stops() {
        let (out, filter) = filter(rules(&["<end>"], &["<end>"]), &["yes<end>no"]);
        assert_eq!(out.text, "yes");
        assert_eq!(filter.stopped_by(), Some("<end>"));
    }

    #[test]
    fn a_stop_string_counts_at_once_though_a_longer_marker_may_come() {
        let mut early = OutputFilter::new(rules(&["end", "ending"], &[]));
        assert_eq!(early.push("the end").text, "the ");
        assert_eq!(early.stopped_by(), Some("end"));
        let (out, filter) = filter(rules(&["<end>"], &["<end>."]), &["yes<end>.no"]);
        assert_eq!((out.text.as_str(), filter.stopped_by()), ("yes", Some("<end>")));
    }

    #[test]
    fn reasoning_goes_apart() {
        let (out, filter) = filter(thinking(), &["<thi", "nk>\nround, so", "</think>\n\nA disc."]);
        assert_eq!(
            (out.reasoning.as_str(), out.text.as_str()),
            ("round, so", "A disc.")
        );
        assert_eq!(filter.reasoning_state(), ReasoningState::Closed);
        assert!(filter.removed().contains(&Removed {
            kind: RemovedKind::LeadingSpace,
            what: "".into(),
            count: 3
        }));
    }

    #[test]
    fn reasoning_opened_by_the_prompt_needs_no_marker() {
        let mut rules = thinking();
        rules.reasoning_opened = rules
            .reasoning
            .as_ref()
            .unwrap()
            .opened_by("<|assistant|>\n<think>\n");
        let (out, filter) = filter(rules, &["round</think>disc"]);
        assert_eq!((out.reasoning.as_str(), out.text.as_str()), ("round", "disc"));
        assert_eq!(filter.reasoning_state(), ReasoningState::Closed);
    }

    #[test]
    fn reasoning_cut_off_is_reported_as_open() {
        let (out, filter) = filter(thinking(), &["<think>round and", " round"]);
        assert_eq!(
            (out.reasoning.as_str(), out.text.as_str()),
            ("round and round", "")
        );
        assert_eq!(filter.reasoning_state(), ReasoningState::Open);
    }

    #[test]
    fn a_closing_marker_without_an_opening_one_is_not_shown() {
        let (out, filter) = filter(thinking(), &["a</think>b"]);
        assert_eq!(out.text, "ab");
        assert_eq!(filter.reasoning_state(), ReasoningState::Absent);
    }

    #[test]
    fn stop_strings_act_on_the_answer_alone() {
        let mut rules = thinking();
        rules.stop = vec![":".into(), "</th".into()];
        let (out, filter) = filter(rules.clone(), &["<think>he sent: a box</think>What dog: it"]);
        assert_eq!(
            (out.reasoning.as_str(), out.text.as_str()),
            ("he sent: a box", "What dog")
        );
        assert_eq!(filter.stopped_by(), Some(":"));
        rules.reasoning_opened = true;
        let mut filter = OutputFilter::new(rules).stopping_everywhere(vec!["<|end|>".into()]);
        let out = filter.push("he sent: <|end|>and more");
        assert_eq!(
            (out.reasoning.as_str(), filter.stopped_by()),
            ("he sent: ", Some("<|end|>"))
        );
    }

    #[test]
    fn an_opening_marker_within_an_answer_is_text() {
        let (out, answered) = filter(thinking(), &["What are<think> dog"]);
        assert_eq!(out.text, "What are<think> dog");
        assert_eq!(answered.reasoning_state(), ReasoningState::Absent);
        let (out, answered) = filter(thinking(), &["<think>hm</think>\nUse <think> and </think>."]);
        assert_eq!(
            (out.reasoning.as_str(), out.text.as_str()),
            ("hm", "Use <think> and </think>.")
        );
        assert_eq!(answered.reasoning_state(), ReasoningState::Closed);
        // Within the reasoning too, but for its own opening where the prompt has one already.
        let mut rules = thinking();
        rules.reasoning_opened = true;
        let (out, _) = filter(rules, &["\n<think>\na <think> b</think>c"]);
        assert_eq!((out.reasoning.as_str(), out.text.as_str()), ("a <think> b", "c"));
    }

    #[test]
    fn white_space_around_reasoning_is_trimmed_where_there_is_reasoning() {
        let mut rules = thinking();
        (rules.trim_start, rules.trim_reasoning) = (false, true);
        let (out, _) = filter(rules.clone(), &["<think>\nhm\n</think>\n\nA disc."]);
        assert_eq!((out.reasoning.as_str(), out.text.as_str()), ("hm\n", "A disc."));
        let (out, _) = filter(rules, &[" A disc."]);
        assert_eq!(out.text, " A disc.");
    }

    #[test]
    fn empty_rules_change_nothing() {
        let (out, filter) = filter(rules(&[""], &[""]), &[" a", "b "]);
        assert_eq!(out.text, " ab ");
        assert!(filter.removed().is_empty());
    }

    proptest! {
        /// A small alphabet, so that markers and their beginnings are common.
        #[test]
        fn cutting_the_text_elsewhere_changes_nothing(
            text in "[ab<>/ é]{0,40}",
            stop in prop::collection::vec("[ab<>é]{1,4}", 0..2),
            strip in prop::collection::vec("[ab<> ]{1,4}", 0..3),
            opened: bool,
            trim_start: bool,
            trim_reasoning: bool,
            cuts in prop::collection::vec(1usize..5, 1..40),
        ) {
            let markers = ReasoningMarkers { start: "<a>".into(), end: "</a>".into() };
            let rules =
                OutputRules { stop, strip, reasoning: Some(markers), reasoning_opened: opened, trim_start, trim_reasoning, ..OutputRules::default() };
            let (whole, whole_filter) = filter(rules.clone(), &[&text]);
            let characters: Vec<char> = text.chars().collect();
            let mut pieces = Vec::new();
            let mut rest = &characters[..];
            for cut in cuts.iter().cycle() {
                if rest.is_empty() {
                    break;
                }
                let (piece, after) = rest.split_at((*cut).min(rest.len()));
                pieces.push(piece.iter().collect::<String>());
                rest = after;
            }
            let pieces: Vec<&str> = pieces.iter().map(String::as_str).collect();
            let (cut, cut_filter) = filter(rules, &pieces);
            prop_assert_eq!(cut, whole);
            prop_assert_eq!(cut_filter.removed(), whole_filter.removed());
            prop_assert_eq!(cut_filter.stopped_by(), whole_filter.stopped_by());
            prop_assert_eq!(cut_filter.reasoning_state(), whole_filter.reasoning_state());
        }

        /// With stop strings alone the answer is the text before the first of them.
        #[test]
        fn the_text_before_the_first_stop_string_is_shown(text in "[ab]{0,30}", stop in "[ab]{1,4}") {
            let (out, _) = filter(rules(&[&stop], &[]), &[&text]);
            prop_assert_eq!(out.text, text.split(&stop).next().unwrap_or(""));
        }
    }
}
