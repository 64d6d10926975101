//! From sampled ids to what the user sees: decoding and filtering in one, and why it ended.

use std::collections::HashSet;
use std::sync::Arc;

use serde::Serialize;

use crate::filter::{
    Delta, MarkersFrom, OutputFilter, OutputRules, ReasoningMarkers, ReasoningState, Removed, RemovedKind,
};
use crate::flags::{Flag, find_flags};
use crate::stream::{StreamDecoder, StreamOptions};
use crate::tokenizer::{Tokenizer, TokenizerError};

/// Why generation stopped.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "reason", rename_all = "snake_case")]
pub enum FinishReason {
    /// The model gave one of its end tokens.
    EndToken {
        /// Its id.
        id: u32,
        /// Its text.
        token: String,
    },
    /// A stop string came.
    StopString {
        /// The string.
        stop: String,
    },
    /// As many tokens as were asked for.
    MaxTokens,
    /// No room is left in the model's context.
    ContextFull,
    /// The caller went away.
    Cancelled,
    /// The answer is what it had to look like, and nothing could follow.
    Complete,
    /// Not one token was generated.
    Empty,
}

/// A finished generation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Generated {
    /// The answer.
    pub text: String,
    /// The reasoning before it.
    pub reasoning: String,
    /// How far reasoning went.
    pub reasoning_state: ReasoningState,
    /// What was looked for to tell reasoning from the answer, if anything.
    pub reasoning_marks: Option<ReasoningMarks>,
    /// Why it stopped.
    pub finish: FinishReason,
    /// How many tokens were generated, the end token included.
    pub tokens: usize,
    /// How many of them were reasoning, its end marker included.
    pub reasoning_tokens: usize,
    /// What was taken out of the text.
    pub removed: Vec<Removed>,
    /// What looks wrong with the answer.
    pub flags: Vec<Flag>,
}

/// The markers of reasoning, and who knew them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ReasoningMarks {
    /// The markers.
    #[serde(flatten)]
    pub markers: ReasoningMarkers,
    /// Who knew them.
    pub from: Option<MarkersFrom>,
}

/// Decoder and filter of one answer.
pub struct OutputStream {
    tokenizer: Arc<Tokenizer>,
    decoder: StreamDecoder,
    filter: OutputFilter,
    end_tokens: HashSet<u32>,
    marks: Option<ReasoningMarks>,
    finish: Option<FinishReason>,
    text: String,
    reasoning: String,
    tokens: usize,
    reasoning_tokens: usize,
}

impl OutputStream {
    /// The stream of an answer about to begin; any of `end_tokens` ends it.
    pub fn new(
        tokenizer: Arc<Tokenizer>,
        rules: OutputRules,
        end_tokens: impl IntoIterator<Item = u32>,
    ) -> Self {
        // A special token that the rules look for must reach the filter as text.
        let markers = rules
            .reasoning
            .iter()
            .flat_map(|markers| [&markers.start, &markers.end]);
        let keep = rules
            .stop
            .iter()
            .chain(markers)
            .filter_map(|text| tokenizer.token_id(text))
            .chain(rules.keep_tokens.iter().copied())
            .collect();
        let decoder = StreamDecoder::new(
            tokenizer.clone(),
            StreamOptions {
                skip_special: true,
                keep,
            },
        );
        // A special token is never a word of the reasoning: where it stands, the model's turn is over.
        let special = |stop: &&String| {
            tokenizer
                .token_id(stop)
                .is_some_and(|id| tokenizer.is_special(id))
        };
        let special = rules.stop.iter().filter(special).cloned().collect();
        let marks = rules.reasoning.clone().map(|markers| ReasoningMarks {
            markers,
            from: rules.reasoning_from,
        });
        Self {
            tokenizer,
            decoder,
            marks,
            filter: OutputFilter::new(rules).stopping_everywhere(special),
            end_tokens: end_tokens.into_iter().collect(),
            finish: None,
            text: String::new(),
            reasoning: String::new(),
            tokens: 0,
            reasoning_tokens: 0,
        }
    }

    /// Takes the next id and gives what may be shown now. Ids after the end are ignored.
    pub fn push(&mut self, id: u32) -> Result<Delta, TokenizerError> {
        if self.finish.is_some() {
            return Ok(Delta::default());
        }
        self.tokens += 1;
        self.reasoning_tokens += usize::from(self.filter.in_reasoning());
        let token = || self.tokenizer.token(id).unwrap_or_default();
        if self.end_tokens.contains(&id) {
            let token = token();
            self.filter.note_removed(RemovedKind::EndToken, &token, 1);
            self.finish = Some(FinishReason::EndToken { id, token });
            return Ok(Delta::default());
        }
        if self.decoder.skips(id) {
            self.filter.note_removed(RemovedKind::SpecialToken, &token(), 1);
            return Ok(Delta::default());
        }
        if self.tokenizer.token(id).is_none() {
            self.filter
                .note_removed(RemovedKind::UnknownToken, &format!("id {id}"), 1);
            return Ok(Delta::default());
        }
        let text = self.decoder.push(id)?;
        let delta = self.filter.push(&text);
        Ok(self.took(delta))
    }

    /// Why the answer is over, if it is.
    pub fn finished(&self) -> Option<&FinishReason> {
        self.finish.as_ref()
    }

    /// How far reasoning went so far.
    pub fn reasoning_state(&self) -> ReasoningState {
        self.filter.reasoning_state()
    }

    /// The token that opens reasoning, if it is one.
    pub fn reasoning_start(&self) -> Option<u32> {
        let marks = self.marks.as_ref()?;
        self.tokenizer.token_id(&marks.markers.start)
    }

    /// Whether a token ends the answer.
    pub fn is_end(&self, id: u32) -> bool {
        self.end_tokens.contains(&id)
    }

    /// The tokens that end the answer.
    pub fn end_tokens(&self) -> impl Iterator<Item = u32> {
        self.end_tokens.iter().copied()
    }

    /// Whether the model is reasoning now.
    pub fn in_reasoning(&self) -> bool {
        self.filter.in_reasoning()
    }

    /// How many tokens of reasoning there were so far, for a thinking budget.
    pub fn reasoning_tokens(&self) -> usize {
        self.reasoning_tokens
    }

    /// Ends the answer: what was held back, and the whole. `reason` says why, unless an end token or a stop string
    /// came first.
    pub fn finish(mut self, reason: FinishReason) -> (Delta, Generated) {
        let half = self.decoder.finish();
        if !half.is_empty() {
            self.filter
                .note_removed(RemovedKind::UnfinishedCharacter, &half, 1);
        }
        let delta = self.filter.finish();
        let delta = self.took(delta);
        let finish = match self.finish {
            Some(finish) => finish,
            None if self.tokens == 0 => FinishReason::Empty,
            None => reason,
        };
        let generated = Generated {
            flags: find_flags(&self.text),
            text: self.text,
            reasoning: self.reasoning,
            reasoning_state: self.filter.reasoning_state(),
            reasoning_marks: self.marks,
            finish,
            tokens: self.tokens,
            reasoning_tokens: self.reasoning_tokens,
            removed: self.filter.removed().to_vec(),
        };
        (delta, generated)
    }

    fn took(&mut self, delta: Delta) -> Delta {
        self.text += &delta.text;
        self.reasoning += &delta.reasoning;
        if self.finish.is_none() {
            self.finish = self.filter.stopped_by().map(|stop| FinishReason::StopString {
                stop: stop.to_owned(),
            });
        }
        delta
    }
}
