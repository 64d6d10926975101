//! Mixtures of experts (arXiv:1701.06538).

use serde::Deserialize;

use super::{Activation, Mlp};
use crate::config::Section;
use crate::weights::{Experts, Linear, Parameter, Weights};
use crate::{Result, Tensor, ensure};

/// How experts are chosen: keys of text configs, with the defaults that most configs leave out.
#[derive(Debug, Clone, Deserialize)]
pub struct MixtureConfig {
    /// How many experts there are.
    #[serde(alias = "num_experts", alias = "num_local_experts")]
    pub n_routed_experts: u32,
    /// How many each row goes through.
    #[serde(alias = "moe_topk")]
    pub num_experts_per_tok: u32,
    /// The weights of the chosen experts are made to sum to 1.
    #[serde(default)]
    pub norm_topk_prob: bool,
    /// Multiplies the weights.
    #[serde(default = "one")]
    pub routed_scaling_factor: f32,
    /// What makes weights of the router's scores: `softmax` over all experts, or `sigmoid` of each (DeepSeek-V3).
    #[serde(default)]
    pub scoring_func: Scoring,
    /// Groups of experts of which few are looked into: only 1 is known here.
    #[serde(default)]
    n_group: Option<u32>,
}

/// See [`MixtureConfig::scoring_func`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Scoring {
    /// Over all experts.
    #[default]
    Softmax,
    /// Of each by itself.
    Sigmoid,
}

fn one() -> f32 {
    1.0
}

impl MixtureConfig {
    /// From a text config.
    pub fn read(text_config: &Section) -> Result<Self> {
        let config: Self = text_config.read()?;
        let (experts, chosen) = (config.n_routed_experts, config.num_experts_per_tok);
        ensure!(
            (1..=experts).contains(&chosen),
            "`num_experts_per_tok` of the text config is {chosen}, of {experts} experts"
        );
        let groups = config.n_group.unwrap_or(1);
        ensure!(
            groups == 1,
            "`n_group` of the text config is {groups}; groups of experts are not known here"
        );
        Ok(config)
    }
}

/// A feed-forward block of which each row takes a few parts: `[tokens, hidden]` to the same.
pub struct Mixture {
    router: Linear,
    /// Added to scores when experts are chosen, not when they are weighed (arXiv:2408.15664).
    correction: Option<Parameter>,
    gate: Experts,
    up: Experts,
    down: Experts,
    /// What every row goes through.
    shared: Option<Mlp>,
    activation: Activation,
    config: MixtureConfig,
}

impl Mixture {
    /// At this place: the router `gate`, `experts.0` and so on with `gate_proj`, `up_proj` and `down_proj` each, and `shared_experts` where it
    /// exists (DeepSeek). Experts stored one by one are stacked.
    pub fn load(place: &Weights, activation: Activation, config: &MixtureConfig) -> Self {
        let experts = place.at("experts");
        let stacked = |name: &str| match experts.has(&format!("{name}.weight")) {
            true => experts.experts(name),
            false => experts.stack_experts(0..config.n_routed_experts, name),
        };
        let correction = "gate.e_score_correction_bias";
        let shared = place.at("shared_experts");
        Self {
            router: place.linear("gate"),
            correction: place.has(correction).then(|| place.parameter(correction)),
            gate: stacked("gate_proj"),
            up: stacked("up_proj"),
            down: stacked("down_proj"),
            shared: shared
                .has("down_proj.weight")
                .then(|| Mlp::load(&shared, activation)),
            activation,
            config: config.clone(),
        }
    }

    /// Applies it.
    pub fn forward(&self, x: &Tensor) -> Tensor {
        let scores = self.router.forward(x); // [tokens, experts]
        let scores = match self.config.scoring_func {
            Scoring::Softmax => scores.softmax(),
            Scoring::Sigmoid => scores.sigmoid(),
        };
        let chosen = match &self.correction {
            Some(correction) => (&scores + correction.value()).top_k(self.config.num_experts_per_tok),
            None => scores.top_k(self.config.num_experts_per_tok),
        }; // [tokens, k]
        let mut weights = scores.gather_last(&chosen);
        if self.config.norm_topk_prob {
            // The reference keeps the divisor from 0.
            weights = &weights / (weights.sum(&[1]).unsqueeze(-1) + 1e-20);
        }
        let weights = (weights * self.config.routed_scaling_factor).unsqueeze(-1);
        let inner = self.activation.forward(&self.gate.forward(x, &chosen)) * self.up.forward(x, &chosen);
        let routed = (self.down.forward(&inner, &chosen) * weights).sum(&[1]);
        match &self.shared {
            Some(shared) => routed + shared.forward(x),
            None => routed,
        }
    }
}
