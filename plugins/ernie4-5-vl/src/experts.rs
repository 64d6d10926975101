//! A feed-forward block with experts for text and others for pictures.

use monocle_plugin::decoders::{Part, Step};
use monocle_plugin::prelude::*;
use monocle_plugin::weights::Experts;

use crate::config::MixtureConfig;
use crate::processor::SEEN;

/// See the module.
pub struct Mixtures {
    text: Mixture,
    pictures: Mixture,
    /// What every row goes through.
    shared: Option<Mlp>,
}

struct Mixture {
    router: Parameter,
    /// Whether the router's rows are experts: published ones have them as columns.
    rows: bool,
    /// Added to scores when experts are chosen, not when they are weighed (arXiv:2408.15664): a table and the row of it.
    correction: Option<(Parameter, u32)>,
    gate: Experts,
    up: Experts,
    down: Experts,
    activation: Activation,
    config: MixtureConfig,
}

/// Names of what the two kinds have: stacked experts and routers of conversions to MLX.
const STACKED: [&str; 2] = ["switch_mlp", "switch_mlp_1"];
const ROUTERS: [[&str; 2]; 2] = [["gate.weight", "gate.weight"], ["gate.weight_1", "gate_1.weight"]];
const CORRECTIONS: [&str; 2] = ["e_score_correction_bias", "e_score_correction_bias_1"];
const TOGETHER: &str = "moe_statics.e_score_correction_bias";

impl Mixtures {
    /// Whether there are experts at this place.
    pub fn is_at(place: &Weights) -> bool {
        place.has(ROUTERS[0][0])
    }

    /// What is at this place.
    pub fn load(place: &Weights, llama: &LlamaConfig, config: &MixtureConfig) -> Result<Self> {
        let shared = place.at("shared_experts");
        Ok(Self {
            text: Mixture::load(place, llama, config, 0)?,
            pictures: Mixture::load(place, llama, config, 1)?,
            shared: shared
                .has("down_proj.weight")
                .then(|| Mlp::load(&shared, llama.hidden_act)),
        })
    }
}

impl Part for Mixtures {
    fn forward(&self, x: &Tensor, step: &Step) -> Tensor {
        let seen = step.batch.mark(SEEN).unsqueeze(-1); // [tokens, 1]
        let text = self.text.forward(x, &seen.equal(&ints(&[1], &[0])));
        let pictures = self.pictures.forward(x, &seen);
        let mixed = seen.select(&pictures, &text);
        match &self.shared {
            Some(shared) => mixed + shared.forward(x),
            None => mixed,
        }
    }
}

impl Mixture {
    fn load(place: &Weights, llama: &LlamaConfig, config: &MixtureConfig, kind: usize) -> Result<Self> {
        let router = ROUTERS[kind].into_iter().find(|name| place.has(name));
        let router = place.parameter(router.unwrap_or(ROUTERS[kind][0]));
        let counts = config.counts();
        let first = if kind == 0 { 0 } else { counts[0] };
        let stacked = place.at(STACKED[kind]);
        let experts = |name: &str| match stacked.has(&format!("{name}.weight")) {
            true => stacked.experts(name),
            false => place
                .at("experts")
                .stack_experts(first..first + counts[kind], name),
        };
        let own = place
            .has(CORRECTIONS[kind])
            .then(|| (place.parameter(CORRECTIONS[kind]), 0));
        let together = || {
            place
                .has(TOGETHER)
                .then(|| (place.parameter(TOGETHER), kind as u32))
        };
        let shape = router.shape();
        ensure!(
            shape == [counts[kind], llama.hidden_size] || shape == [llama.hidden_size, counts[kind]],
            "a router of {place} has shape {shape:?}, expected {} and {}",
            llama.hidden_size,
            counts[kind]
        );
        Ok(Self {
            rows: shape[1] == llama.hidden_size,
            router,
            correction: own.or_else(together),
            gate: experts("gate_proj"),
            up: experts("up_proj"),
            down: experts("down_proj"),
            activation: llama.hidden_act,
            config: config.clone(),
        })
    }

    /// What its experts make of rows `[tokens, hidden]`. Rows that are not its own (`[tokens, 1]`) go through the first expert alone: what comes of them
    /// is not used, and costs little.
    fn forward(&self, x: &Tensor, own: &Tensor) -> Tensor {
        let scores = x.matmul(&self.router.value(), self.rows).softmax(); // [tokens, experts]
        let corrected = match &self.correction {
            None => scores.clone(),
            Some((table, row)) => {
                let experts = scores.dimension(1);
                let table = table.value();
                let rows = table.shape().iter().product::<u32>() / experts;
                &scores + table.reshape(&[rows, experts]).narrow(0, *row, row + 1)
            }
        };
        let chosen = corrected.top_k(self.config.moe_k); // [tokens, k]
        let weights = scores.gather_last(&chosen);
        let weights = &weights
            / weights
                .sum(&[1])
                .unsqueeze(-1)
                .clamp(self.config.moe_norm_min, f32::MAX);
        let chosen = own.select(&chosen, &ints(&[1], &[0]));
        let inner = self.activation.forward(&self.gate.forward(x, &chosen)) * self.up.forward(x, &chosen);
        (self.down.forward(&inner, &chosen) * weights.unsqueeze(-1)).sum(&[1])
    }
}
