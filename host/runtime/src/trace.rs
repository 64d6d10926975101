//! Everything that a reference implementation can be compared with: pixels, features, logits, greedy tokens.

use std::ops::Range;
use std::rc::Rc;
use std::sync::Arc;

use monocle_tensor::backend::{SequenceId, Tensor};

use crate::error::RequestError;
use crate::plugin::state::PixelTensor;
use crate::request::Request;
use crate::request::prepare::PreparedRequest;
use crate::scheduler::Scheduler;
use crate::scheduler::batch::{self, Part};
use crate::scheduler::encoding::Encoding;

/// What became of a request, number by number.
#[derive(Debug, Clone)]
pub struct Trace {
    /// The rendered prompt.
    pub prompt: String,
    /// Token ids of the prompt.
    pub prompt_ids: Vec<u32>,
    /// For each picture, its pixel tensors.
    pub pixels: Vec<Vec<PixelTensor>>,
    /// For each picture, its feature sets, row-major.
    pub features: Vec<Vec<Vec<f32>>>,
    /// For each picture, the shapes of its feature sets.
    pub feature_shapes: Vec<Vec<Vec<usize>>>,
    /// Token ids of the encoder's prompt, where there is one.
    pub encoder_ids: Vec<u32>,
    /// What the encoder makes of it: `[tokens, hidden]`
    pub context: Vec<f32>,
    /// Logits after each prompt token: `[tokens][vocabulary]`
    pub prompt_logits: Vec<Vec<f32>>,
    /// The answer's tokens; end tokens do not end it.
    pub tokens: Vec<u32>,
    /// The logits before each of them: `[tokens][vocabulary]`
    pub step_logits: Vec<Vec<f32>>,
}

impl Scheduler {
    /// Runs a request greedily for a number of tokens, the prompt in chunks of a size, and keeps everything.
    pub fn trace(&mut self, request: &Request, chunk: usize, tokens: usize) -> Result<Trace, RequestError> {
        self.trace_answer(request, chunk, Answer::Greedy(tokens), true)
    }

    /// As [`Scheduler::trace`], with the answer given, whatever the logits say: engines that round differently stay comparable.
    pub fn trace_along(
        &mut self,
        request: &Request,
        chunk: usize,
        answer: &[u32],
    ) -> Result<Trace, RequestError> {
        self.trace_answer(request, chunk, Answer::Given(answer), true)
    }

    /// As [`Scheduler::trace`] or [`Scheduler::trace_along`].
    pub fn trace_whole(
        &mut self,
        request: &Request,
        chunk: usize,
        answer: Answer<'_>,
    ) -> Result<Trace, RequestError> {
        self.trace_answer(request, chunk, answer, true)
    }

    /// As [`Scheduler::trace`] or [`Scheduler::trace_along`], without the logits of the prompt, which may have thousands of tokens.
    pub fn trace_steps(
        &mut self,
        request: &Request,
        chunk: usize,
        answer: Answer<'_>,
    ) -> Result<Trace, RequestError> {
        self.trace_answer(request, chunk, answer, false)
    }

    fn trace_answer(
        &mut self,
        request: &Request,
        chunk: usize,
        answer: Answer<'_>,
        of_prompt: bool,
    ) -> Result<Trace, RequestError> {
        let mut prepared = self.prepare(request, answer.len(), chunk)?;
        self.loaded.check_memory(&prepared.estimate)?;
        self.loaded.load(&mut |_, _| {})?;
        let sequence = self.loaded.backend.new_sequence();
        let result = self.trace_sequence(&mut prepared, sequence, answer, of_prompt);
        self.loaded.backend.drop_sequence(sequence);
        self.loaded.settle_memory();
        result
    }

    fn trace_sequence(
        &mut self,
        prepared: &mut PreparedRequest,
        sequence: SequenceId,
        answer: Answer<'_>,
        of_prompt: bool,
    ) -> Result<Trace, RequestError> {
        let mut trace = Trace {
            prompt: prepared.plan.text.clone(),
            prompt_ids: prepared.prompt.ids().to_vec(),
            pixels: Vec::new(),
            features: Vec::new(),
            feature_shapes: Vec::new(),
            encoder_ids: Vec::new(),
            context: Vec::new(),
            prompt_logits: Vec::new(),
            tokens: Vec::new(),
            step_logits: Vec::new(),
        };
        let mut features: Vec<Option<Rc<[Tensor]>>> = Vec::new();
        for index in 0..prepared.plan.images.len() {
            let pixels = prepared.take_pixels(index)?;
            trace.pixels.push(pixels.clone());
            let encoder = Arc::clone(&prepared.encoders[index]);
            let mut encoding = Encoding::new(encoder, index, pixels, None);
            let sets = encoding
                .advance(&mut self.loaded, usize::MAX)?
                .unwrap_or_default();
            let read: Result<Vec<_>, _> = sets.iter().map(|set| self.loaded.backend.download(set)).collect();
            trace.features.push(read?);
            let shapes = sets.iter().map(|set| set.value_type().shape.clone());
            trace.feature_shapes.push(shapes.collect());
            features.push(Some(Rc::from(sets)));
        }
        let mut context = None;
        if let Some(encoder) = &prepared.prompt_encoder {
            let rows = self.loaded.encode_prompt(encoder, &features)?;
            trace.encoder_ids = encoder.prompt.ids().to_vec();
            trace.context = self.loaded.backend.download(&rows)?;
            context = Some(rows);
        }
        let known = Known { features, context };
        let (mut start, mut logits) = (0, Vec::new());
        while start < prepared.prompt.len() {
            let end = prepared.prompt.chunk_end(start, prepared.chunk);
            let wanted = if of_prompt { end - start } else { 1 };
            let rows = self.trace_rows(prepared, sequence, start..end, wanted, &known, &[])?;
            logits = rows.last().cloned().unwrap_or_default();
            if of_prompt {
                trace.prompt_logits.extend(rows);
            }
            start = end;
        }
        for index in 0..answer.len() {
            let token = match answer {
                Answer::Greedy(_) => argmax(&logits),
                Answer::Given(tokens) => tokens[index],
            };
            trace.tokens.push(token);
            trace.step_logits.push(logits);
            let at = prepared.prompt.len() + index;
            let mut rows = self.trace_rows(prepared, sequence, at..at + 1, 1, &known, &trace.tokens)?;
            logits = rows.remove(0);
        }
        Ok(trace)
    }

    /// Computes rows of a sequence, alone; gives the logits after the last `wanted` of them.
    fn trace_rows(
        &mut self,
        prepared: &PreparedRequest,
        sequence: SequenceId,
        range: Range<usize>,
        wanted: usize,
        known: &Known,
        generated: &[u32],
    ) -> Result<Vec<Vec<f32>>, RequestError> {
        let (prompt, rows) = (&prepared.prompt, range.len());
        let shape = match range.start < prompt.len() {
            true => prepared.batch_shape(range.clone(), wanted),
            false => prepared.decode_shape(),
        };
        let new_context = match shape.new_context {
            Some(_) if known.context.is_some() => known.context.clone(),
            Some(_) => Some(self.loaded.join(&batch::first_sets(&known.features))?),
            None => None,
        };
        let part = Part {
            sequence,
            rows: prompt.rows(range, generated, &known.features),
            new_context,
            wants_logits: false,
        };
        let mut step = batch::join(vec![part], prompt.axes(), prompt.mark_names().len());
        step.wanted = ((rows - wanted) as u32..rows as u32).collect();
        let program = self.recordings.forward(&shape)?;
        let outputs = self.loaded.backend.run(&program, &[], Some(&step));
        let logits = outputs
            .map_err(|error| self.loaded.blame("network.forward", error))?
            .remove(0);
        let vocabulary = logits.value_type().shape[1];
        let values = self.loaded.backend.download(&logits)?;
        Ok(values.chunks(vocabulary).map(<[f32]>::to_vec).collect())
    }
}

/// What is there before the first row.
struct Known {
    /// For each picture, its feature sets.
    features: Vec<Option<Rc<[Tensor]>>>,
    /// What an encoder made of its prompt.
    context: Option<Tensor>,
}

/// Which tokens follow the prompt.
#[derive(Debug, Clone, Copy)]
pub enum Answer<'a> {
    /// So many, each the likeliest.
    Greedy(usize),
    /// These.
    Given(&'a [u32]),
}

impl Answer<'_> {
    fn len(self) -> usize {
        match self {
            Self::Greedy(tokens) => tokens,
            Self::Given(tokens) => tokens.len(),
        }
    }
}

/// The first of the largest values.
pub fn argmax(values: &[f32]) -> u32 {
    let best = values
        .iter()
        .enumerate()
        .fold((0, f32::NEG_INFINITY), |best, (index, &value)| {
            if value > best.1 { (index, value) } else { best }
        });
    best.0 as u32
}
