//! What decoders and encoders of prompts are made of: layers, each of which adds a few parts to the rows that pass through it.

use std::cell::OnceCell;

use crate::nn::{LatentAttention, Mixture, Mlp, Norm};
use crate::{Batch, Tensor};

/// One pass over a batch: what layers have in common.
pub struct Step<'a> {
    /// The rows' sequences.
    pub batch: &'a Batch,
    /// For rotary embeddings: int `[axes, tokens]`.
    pub positions: Tensor,
    /// 1 at rows of prompts beyond the trained context: int `[tokens, 1, 1]`.
    pub long: Option<Tensor>,
    /// What queries are multiplied by, if anything: `[tokens, 1, 1]`.
    pub scales: Option<Tensor>,
    context: OnceCell<Option<Tensor>>,
}

impl<'a> Step<'a> {
    /// A pass over these rows.
    pub fn new(batch: &'a Batch) -> Self {
        Self {
            batch,
            positions: batch.positions(),
            long: None,
            scales: None,
            context: OnceCell::new(),
        }
    }

    /// Rows of context that no step has seen before: `[context, hidden]`.
    pub fn new_context(&self) -> Option<&Tensor> {
        self.context.get_or_init(|| self.batch.new_context()).as_ref()
    }
}

/// What a layer does with rows, `[tokens, hidden]` to the same: attention, a feed-forward block, or something of a model's own.
pub trait Part {
    /// Applies it.
    fn forward(&self, x: &Tensor, step: &Step) -> Tensor;
}

/// For layers whose parts differ.
impl Part for Box<dyn Part> {
    fn forward(&self, x: &Tensor, step: &Step) -> Tensor {
        self.as_ref().forward(x, step)
    }
}

impl Part for Mlp {
    fn forward(&self, x: &Tensor, _step: &Step) -> Tensor {
        self.forward(x)
    }
}

impl Part for Mixture {
    fn forward(&self, x: &Tensor, _step: &Step) -> Tensor {
        self.forward(x)
    }
}

impl Part for LatentAttention {
    fn forward(&self, x: &Tensor, step: &Step) -> Tensor {
        self.forward(x, step.batch, &step.positions)
    }
}

/// All rows of an encoder's prompt see each other.
impl Part for crate::nn::Attention {
    fn forward(&self, x: &Tensor, _step: &Step) -> Tensor {
        self.forward(x)
    }
}

/// A part whose results are added to what it got.
pub struct Residual {
    before: Option<Norm>,
    part: Box<dyn Part>,
    after: Option<Norm>,
    last: Option<Norm>,
}

impl Residual {
    /// `x + part(norm(x))`
    pub fn pre_norm(norm: Norm, part: impl Part + 'static) -> Self {
        Self {
            before: Some(norm),
            part: Box::new(part),
            after: None,
            last: None,
        }
    }

    /// `norm(x + part(x))`, as the first transformers had it (arXiv:1706.03762).
    pub fn post_norm(part: impl Part + 'static, norm: Norm) -> Self {
        Self {
            before: None,
            part: Box::new(part),
            after: None,
            last: Some(norm),
        }
    }

    /// The same with a norm of what the part adds (Gemma 2, GLM-4).
    #[must_use]
    pub fn normed(mut self, after: Option<Norm>) -> Self {
        self.after = after;
        self
    }

    fn forward(&self, x: Tensor, step: &Step) -> Tensor {
        let norm = |norm: &Option<Norm>, x: Tensor| match norm {
            Some(norm) => norm.forward(&x),
            None => x,
        };
        let added = match &self.before {
            Some(before) => self.part.forward(&before.forward(&x), step),
            None => self.part.forward(&x, step),
        };
        norm(&self.last, x + norm(&self.after, added))
    }
}

/// Parts one after another.
pub struct Layer {
    parts: Vec<Residual>,
    context_only: bool,
}

impl Layer {
    /// These parts.
    pub fn new(parts: Vec<Residual>) -> Self {
        Self {
            parts,
            context_only: false,
        }
    }

    /// The same, for sequences that have context: others pass by it (Llama 3.2 Vision).
    #[must_use]
    pub fn with_context_only(mut self) -> Self {
        self.context_only = true;
        self
    }

    /// `[tokens, hidden]` to the same.
    pub fn forward(&self, x: Tensor, step: &Step) -> Tensor {
        if self.context_only && !step.batch.has_context() {
            return x;
        }
        self.parts.iter().fold(x, |x, part| part.forward(x, step))
    }
}
