//! A layer: attention beside a low-rank residual, a feed-forward block, and an embedding of the layer's own.

use std::f64::consts::{FRAC_1_SQRT_2, TAU};

use monocle_plugin::prelude::*;
use monocle_plugin::{Reduction, UnaryOperation};

use crate::config::TextConfig;
use crate::updates::Updates;

/// See the module.
pub struct Layer {
    updates: Updates,
    norms: [Norm; 4],
    attention: Attention,
    laurel: [Linear; 2],
    laurel_norm: Norm,
    mlp: SparseMlp,
    /// Multiplies what goes into the layer's own embedding.
    scale: Option<Parameter>,
    gate: Linear,
    projection: Linear,
    own_norm: Norm,
    activation: Activation,
}

/// Attention whose scores are not scaled; keys and values are normed.
struct Attention {
    query: Linear,
    query_norm: Norm,
    /// None where the layer uses another's cache.
    keys: Option<(Linear, Norm, Linear)>,
    out: Linear,
    kind: CachedAttention,
    angles: RopeAngles,
    head_dim: u32,
    epsilon: f32,
}

struct SparseMlp {
    gate: Linear,
    up: Linear,
    down: Linear,
    activation: Activation,
    /// So many deviations above their mean, gates open.
    threshold: Option<f32>,
}

impl Layer {
    /// The layer of this number.
    pub fn load(place: &Weights, config: &TextConfig, number: u32) -> Result<Self> {
        let (llama, keys) = (&config.llama, &config.keys);
        let (laurel, altup) = (place.at("laurel"), place.at("altup"));
        let norms = [
            "input_layernorm",
            "post_attention_layernorm",
            "pre_feedforward_layernorm",
            "post_feedforward_layernorm",
        ];
        let share = config.sparsity[number as usize];
        let mlp = place.at("mlp");
        Ok(Self {
            updates: Updates::load(
                &altup,
                [keys.altup_num_inputs, keys.altup_active_idx],
                llama.rms_norm_eps,
            ),
            norms: norms.map(|name| llama.norm(&place.at(name))),
            attention: Attention::load(&place.at("self_attn"), config, number)?,
            laurel: ["linear_left", "linear_right"].map(|name| laurel.linear(name)),
            laurel_norm: llama.norm(&laurel.at("post_laurel_norm")),
            mlp: SparseMlp {
                gate: mlp.linear("gate_proj"),
                up: mlp.linear("up_proj"),
                down: mlp.linear("down_proj"),
                activation: llama.hidden_act,
                threshold: (share > 0.0).then(|| quantile(share)),
            },
            scale: keys
                .altup_correct_scale
                .then(|| altup.parameter("correct_output_scale")),
            gate: place.linear("per_layer_input_gate"),
            projection: place.linear("per_layer_projection"),
            own_norm: llama.norm(&place.at("post_per_layer_input_norm")),
            activation: llama.hidden_act,
        })
    }

    /// Rows `[tokens, rows, hidden]` to the same; `own` are the layer's embeddings of the tokens, `[tokens, channels]`.
    pub fn forward(&self, rows: &Tensor, own: &Tensor, batch: &Batch, positions: &Tensor) -> Tensor {
        let predictions = self.updates.predict(rows);
        let active = self.updates.active(&predictions);
        let [before, after, before_mlp, after_mlp] = &self.norms;
        let x = before.forward(&active);
        let low = self.laurel[1].forward(&self.laurel[0].forward(&x));
        let laurel = &x + self.laurel_norm.forward(&low);
        let attended = active + after.forward(&self.attention.forward(&x, batch, positions));
        let x = (attended + laurel) * FRAC_1_SQRT_2 as f32;
        let computed = &x + after_mlp.forward(&self.mlp.forward(&before_mlp.forward(&x)));
        let corrected = self.updates.correct(&predictions, &computed);
        let mut x = self.updates.active(&corrected);
        if let Some(scale) = &self.scale {
            x = x * scale.value();
        }
        let gated = self.activation.forward(&self.gate.forward(&x)) * own;
        let added = self.own_norm.forward(&self.projection.forward(&gated));
        let [first, others] = corrected.split([1, corrected.dimension(1) - 1], 1);
        concat(&[&first, &(others + added.unsqueeze(1))], 1)
    }
}

impl Attention {
    fn load(place: &Weights, config: &TextConfig, number: u32) -> Result<Self> {
        let llama = &config.llama;
        let window = llama.windows[number as usize];
        let rope = match (window, &llama.window_rope) {
            (Some(_), Some(rope)) => rope,
            _ => &llama.rope,
        };
        let shared = config.shared[number as usize];
        let keys = || {
            (
                place.linear("k_proj"),
                llama.norm(&place.at("k_norm")),
                place.linear("v_proj"),
            )
        };
        let head_dim = llama.head_dim();
        Ok(Self {
            query: place.linear("q_proj"),
            query_norm: llama.norm(&place.at("q_norm")),
            keys: shared.is_none().then(keys),
            out: place.linear("o_proj"),
            kind: CachedAttention {
                scale: 1.0,
                window,
                ..CachedAttention::of_heads(head_dim, shared.unwrap_or(number))
            },
            angles: rope.angles(head_dim)?,
            head_dim,
            epsilon: llama.rms_norm_eps,
        })
    }

    fn forward(&self, x: &Tensor, batch: &Batch, positions: &Tensor) -> Tensor {
        let heads = |layer: &Linear| {
            let x = layer.forward(x);
            x.reshape(&[x.dimension(0), x.dimension(1) / self.head_dim, self.head_dim])
        };
        let q = self
            .query_norm
            .forward(&heads(&self.query))
            .rope(positions, &self.angles);
        let mixed = match &self.keys {
            None => batch.attend_shared(&q, self.kind),
            Some((key, norm, value)) => {
                let k = norm.forward(&heads(key)).rope(positions, &self.angles);
                let v = heads(value).rms_norm(None, self.epsilon, 0.0);
                batch.attend(&q, &k, Some(&v), self.kind)
            }
        };
        self.out.forward(&mixed.flatten(1, 2))
    }
}

impl SparseMlp {
    fn forward(&self, x: &Tensor) -> Tensor {
        let mut gate = self.gate.forward(x);
        if let Some(threshold) = self.threshold {
            let mean = gate.reduce(Reduction::Mean, &[1], true);
            let off = &gate - &mean;
            let deviation = (&off * &off)
                .reduce(Reduction::Mean, &[1], true)
                .unary(UnaryOperation::SquareRoot);
            gate = (gate - (mean + deviation * threshold)).unary(UnaryOperation::Relu);
        }
        self.down
            .forward(&(self.activation.forward(&gate) * self.up.forward(x)))
    }
}

/// So many deviations above the mean, this share of normally distributed numbers lies below.
fn quantile(share: f32) -> f32 {
    let share = f64::from(share);
    let (mut low, mut high) = (-8.0, 8.0);
    for _ in 0..64 {
        let middle = (low + high) / 2.0;
        if below(middle) < share {
            low = middle
        } else {
            high = middle
        }
    }
    low as f32
}

/// The normal distribution: 1/2 + φ(x) (x + x³/3 + x⁵/(3 · 5) + …).
fn below(x: f64) -> f64 {
    let (mut term, mut sum) = (x, x);
    for odd in (3..400).step_by(2) {
        term *= x * x / f64::from(odd);
        sum += term;
    }
    0.5 + sum * (-x * x / 2.0).exp() / TAU.sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_those_of_the_normal_distribution() {
        // SciPy: scipy.stats.norm.ppf of these numbers as f32 holds them.
        for (share, expected) in [
            (0.95, 1.644_853_6),
            (0.5, 0.0),
            (0.9, 1.281_551_6),
            (0.999, 3.090_236_2),
        ] {
            assert!(
                (quantile(share) - expected).abs() < 2e-6,
                "{share}: {}",
                quantile(share)
            );
        }
    }
}
