//! Everything that a reference implementation can be compared with: pixels, features, logits, greedy tokens.

use std::rc::Rc;

use monocle_tensor::backend::{SequenceId, Tensor};

use crate::error::RequestError;
use crate::model::Model;
use crate::plugin::wasm::recording::PixelTensor;
use crate::request::prepare::{PreparedRequest, Request};

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
    /// Logits after each prompt token: `[tokens][vocabulary]`
    pub prompt_logits: Vec<Vec<f32>>,
    /// The answer's tokens; end tokens do not end it.
    pub tokens: Vec<u32>,
    /// The logits before each of them: `[tokens][vocabulary]`
    pub step_logits: Vec<Vec<f32>>,
}

impl Model {
    /// Runs a request greedily for a number of tokens, the prompt in chunks of a size, and keeps everything.
    pub fn trace(&mut self, request: &Request, chunk: usize, tokens: usize) -> Result<Trace, RequestError> {
        self.trace_answer(request, chunk, Answer::Greedy(tokens))
    }

    /// As [`Model::trace`], with the answer given, whatever the logits say: engines that round differently stay comparable.
    pub fn trace_along(
        &mut self,
        request: &Request,
        chunk: usize,
        answer: &[u32],
    ) -> Result<Trace, RequestError> {
        self.trace_answer(request, chunk, Answer::Given(answer))
    }

    fn trace_answer(
        &mut self,
        request: &Request,
        chunk: usize,
        answer: Answer<'_>,
    ) -> Result<Trace, RequestError> {
        let mut prepared = self.prepare(request, answer.len(), chunk)?;
        self.check_memory(&prepared.estimate)?;
        self.load_weights(&mut |_, _| {})?;
        let sequence = self.backend.new_sequence();
        let result = self.trace_sequence(&mut prepared, sequence, answer);
        self.backend.drop_sequence(sequence);
        self.settle_memory();
        result
    }

    fn trace_sequence(
        &mut self,
        prepared: &mut PreparedRequest,
        sequence: SequenceId,
        answer: Answer<'_>,
    ) -> Result<Trace, RequestError> {
        let mut trace = Trace {
            prompt: prepared.plan.text.clone(),
            prompt_ids: prepared.prompt.ids().to_vec(),
            pixels: Vec::new(),
            features: Vec::new(),
            prompt_logits: Vec::new(),
            tokens: Vec::new(),
            step_logits: Vec::new(),
        };
        let mut features: Vec<Rc<[Tensor]>> = Vec::new();
        for index in 0..prepared.plan.images.len() {
            let pixels = prepared.take_pixels(index)?;
            trace.pixels.push(pixels.clone());
            let sets = self.encode_picture(prepared, index, pixels)?;
            let read: Result<Vec<_>, _> = sets.iter().map(|set| self.backend.download(set)).collect();
            trace.features.push(read?);
            features.push(sets);
        }
        let mut start = 0;
        while start < prepared.prompt.len() {
            let end = prepared.prompt.chunk_end(start, prepared.chunk);
            let wanted = (0..(end - start) as u32).collect();
            let logits = self.prefill_step(prepared, sequence, start..end, &features, wanted)?;
            let vocabulary = logits.value_type().shape[1];
            let values = self.backend.download(&logits)?;
            trace
                .prompt_logits
                .extend(values.chunks(vocabulary).map(<[f32]>::to_vec));
            start = end;
        }
        let mut logits = trace.prompt_logits.last().cloned().unwrap_or_default();
        for index in 0..answer.len() {
            let token = match answer {
                Answer::Greedy(_) => argmax(&logits),
                Answer::Given(tokens) => tokens[index],
            };
            trace.tokens.push(token);
            trace.step_logits.push(logits);
            let shape = prepared.decode_shape();
            let program = self.forward_program(prepared, shape)?;
            let step = prepared.prompt.decode_step(sequence, index, token);
            let output = self.run_forward(prepared, &program, &step)?;
            logits = self.backend.download(&output)?;
        }
        Ok(trace)
    }
}

/// Which tokens follow the prompt.
#[derive(Clone, Copy)]
enum Answer<'a> {
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
