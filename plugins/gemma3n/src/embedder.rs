//! What brings features of another medium into the decoder's space, and has embeddings of its own for the tokens that stand around them.

use monocle_plugin::{BinaryOperation, prelude::*};

/// `embed_vision`, `embed_audio`
pub struct Embedder {
    words: Embedding,
    hard_norm: Norm,
    soft_norm: Norm,
    projection: Linear,
    epsilon: f32,
    /// The id of its first token.
    first: u32,
}

impl Embedder {
    /// What is at this place. `config` is the tower's.
    pub fn load(place: &Weights, config: &Section, first: u32) -> Result<Self> {
        let epsilon = config.get_or("rms_norm_eps", 1e-6)?;
        let norm = |name: &str| Norm::rms(&place.at(name), epsilon);
        Ok(Self {
            words: place.embedding("embedding"),
            hard_norm: norm("hard_embedding_norm"),
            soft_norm: norm("soft_embedding_norm"),
            projection: place.linear("embedding_projection"),
            epsilon,
            first: config.get_or("vocab_offset", first)?,
        })
    }

    /// Features `[n, channels]` to `[n, hidden]`.
    pub fn features(&self, x: &Tensor) -> Tensor {
        self.project(&self.soft_norm.forward(x))
    }

    /// x `[tokens, hidden]` with embeddings of its own at its own tokens; ids int `[tokens]`.
    pub fn embed(&self, ids: &Tensor, x: Tensor) -> Tensor {
        let count = self.words.shape()[0];
        let int = |value: u32| ints(&[1], &[value as i32]);
        let own = ids.binary(BinaryOperation::Subtract, &int(self.first));
        let inside = own
            .binary(BinaryOperation::Maximum, &int(0))
            .binary(BinaryOperation::Minimum, &int(count - 1));
        let words = self.project(&self.hard_norm.forward(&self.words.forward(&inside)));
        own.equal(&inside).unsqueeze(-1).select(&words, &x)
    }

    fn project(&self, x: &Tensor) -> Tensor {
        self.projection.forward(x).rms_norm(None, self.epsilon, 0.0)
    }
}
