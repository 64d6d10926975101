//! One request on its way: pictures to encode, then rows to compute, then a token at a time until the answer is over. It knows no other
//! session and no engine.

use std::ops::Range;
use std::rc::Rc;
use std::time::{Duration, Instant};

use monocle_tensor::backend::{SequenceId, Tensor};
use monocle_text::{
    Delta, FinishReason, OutputStream, Removed, RemovedKind, TokenLogprobs, find_request_flags,
};

use crate::answer::Answer;
use crate::error::RequestError;
use crate::model::Model;
use crate::plugin::state::PixelTensor;
use crate::report::{HostReport, MemoryReport, PluginCalls, Report, Timings, describe};
use crate::request::GenerateOptions;
use crate::request::prepare::PreparedRequest;
use crate::request::prompt::Rows;
use crate::scheduler::SessionId;
use crate::scheduler::encoding::Encoding;
use crate::scheduler::features::ContentKey;
use crate::scheduler::terms::Terms;
use crate::token_choice::TokenChoice;

/// See the module.
pub struct Session {
    pub id: SessionId,
    pub prepared: PreparedRequest,
    pub options: GenerateOptions,
    /// Its state on the engine, once it was admitted.
    pub sequence: Option<SequenceId>,
    /// The prompt, and the answer so far.
    pub tokens: Vec<u32>,
    /// How many of them are computed. While the device has chosen a token that the host has not read, one more.
    pub computed: usize,
    /// Feature sets of each picture, while they are needed.
    pub features: Vec<Option<Rc<[Tensor]>>>,
    /// What the encoder made of its prompt, while it is needed.
    pub context: Option<Tensor>,
    /// Pixels of each picture, where they were made before it is known whether they are needed.
    pub pixels: Vec<Option<Vec<PixelTensor>>>,
    /// Whether each picture's pixels were made: they can be made once only.
    pub pixels_made: Vec<bool>,
    /// Whether each picture went through the encoder, or began to.
    pub encoded: Vec<bool>,
    /// The picture that is in the encoder.
    pub encoding: Option<Encoding>,
    /// What each picture is known by, once its pixels were made.
    pub picture_keys: Vec<Option<ContentKey>>,
    /// The key-value caches that are counted for it, in tokens.
    pub reserved: usize,
    pub cancelled: bool,
    pub terms: Terms,
    /// Its number among those that began, once it did.
    pub begun: Option<u64>,
    /// Steps running in which it could have had rows, and had none.
    pub passed: usize,
    choice: TokenChoice,
    answer: Answer,
    /// Of tokens whose text is held back.
    logprobs: Vec<TokenLogprobs>,
    /// Tokens that the model's context has left for the answer.
    room: usize,
    pub progress: Progress,
}

/// When what happened, and what it took.
pub struct Progress {
    pub started: Instant,
    pub timings: Timings,
    pub memory: MemoryReport,
    pub phase: Phase,
    pub cached_tokens: usize,
    pub cached_pictures: usize,
    first_token: Option<Instant>,
    calls_before_decode: u64,
    /// Calls of the plugin that recorded while tokens were generated.
    pub recording_calls: u64,
}

/// What it is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Pictures go through the encoder.
    Encode,
    /// The prompt goes through the decoder, from this moment on.
    Prefill(Instant),
    /// Tokens come.
    Decode,
}

/// What a token brought.
pub struct Taken {
    /// Text to show.
    pub delta: Delta,
    /// What the model thought at its tokens, where that was asked for.
    pub logprobs: Vec<TokenLogprobs>,
    /// Why the answer is over, if it is.
    pub finish: Option<FinishReason>,
}

impl Session {
    /// A session that has not begun.
    pub fn new(
        id: SessionId,
        model: &Model,
        prepared: PreparedRequest,
        options: GenerateOptions,
        terms: Terms,
    ) -> Result<Self, RequestError> {
        let mut rules = model.output_rules(&prepared.plan, &options.stop, &prepared.services);
        rules.keep_tokens.extend_from_slice(&options.keep_tokens);
        let tokenizer = prepared.services.tokenizer();
        let mut end_tokens = model.end_tokens(&prepared.plan, &tokenizer);
        if options.ignore_end {
            rules.stop.clear();
            end_tokens.clear();
        }
        let end = model.thinking_end(&rules, &tokenizer)?;
        let choice = TokenChoice::new(
            options.sampling.clone(),
            options.thinking_budget,
            end,
            options.grammar.as_ref(),
            options.logprobs,
        )?;
        let stream = OutputStream::new(tokenizer, rules, end_tokens);
        let tokens = prepared.prompt.ids().to_vec();
        let context = model.settings.context.unwrap_or(usize::MAX);
        let pictures = prepared.plan.images.len();
        let timings = Timings {
            load: Duration::ZERO,
            images: prepared.image_time,
            plan: prepared.plan_time,
            record: prepared.record_time,
            ..Timings::default()
        };
        let memory = MemoryReport {
            estimate: prepared.estimate,
            ..MemoryReport::default()
        };
        Ok(Self {
            id,
            room: context.saturating_sub(tokens.len()),
            tokens,
            computed: 0,
            sequence: None,
            features: vec![None; pictures],
            context: None,
            pixels: vec![None; pictures],
            pixels_made: vec![false; pictures],
            encoded: vec![false; pictures],
            encoding: None,
            picture_keys: vec![None; pictures],
            reserved: 0,
            cancelled: false,
            terms,
            begun: None,
            passed: 0,
            choice,
            answer: Answer::new(stream),
            logprobs: Vec::new(),
            options,
            progress: Progress {
                started: terms.started,
                timings,
                memory,
                phase: Phase::Encode,
                cached_tokens: 0,
                cached_pictures: 0,
                first_token: None,
                calls_before_decode: 0,
                recording_calls: 0,
            },
            prepared,
        })
    }

    /// Tokens of the answer so far.
    pub fn generated(&self) -> usize {
        self.tokens.len() - self.prepared.prompt.len()
    }

    /// All tokens that there may ever be.
    pub fn most_tokens(&self) -> usize {
        let answer = self.options.max_tokens.min(self.room);
        self.prepared.prompt.len().saturating_add(answer)
    }

    /// The next picture that must be encoded before rows can be computed.
    pub fn picture_to_encode(&self) -> Option<usize> {
        let prompt = &self.prepared.prompt;
        let missing = |picture: &usize| self.features[*picture].is_none();
        if self.prepared.has_context() {
            // The context comes with the first rows.
            return (self.computed == 0 && self.context.is_none())
                .then(|| (0..self.features.len()).find(missing))
                .flatten();
        }
        let needed = prompt.pictures_of(self.computed..prompt.len());
        needed.into_iter().find(missing)
    }

    /// Whether an encoder's prompt must be encoded before rows can be computed, and its pictures are.
    pub fn has_prompt_to_encode(&self) -> bool {
        let encodes = self.prepared.prompt_encoder.is_some();
        encodes && self.computed == 0 && self.context.is_none() && self.picture_to_encode().is_none()
    }

    /// Where rows that begin at `start`, and should be so many, must end.
    pub fn rows_end(&self, start: usize, size: usize) -> usize {
        match start < self.prepared.prompt.len() {
            true => self.prepared.prompt.chunk_end(start, size),
            false => (start + size).min(self.tokens.len()),
        }
    }

    /// What a forward pass needs to know of these tokens.
    pub fn rows(&self, range: Range<usize>) -> Rows {
        let prompt = &self.prepared.prompt;
        prompt.rows(range, &self.tokens[prompt.len()..], &self.features)
    }

    /// What a forward pass needs to know of the next token, which only the device knows.
    pub fn unknown_row(&self) -> Rows {
        let prompt = &self.prepared.prompt;
        let known = &self.tokens[prompt.len()..];
        let answer = [known, &[0]].concat();
        prompt.rows(self.computed..self.computed + 1, &answer, &self.features)
    }

    /// Whether the device may choose its tokens.
    pub fn takes_the_likeliest(&self) -> bool {
        self.choice.is_the_likeliest()
    }

    /// The prompt is computed.
    pub fn begin_decode(&mut self) {
        if let Phase::Prefill(started) = self.progress.phase {
            self.progress.timings.prefill += started.elapsed();
            self.progress.phase = Phase::Decode;
            self.progress.calls_before_decode =
                self.prepared.processor.calls() + self.prepared.recording_calls;
        }
    }

    /// When it must end.
    pub fn deadline(&self) -> Option<Instant> {
        self.terms.deadline()
    }

    /// Why it ends now, if it may take no longer.
    pub fn late(&self, now: Instant) -> Option<RequestError> {
        let prompt = self.prepared.prompt.len();
        let computed = self.computed.min(prompt);
        self.terms.late(now, computed, prompt, self.generated())
    }

    /// Why it ends now, if it may wait no longer to begin; `before` are those before it.
    pub fn waited_long(&self, now: Instant, before: usize) -> Option<RequestError> {
        let limit = self.terms.longest_wait.filter(|_| self.begun.is_none())?;
        let waited = now.saturating_duration_since(self.terms.started);
        (waited > limit).then_some(RequestError::WaitedTooLong {
            waited,
            limit,
            before,
        })
    }

    /// Why no further token may come, where that is so.
    pub fn limit_reached(&self) -> Option<FinishReason> {
        let generated = self.generated();
        if generated >= self.options.max_tokens {
            return Some(FinishReason::MaxTokens);
        }
        (generated >= self.room).then_some(FinishReason::ContextFull)
    }

    /// Chooses a token by these logits, and takes it.
    pub fn take_logits(&mut self, logits: &mut [f32]) -> Result<Taken, RequestError> {
        if let Some(reason) = self.limit_reached() {
            return Ok(Taken {
                delta: Delta::default(),
                logprobs: Vec::new(),
                finish: Some(reason),
            });
        }
        let number = self.generated();
        let token = self
            .choice
            .choose(number, logits, &self.tokens, self.answer.stream())?;
        self.take_token(token)
    }

    /// Takes a token that was chosen.
    pub fn take_token(&mut self, token: u32) -> Result<Taken, RequestError> {
        self.progress.first_token.get_or_insert_with(Instant::now);
        self.tokens.push(token);
        let was_reasoning = self.answer.stream().in_reasoning();
        let (delta, finish) = self.answer.push(token, &mut self.prepared.processor)?;
        let stream = self.answer.stream();
        let is_said = !was_reasoning && !stream.in_reasoning() && !stream.is_end(token);
        self.logprobs.extend(self.choice.told().filter(|_| is_said));
        let over = self.choice.took(token, self.answer.stream())?;
        let finish = finish
            .or_else(|| over.then_some(FinishReason::Complete))
            .or_else(|| self.limit_reached());
        let logprobs = match delta.text.is_empty() {
            true => Vec::new(),
            false => std::mem::take(&mut self.logprobs),
        };
        Ok(Taken {
            delta,
            logprobs,
            finish,
        })
    }

    /// Rows of a prefill step at most: not more than memory was planned for, also where an answer is computed again that is longer than
    /// the prompt.
    pub fn prefill_chunk(&self) -> usize {
        self.options.prefill_chunk.min(self.prepared.prompt.len()).max(1)
    }

    /// Everything is computed again, but nothing that was given out is given out again.
    pub fn start_over(&mut self) {
        self.sequence = None;
        self.computed = 0;
        self.reserved = 0;
    }

    /// Ends the answer; gives the text that was held back, with its tokens' probabilities, and the report.
    pub fn finish(
        mut self,
        reason: FinishReason,
        model: &Model,
        host: HostReport,
    ) -> Result<(Delta, Vec<TokenLogprobs>, Report), RequestError> {
        let last_token = Instant::now();
        let progress = self.progress;
        let prompt_len = self.prepared.prompt.len();
        let token_ids = self.tokens.split_off(prompt_len);
        let mut logprobs = self.logprobs;
        let (delta, mut output) = self.answer.finish(reason, &mut self.prepared.processor)?;

        let all_calls = self.prepared.processor.calls() + self.prepared.recording_calls;
        let before_decode = match progress.phase {
            Phase::Decode => progress.calls_before_decode,
            _ => all_calls,
        };
        let during_decode = all_calls - before_decode + progress.recording_calls;
        let decoded = output.tokens.saturating_sub(1).max(1);

        let mut timings = progress.timings;
        let first_token = progress.first_token.unwrap_or(last_token);
        timings.first_token = first_token.duration_since(progress.started);
        timings.decode = last_token.duration_since(first_token);
        timings.total = progress.started.elapsed();
        timings.prefill_tokens_per_s = rate(prompt_len - progress.cached_tokens, timings.prefill);
        timings.decode_tokens_per_s = rate(output.tokens.saturating_sub(1), timings.decode);

        let mut notes = model.notes();
        notes.extend(self.prepared.notes());
        let grammar = self.options.grammar.as_ref();
        notes.extend(
            grammar
                .into_iter()
                .flat_map(|grammar| grammar.notes().iter().cloned()),
        );
        if output.text.trim().is_empty() {
            notes.push(format!("the answer is empty: {}", describe(&output.finish)));
        }
        notes.extend(unknown_tokens(&output.removed));
        output
            .flags
            .extend(find_request_flags(&self.prepared.question, &output.text));

        let mut parts = Vec::new();
        if self.prepared.processor.plugin().stamp.answers_parts {
            let media = self.prepared.plan.images.len();
            match self.prepared.processor.parts(&output.text, media) {
                Ok(found) => {
                    // What was shrunk for the plugin, the user has as it was.
                    let factors = |medium: u32| self.prepared.pictures[medium as usize].given_by_seen();
                    parts = found.into_iter().map(|part| part.scaled(factors)).collect();
                }
                // The answer is there all the same.
                Err(error) => notes.push(error.to_string()),
            }
        }

        let mut prompt = self.prepared.prompt_report();
        prompt.cached_tokens = progress.cached_tokens;
        prompt.cached_pictures = progress.cached_pictures;
        let mut images = self.prepared.image_reports();
        if progress.first_token.is_some() {
            for (image, encoded) in images.iter_mut().zip(&self.encoded) {
                image.cached = !encoded;
            }
        }
        let mut report = Report {
            model: model.report.clone(),
            host,
            prompt,
            images,
            generation: model
                .settings
                .generation
                .asked(self.options.max_tokens, &self.options.sampling),
            output,
            parts,
            token_ids,
            timings,
            memory: progress.memory,
            plugin_calls: PluginCalls {
                before_decode,
                during_decode,
                per_decoded_token: during_decode as f64 / decoded as f64,
            },
            notes,
            log: Vec::new(),
        };
        let lines = self.prepared.processor.take_log();
        report.add_log(&self.prepared.processor.plugin().stamp.name, lines);
        if delta.text.is_empty() {
            // Tokens of a text that ends the answer, and is not shown.
            logprobs.clear();
        }
        Ok((delta, logprobs, report))
    }
}

/// Tokens that cannot be text are no part of the answer; that they were there is said.
fn unknown_tokens(removed: &[Removed]) -> Option<String> {
    let unknown: Vec<&Removed> = removed
        .iter()
        .filter(|removed| removed.kind == RemovedKind::UnknownToken)
        .collect();
    let first = unknown.first()?;
    let count: usize = unknown.iter().map(|removed| removed.count).sum();
    Some(format!(
        "the model chose tokens that the tokenizer lacks, {count} in all, first {}; they add no text",
        first.what
    ))
}

fn rate(tokens: usize, time: Duration) -> Option<f64> {
    (tokens > 0 && !time.is_zero()).then(|| tokens as f64 / time.as_secs_f64())
}
