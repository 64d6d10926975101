//! The generation loop: pictures through the vision tower, the prompt through the decoder in chunks, then token by token.

use std::rc::Rc;
use std::time::{Duration, Instant};

use monocle_tensor::backend::{BackendError, SequenceId, Step, Tensor};
use monocle_tensor::operation::Op;
use monocle_tensor::program::{Program, ValueType};
use monocle_tensor::recorder::{Recorder, RecordingLimits};
use monocle_text::{
    Delta, FinishReason, Generated, OutputStream, Sampler, SamplingOptions, find_request_flags,
};

use super::ahead::{Picker, no_usable};
use super::answer::{Answer, ThinkingBudget};
use super::error::EngineError;
use super::prepare::{Prepared, Request};
use super::process_memory;
use super::report::{
    HostReport, MemoryReport, PhaseMemory, PluginCalls, PluginReport, PromptReport, Report, Timings,
};
use crate::model::Model;
use crate::plugin::instance::Instance;
use crate::plugin::stamp::CONTRACT;
use crate::plugin::state::{LogLevel, PixelTensor};

/// How an answer is to be generated.
#[derive(Debug, Clone)]
pub struct GenerateOptions {
    /// The most tokens.
    pub max_tokens: usize,
    /// How tokens are chosen.
    pub sampling: SamplingOptions,
    /// Texts that end the answer, besides the manifest's.
    pub stop: Vec<String>,
    /// Tokens of one prefill step.
    pub prefill_chunk: usize,
    /// Tokens after which reasoning is closed.
    pub thinking_budget: Option<usize>,
}

/// What the receiver of text wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flow {
    /// More of it.
    Continue,
    /// No more.
    Cancel,
}

impl Model {
    /// Answers a request. `sink` gets text as it can be shown.
    pub fn generate(
        &mut self,
        request: &Request,
        options: &GenerateOptions,
        sink: &mut dyn FnMut(&Delta) -> Flow,
    ) -> Result<Report, EngineError> {
        let started = Instant::now();
        let sampler = Sampler::new(options.sampling.clone())?;
        let mut prepared = self.prepare(request, options.max_tokens, options.prefill_chunk)?;
        self.check_memory(&prepared.estimate)?;
        self.load_weights(&mut |_, _| {})?;
        let sequence = self.backend.new_sequence();
        let result = Run {
            model: self,
            prepared: &mut prepared,
            sequence,
            options,
            started,
        }
        .answer(sampler, sink);
        // Whatever happened, the sequence's caches are given back.
        self.backend.drop_sequence(sequence);
        self.settle_memory();
        let mut report = result?;
        let flags = find_request_flags(&request.last_words(), &report.output.text);
        report.output.flags.extend(flags);
        for instance in [Some(&mut prepared.processor), prepared.network.as_mut()]
            .into_iter()
            .flatten()
        {
            let name = instance.plugin().stamp.name.clone();
            let lines = instance
                .take_log()
                .into_iter()
                .filter(|line| line.level == LogLevel::Warn);
            report
                .notes
                .extend(lines.map(|line| format!("{name}: {}", line.text)));
        }
        Ok(report)
    }

    /// Feature sets of every picture; the time goes to `timings`.
    fn encode_pictures(
        &mut self,
        prepared: &mut Prepared,
        timings: &mut Timings,
    ) -> Result<Vec<Rc<[Tensor]>>, EngineError> {
        let mut features = Vec::with_capacity(prepared.encoders.len());
        timings.images = prepared.image_time;
        for index in 0..prepared.encoders.len() {
            let started = Instant::now();
            let pixels = prepared.take_pixels(index)?;
            timings.images += started.elapsed();
            let started = Instant::now();
            features.push(self.encode_picture(prepared, index, pixels)?);
            self.backend.wait()?;
            timings.encode += started.elapsed();
        }
        Ok(features)
    }

    /// One picture through the vision tower: its feature sets.
    pub(super) fn encode_picture(
        &mut self,
        prepared: &Prepared,
        index: usize,
        pixels: Vec<PixelTensor>,
    ) -> Result<Rc<[Tensor]>, EngineError> {
        let mut inputs = Vec::with_capacity(pixels.len());
        for tensor in pixels {
            inputs.push(self.backend.upload(&tensor.shape, tensor.values)?);
        }
        let sets = self.backend.run(&prepared.encoders[index], &inputs, None);
        Ok(Rc::from(
            sets.map_err(|error| prepared.blame("network.encode", error))?,
        ))
    }

    /// One prefill step; gives the logits of the wanted rows.
    pub(super) fn prefill_step(
        &mut self,
        prepared: &mut Prepared,
        sequence: SequenceId,
        range: std::ops::Range<usize>,
        features: &[Rc<[Tensor]>],
        wanted: Vec<u32>,
    ) -> Result<Tensor, EngineError> {
        let shape = prepared.batch_shape(range.clone(), wanted.len());
        let context = match shape.new_context {
            Some(_) => Some(self.join_features(features)?),
            None => None,
        };
        let program = self.forward_program(prepared, shape)?;
        let step = prepared.prompt.step(sequence, range, features, context, wanted);
        self.run_forward(prepared, &program, &step)
    }

    /// A forward pass: logits.
    pub(super) fn run_forward(
        &mut self,
        prepared: &Prepared,
        program: &Program,
        step: &Step,
    ) -> Result<Tensor, EngineError> {
        let outputs = self.backend.run(program, &[], Some(step));
        Ok(outputs
            .map_err(|error| prepared.blame("network.forward", error))?
            .remove(0))
    }

    /// The first feature sets of all pictures, one after another: what cross attention reads.
    fn join_features(&mut self, features: &[Rc<[Tensor]>]) -> Result<Tensor, EngineError> {
        let first: Vec<Tensor> = features.iter().map(|sets| sets[0].clone()).collect();
        if let [only] = first.as_slice() {
            return Ok(only.clone());
        }
        let types: Vec<ValueType> = first.iter().map(|tensor| tensor.value_type().clone()).collect();
        let mut recorder = Recorder::new(self.weights(), types, None, RecordingLimits::default());
        let inputs = recorder.input_values();
        let joined = recorder
            .push(Op::Concat { axis: 0 }, &inputs, None)
            .map_err(|error| BackendError::Input(format!("features of several pictures: {error}")))?;
        let program = recorder.finish(vec![joined]);
        Ok(self.backend.run(&program, &first, None)?.remove(0))
    }
}

/// One request on its way.
struct Run<'a> {
    model: &'a mut Model,
    prepared: &'a mut Prepared,
    sequence: SequenceId,
    options: &'a GenerateOptions,
    started: Instant,
}

impl Run<'_> {
    fn answer(
        mut self,
        sampler: Sampler,
        sink: &mut dyn FnMut(&Delta) -> Flow,
    ) -> Result<Report, EngineError> {
        let mut timings = Timings {
            load: self.model.load_time,
            plan: self.prepared.plan_time,
            record: self.prepared.record_time,
            ..Timings::default()
        };
        let mut memory = MemoryReport {
            weights_bytes: self.model.weight_bytes(),
            limit_bytes: self.model.memory.limit.map(|limit| limit.bytes),
            estimate: self.prepared.estimate,
            load: self.model.load_memory,
            ..MemoryReport::default()
        };

        self.model.backend.reset_peak();
        let features = self.model.encode_pictures(self.prepared, &mut timings)?;
        memory.encode = self.end_phase();

        self.model.backend.reset_peak();
        let started = Instant::now();
        let logits = self.prefill(&features)?;
        self.model.backend.wait()?;
        timings.prefill = started.elapsed();
        drop(features);
        memory.prefill = self.end_phase();

        self.model.backend.reset_peak();
        let calls_before = self.plugin_calls();
        let (output, token_ids, first_token, last_token) = self.decode(logits, sampler, sink)?;
        let calls = self.plugin_calls() - calls_before;
        memory.decode = self.end_phase();
        memory.process_peak_bytes = process_memory::peak_resident();
        timings.first_token = first_token.unwrap_or(last_token).duration_since(self.started);
        timings.decode = first_token.map_or(Duration::ZERO, |first| last_token.duration_since(first));
        timings.total = self.started.elapsed();
        timings.prefill_tokens_per_s = rate(self.prepared.prompt.len(), timings.prefill);
        timings.decode_tokens_per_s = rate(output.tokens.saturating_sub(1), timings.decode);

        let mut notes = self.model.notes();
        if output.text.trim().is_empty() {
            notes.push(format!("the answer is empty: {}", describe(&output.finish)));
        }
        let decoded = output.tokens.saturating_sub(1).max(1);
        Ok(Report {
            model: self.model.report.clone(),
            host: self.host_report(),
            prompt: PromptReport {
                text: self.prepared.plan.text.clone(),
                template: self.model.template_source(),
                tokens: self.prepared.prompt.len(),
                image_tokens: self.prepared.prompt.image_tokens(),
                attention: self.prepared.plan.attention,
            },
            images: self.prepared.image_reports(),
            output,
            token_ids,
            timings,
            memory,
            plugin_calls: PluginCalls {
                before_decode: calls_before,
                during_decode: calls,
                per_decoded_token: calls as f64 / decoded as f64,
            },
            notes,
        })
    }

    /// What the phase took; what is left of it is given back if need be.
    fn end_phase(&mut self) -> PhaseMemory {
        let memory = PhaseMemory::now(self.model.backend.as_ref());
        self.model.relieve_memory();
        memory
    }

    /// The prompt through the decoder; gives the logits after its last token.
    fn prefill(&mut self, features: &[Rc<[Tensor]>]) -> Result<Tensor, EngineError> {
        let length = self.prepared.prompt.len();
        let mut start = 0;
        loop {
            let end = self.prepared.prompt.chunk_end(start, self.options.prefill_chunk);
            let last = vec![(end - start - 1) as u32];
            let logits = self
                .model
                .prefill_step(self.prepared, self.sequence, start..end, features, last)?;
            if end == length {
                return Ok(logits);
            }
            start = end;
        }
    }

    /// Token by token; gives the answer, its token ids and the times of the first and the last.
    fn decode(
        &mut self,
        mut logits: Tensor,
        mut sampler: Sampler,
        sink: &mut dyn FnMut(&Delta) -> Flow,
    ) -> Result<(Generated, Vec<u32>, Option<Instant>, Instant), EngineError> {
        let rules = self.model.output_rules(&self.prepared.plan, &self.options.stop);
        let end_tokens = self.model.end_tokens(&self.prepared.plan);
        let thinking_end = self.model.thinking_end(&rules)?;
        let stream = OutputStream::new(self.model.tokenizer(), rules, end_tokens);
        let mut answer = Answer::new(stream, sink);
        let mut budget = ThinkingBudget::new(self.options.thinking_budget, thinking_end);
        let mut history = self.prepared.prompt.ids().to_vec();
        let room = self
            .model
            .settings
            .context
            .map_or(usize::MAX, |context| context.saturating_sub(history.len()));
        let most = self.options.max_tokens.min(room);
        // An engine that works ahead is given the next step before this one's token is read, where nothing but the device
        // has a say in the token.
        let ahead = self.model.backend.is_ahead() && sampler.takes_the_likeliest();
        let picker = (ahead && self.options.thinking_budget.is_none())
            .then(|| Picker::new(&logits))
            .transpose()
            .map_err(|error| BackendError::Input(format!("logits: {error}")))?;
        let (mut first_token, mut generated) = (None, 0);
        let reason = loop {
            if generated == self.options.max_tokens {
                break FinishReason::MaxTokens;
            }
            if generated == room {
                break FinishReason::ContextFull;
            }
            let token = match &picker {
                Some(picker) => {
                    let picked = picker.pick(self.model.backend.as_mut(), &logits)?;
                    let these = logits.clone();
                    if generated + 1 < most {
                        logits = self.decode_step(generated, 0, Some(picked.id.clone()))?;
                    }
                    match picked.read(self.model.backend.as_mut())? {
                        Some(token) => token,
                        None => return Err(no_usable(&self.model.backend.download(&these)?).into()),
                    }
                }
                None => {
                    if generated > 0 {
                        logits = self.decode_step(generated - 1, history[history.len() - 1], None)?;
                    }
                    let mut values = self.model.backend.download(&logits)?;
                    match budget.forced(answer.stream()) {
                        Some(token) => token,
                        None => sampler.next(&mut values, &history)?,
                    }
                }
            };
            first_token.get_or_insert_with(Instant::now);
            history.push(token);
            generated += 1;
            if let Some(reason) = answer.push(token, &mut self.prepared.processor)? {
                break reason;
            }
        };
        let last_token = Instant::now();
        let token_ids = history.split_off(self.prepared.prompt.len());
        let generated = answer.finish(reason, &mut self.prepared.processor)?;
        Ok((generated, token_ids, first_token, last_token))
    }

    /// The forward pass over the generated token number `index`, or over what is on the device in its place: logits.
    fn decode_step(
        &mut self,
        index: usize,
        token: u32,
        device_tokens: Option<Tensor>,
    ) -> Result<Tensor, EngineError> {
        let shape = self.prepared.decode_shape();
        let program = self.model.forward_program(self.prepared, shape)?;
        let mut step = self.prepared.prompt.decode_step(self.sequence, index, token);
        step.device_tokens = device_tokens;
        self.model.run_forward(self.prepared, &program, &step)
    }

    fn plugin_calls(&self) -> u64 {
        self.prepared.processor.calls() + self.prepared.network.as_ref().map_or(0, Instance::calls)
    }

    fn host_report(&self) -> HostReport {
        let network = self.prepared.network.as_ref();
        HostReport {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            contract: CONTRACT.to_owned(),
            engine: self.model.backend.name().to_owned(),
            device: self.model.backend.device(),
            plugins: [Some(&self.prepared.processor), network]
                .into_iter()
                .flatten()
                .map(|instance| PluginReport::of(instance.plugin()))
                .collect(),
        }
    }
}

/// Why an answer ended, in words.
pub fn describe(reason: &FinishReason) -> String {
    match reason {
        FinishReason::EndToken { token, .. } => format!("the model ended it with `{token}`"),
        FinishReason::StopString { stop } => format!("the stop string {stop:?} came"),
        FinishReason::MaxTokens => "the most tokens that were asked for were generated".to_owned(),
        FinishReason::ContextFull => "the model's context is full".to_owned(),
        FinishReason::ThinkingBudget => "the thinking budget was used up".to_owned(),
        FinishReason::Cancelled => "it was cancelled".to_owned(),
        FinishReason::Empty => "no token was generated".to_owned(),
    }
}

fn rate(tokens: usize, time: Duration) -> Option<f64> {
    (tokens > 0 && !time.is_zero()).then(|| tokens as f64 / time.as_secs_f64())
}
