//! Mixtures of experts (arXiv:1701.06538).

use serde::Deserialize;

use super::{Activation, Mlp};
use crate::config::Section;
use crate::weights::{Experts, Linear, Parameter, Weights};
use crate::{Kind, Result, Tensor, ensure, floats, ints};

/// How experts are chosen: keys of text configs, with the defaults that most configs leave out.
#[derive(Debug, Clone, Deserialize)]
pub struct MixtureConfig {
    /// How many experts there are.
    pub n_routed_experts: u32,
    /// How many each row goes through.
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
    /// How many groups the experts are in (arXiv:2405.04434 section 2.1.3).
    #[serde(default)]
    pub n_group: Option<u32>,
    /// In how many of them, the best, experts are chosen.
    #[serde(default)]
    pub topk_group: Option<u32>,
    /// How groups are told apart.
    #[serde(default)]
    pub topk_method: Option<Choice>,
}

/// See [`MixtureConfig::topk_method`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Choice {
    /// They are not: the best of all experts are chosen.
    Greedy,
    /// By their best expert.
    GroupLimitedGreedy,
    /// By their two best experts together (arXiv:2412.19437 section 2.1.2).
    NoauxTc,
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
    /// From a text config, with the keys that it [knows](MixtureConfig::keys).
    pub fn read(text_config: &Section) -> Result<Self> {
        let config: Self = Self::keys(text_config.clone()).read()?;
        let (experts, chosen) = (config.n_routed_experts, config.num_experts_per_tok);
        ensure!(
            (1..=experts).contains(&chosen),
            "`num_experts_per_tok` of the text config is {chosen}, of {experts} experts"
        );
        if let Some(Groups { count, kept, best }) = config.groups() {
            let fits = count > 0 && experts.is_multiple_of(count) && (1..=count).contains(&kept);
            ensure!(
                fits && kept * (experts / count) >= chosen && experts / count >= best,
                "{chosen} of {experts} experts cannot be chosen in {kept} of {count} groups (`topk_group` and `n_group` of the text config)"
            );
        }
        Ok(config)
    }

    /// The text config with one name for each key: who gives defaults does so after this.
    pub fn keys(text_config: Section) -> Section {
        text_config
            .known_as("n_routed_experts", &["num_experts", "num_local_experts"])
            .known_as("num_experts_per_tok", &["moe_topk"])
    }

    /// The groups, where there are several and not all are kept.
    fn groups(&self) -> Option<Groups> {
        let method = self.topk_method.unwrap_or(match self.scoring_func {
            Scoring::Softmax => Choice::Greedy,
            Scoring::Sigmoid => Choice::NoauxTc,
        });
        let best = match method {
            Choice::Greedy => return None,
            Choice::GroupLimitedGreedy => 1,
            Choice::NoauxTc => 2,
        };
        let (count, kept) = (self.n_group?, self.topk_group.unwrap_or(1));
        (count != kept).then_some(Groups { count, kept, best })
    }
}

/// Experts are chosen in so many groups, the best: those whose `best` experts have the highest scores together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Groups {
    count: u32,
    kept: u32,
    best: u32,
}

impl Groups {
    /// Scores `[tokens, experts]` with those of other groups far below all others.
    fn mask(self, scores: &Tensor) -> Tensor {
        let [tokens, experts] = [0, 1].map(|axis: u32| scores.dimension(axis));
        let grouped = scores.reshape(&[tokens, self.count, experts / self.count]);
        let sums = grouped.gather_last(&grouped.top_k(self.best)).sum(&[2]); // [tokens, groups]
        let kept = sums.top_k(self.kept).unsqueeze(-1); // [tokens, kept, 1]
        let numbers: Vec<i32> = (0..self.count as i32).collect();
        let kept = kept.equal(&ints(&[self.count], &numbers)).to_float().sum(&[1]); // [tokens, groups]
        let below = floats(&[1], &[-1e30]);
        let masked = kept.unsqueeze(-1).cast(Kind::Int).select(&grouped, &below);
        masked.reshape(&[tokens, experts])
    }
}

/// A feed-forward block of which each row takes a few parts: `[tokens, hidden]` to the same.
pub struct Mixture {
    router: Linear,
    /// Added to scores when experts are chosen, not when they are weighed (arXiv:2408.15664).
    correction: Option<Parameter>,
    first: First,
    down: Experts,
    /// What every row goes through.
    shared: Option<Mlp>,
    activation: Activation,
    config: MixtureConfig,
}

/// The first layers of experts.
enum First {
    Apart {
        gate: Experts,
        up: Experts,
    },
    /// The gate's outputs, then the others.
    Joint(Experts),
}

impl Mixture {
    /// At this place: the router `gate`, `experts.0` and so on with `gate_proj`, `up_proj` and `down_proj` each, and `shared_experts` where it
    /// exists (DeepSeek). Experts stored one by one are stacked; conversions to MLX have them stacked as `switch_mlp`; and newer checkpoints have them
    /// as `experts.gate_up_proj` and `experts.down_proj`.
    pub fn load(place: &Weights, activation: Activation, config: &MixtureConfig) -> Self {
        let experts = place.pick(&["experts", "switch_mlp"]);
        let stacked = |name: &str| match experts.has(&format!("{name}.weight")) {
            true => experts.experts(name),
            false => experts.stack_experts(0..config.n_routed_experts, name),
        };
        let correction = "gate.e_score_correction_bias";
        let shared = place.at("shared_experts");
        Self {
            router: place.linear("gate"),
            correction: place.has(correction).then(|| place.parameter(correction)),
            first: match experts.has("gate_up_proj") {
                true => First::Joint(experts.experts("gate_up_proj")),
                false => First::Apart {
                    gate: stacked("gate_proj"),
                    up: stacked("up_proj"),
                },
            },
            down: match experts.has("gate_up_proj") {
                true => experts.experts("down_proj"),
                false => stacked("down_proj"),
            },
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
        let corrected = match &self.correction {
            Some(correction) => &scores + correction.value(),
            None => scores.clone(),
        };
        let eligible = match self.config.groups() {
            Some(groups) => groups.mask(&corrected),
            None => corrected,
        };
        let chosen = eligible.top_k(self.config.num_experts_per_tok); // [tokens, k]
        let mut weights = scores.gather_last(&chosen);
        if self.config.norm_topk_prob {
            // The reference keeps the divisor from 0.
            weights = &weights / (weights.sum(&[1]).unsqueeze(-1) + 1e-20);
        }
        let weights = (weights * self.config.routed_scaling_factor).unsqueeze(-1);
        // [tokens, k, inner] each
        let (gate, up) = match &self.first {
            First::Apart { gate, up } => (gate.forward(x, &chosen), up.forward(x, &chosen)),
            First::Joint(layers) => {
                let both = layers.forward(x, &chosen);
                let inner = both.dimension(-1) / 2;
                let [gate, up] = both.split([inner; 2], 2);
                (gate, up)
            }
        };
        let inner = self.activation.forward(&gate) * up;
        let routed = (self.down.forward(&inner, &chosen) * weights).sum(&[1]);
        match &self.shared {
            Some(shared) => routed + shared.forward(x),
            None => routed,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(more: &str) -> Result<MixtureConfig> {
        let text = format!(r#"{{"n_routed_experts": 8, "num_experts_per_tok": 4, {more}}}"#);
        MixtureConfig::read(&Section::parse("config.json", &text)?)
    }

    #[test]
    fn groups_are_those_of_the_method() {
        let groups = |more| read(more).unwrap().groups();
        let (v3, v2) = (
            r#""scoring_func": "sigmoid", "n_group": 4, "topk_group": 2"#,
            r#""n_group": 4, "topk_group": 2"#,
        );
        assert_eq!(
            groups(v3),
            Some(Groups {
                count: 4,
                kept: 2,
                best: 2
            })
        );
        // transformers 5.23: DeepseekV2Config() has the method `greedy`.
        assert_eq!(groups(v2), None);
        let limited = r#""topk_method": "group_limited_greedy", "n_group": 2, "topk_group": 1"#;
        assert_eq!(
            groups(limited),
            Some(Groups {
                count: 2,
                kept: 1,
                best: 1
            })
        );
        assert_eq!(
            groups(r#""scoring_func": "sigmoid", "n_group": 1, "topk_group": 1"#),
            None
        );
    }

    #[test]
    fn experts_that_do_not_fit_their_groups_are_refused() {
        for groups in [
            r#""n_group": 3, "topk_group": 2"#,
            r#""n_group": 4, "topk_group": 1"#,
            r#""n_group": 8, "topk_group": 4"#,
        ] {
            let error = read(&format!(r#""scoring_func": "sigmoid", {groups}"#))
                .unwrap_err()
                .to_string();
            assert!(error.contains("`topk_group` and `n_group`"), "{error}");
        }
    }
}
