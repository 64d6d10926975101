//! Angles of rotary embeddings (arXiv:2104.09864) and the rules that stretch them to longer contexts.
//!
//! Arithmetic is in 32-bit floats, in the order in which the reference (transformers' `modeling_rope_utils.py`) computes, since
//! at long positions the rounding of a frequency is visible.

use std::f64::consts::PI;

use serde::Deserialize;

use crate::config::Section;
use crate::{Context, Error, Pairing, Result, RopeAngles};

/// What a text config says about its rotary embedding.
#[derive(Debug, Clone, PartialEq)]
pub struct RopeConfig {
    /// The base of the frequencies' geometric series.
    pub theta: f64,
    /// How much of each head turns: 1 for all of it.
    pub partial: f64,
    /// How the frequencies are stretched.
    pub scaling: Scaling,
    /// How many frequencies each axis of positions has (arXiv:2409.12191); empty for one axis.
    pub sections: Vec<u32>,
    /// The axes take turns (Qwen3-VL), in place of having a stretch of frequencies each.
    pub interleaved: bool,
    /// Which elements of a head turn together.
    pub pairing: Pairing,
}

/// A rule that changes frequencies so that a model works beyond the context it was trained on.
#[derive(Debug, Clone, PartialEq)]
pub enum Scaling {
    /// Frequencies as they are.
    None,
    /// All divided by the factor (position interpolation, arXiv:2306.15595).
    Linear {
        /// The divisor.
        factor: f64,
    },
    /// Low frequencies divided, high ones kept, those between blended (Llama 3.1).
    Llama3 {
        /// The divisor of low frequencies.
        factor: f64,
        /// Wavelengths above `original / low` are divided.
        low: f64,
        /// Wavelengths below `original / high` are kept.
        high: f64,
        /// The context it was trained on, in tokens.
        original: u32,
    },
    /// By how often a pair turns within the trained context (arXiv:2309.00071).
    Yarn {
        /// The divisor of low frequencies.
        factor: f64,
        /// Pairs that turn more often are kept.
        fast: f64,
        /// Pairs that turn less often are divided.
        slow: f64,
        /// The bounds are rounded to whole pairs.
        truncate: bool,
        /// Multiplies sines and cosines.
        attention_factor: f64,
        /// The context it was trained on, in tokens.
        original: u32,
    },
    /// A divisor for each pair (arXiv:2402.13753).
    LongRope {
        /// The divisors, one a pair.
        factors: Vec<f32>,
        /// Multiplies sines and cosines.
        attention_factor: f64,
    },
}

/// The keys of `rope_parameters` or `rope_scaling`.
#[derive(Deserialize, Default)]
#[serde(default)]
struct Keys {
    rope_theta: Option<f64>,
    /// The newer name; files that have both mean this one.
    rope_type: Option<String>,
    #[serde(rename = "type")]
    older_type: Option<String>,
    partial_rotary_factor: Option<f64>,
    factor: Option<f64>,
    original_max_position_embeddings: Option<u32>,
    attention_factor: Option<f64>,
    beta_fast: Option<f64>,
    beta_slow: Option<f64>,
    short_factor: Option<Vec<f32>>,
    long_factor: Option<Vec<f32>>,
    low_freq_factor: Option<f64>,
    high_freq_factor: Option<f64>,
    mscale: Option<f64>,
    mscale_all_dim: Option<f64>,
    truncate: Option<bool>,
    mrope_section: Option<Vec<u32>>,
    mrope_interleaved: bool,
}

impl RopeConfig {
    /// One axis, all of each head, nothing stretched.
    pub fn plain(theta: f64) -> Self {
        Self {
            theta,
            partial: 1.0,
            scaling: Scaling::None,
            sections: vec![],
            interleaved: false,
            pairing: Pairing::Halves,
        }
    }

    /// From a text config: `rope_parameters`, or the older `rope_theta` and `rope_scaling`. LongRoPE has a set of factors for
    /// prompts within the trained context and one for longer ones: `long_context` says which.
    pub fn read(text_config: &Section, long_context: bool) -> Result<Self> {
        let newer = text_config.has("rope_parameters");
        let parameters = text_config.section(if newer { "rope_parameters" } else { "rope_scaling" })?;
        Self::read_parameters(&parameters, text_config, long_context)
    }

    /// As [`RopeConfig::read`], from this section: some models have one for each type of layer.
    pub fn read_parameters(parameters: &Section, text_config: &Section, long_context: bool) -> Result<Self> {
        let mut keys: Keys = parameters.read()?;
        let theta = match keys.rope_theta {
            Some(theta) => theta,
            None => text_config.get_or("rope_theta", 10_000.0)?,
        };
        let partial = match keys.partial_rotary_factor {
            Some(partial) => partial,
            None => text_config.get_or("partial_rotary_factor", 1.0)?,
        };
        let sections = keys.mrope_section.take().unwrap_or_default();
        let interleaved = keys.mrope_interleaved;
        let scaling = keys.scaling(text_config, long_context)?;
        Ok(Self {
            theta,
            partial,
            scaling,
            sections,
            interleaved,
            pairing: Pairing::Halves,
        })
    }

    /// The angles for heads of this size.
    pub fn angles(&self, head_dim: u32) -> Result<RopeAngles> {
        let turning = (f64::from(head_dim) * self.partial) as u32;
        let (frequencies, scale) = self.frequencies(turning)?;
        let axes = match self.interleaved {
            true => interleaved_axes(&self.sections),
            false => contiguous_axes(&self.sections),
        };
        if !axes.is_empty() && axes.len() != frequencies.len() {
            return Err(Error::new(format_args!(
                "`mrope_section` is {:?}, whose sum should be half of the {turning} elements that turn",
                self.sections
            )));
        }
        Ok(RopeAngles {
            frequencies,
            axes,
            pairing: self.pairing,
            scale,
        })
    }

    /// Frequencies of `turning` elements, and the factor of sines and cosines.
    fn frequencies(&self, turning: u32) -> Result<(Vec<f32>, f32)> {
        let base = frequencies(self.theta, turning);
        Ok(match &self.scaling {
            Scaling::None => (base, 1.0),
            Scaling::Linear { factor } => (base.iter().map(|f| f / *factor as f32).collect(), 1.0),
            Scaling::Llama3 {
                factor,
                low,
                high,
                original,
            } => {
                let scale = |f: &f32| llama3(*f, *factor as f32, *low as f32, *high as f32, *original as f32);
                (base.iter().map(scale).collect(), 1.0)
            }
            Scaling::Yarn {
                factor,
                fast,
                slow,
                truncate,
                attention_factor,
                original,
            } => {
                let bounds = yarn_bounds(self.theta, turning, *fast, *slow, *truncate, *original);
                (
                    yarn(self.theta, turning, *factor as f32, bounds),
                    *attention_factor as f32,
                )
            }
            Scaling::LongRope {
                factors,
                attention_factor,
            } => {
                if factors.len() != base.len() {
                    return Err(Error::new(format_args!(
                        "LongRoPE has {} factors, expected one for each of the {} pairs",
                        factors.len(),
                        base.len()
                    )));
                }
                let power = powers(self.theta, turning);
                let divided = power.zip(factors).map(|(power, factor)| 1.0 / (factor * power));
                (divided.collect(), *attention_factor as f32)
            }
        })
    }
}

/// `θ^(-2i / turning)` for each pair `i` of `turning` elements, in radians a position step.
pub fn frequencies(theta: f64, turning: u32) -> Vec<f32> {
    powers(theta, turning).map(|power| 1.0 / power).collect()
}

/// `θ^(2i / turning)`
fn powers(theta: f64, turning: u32) -> impl Iterator<Item = f32> {
    (0..turning / 2).map(move |pair| (theta as f32).powf((2 * pair) as f32 / turning as f32))
}

/// Axes of the frequencies when each axis has its own stretch of them, one after another (Qwen2-VL).
pub fn contiguous_axes(sections: &[u32]) -> Vec<u8> {
    let axis = |(axis, &count): (usize, &u32)| std::iter::repeat_n(axis as u8, count as usize);
    sections.iter().enumerate().flat_map(axis).collect()
}

/// Axes of the frequencies when the axes take turns, as long as each has some left; the rest is axis 0's (Qwen3-VL).
pub fn interleaved_axes(sections: &[u32]) -> Vec<u8> {
    let axes = sections.len() as u32;
    let axis = |pair: u32| {
        let turn = pair % axes;
        if pair < sections[turn as usize] * axes {
            turn as u8
        } else {
            0
        }
    };
    (0..sections.iter().sum()).map(axis).collect()
}

/// Llama 3.1's rule, as in transformers' `_compute_llama3_parameters`.
fn llama3(frequency: f32, factor: f32, low: f32, high: f32, original: f32) -> f32 {
    let wavelength = 2.0 * PI as f32 / frequency;
    if wavelength < original / high {
        frequency
    } else if wavelength > original / low {
        frequency / factor
    } else {
        let blend = (original / wavelength - low) / (high - low);
        (1.0 - blend) * frequency / factor + blend * frequency
    }
}

/// Between which pairs YaRN blends.
fn yarn_bounds(theta: f64, turning: u32, fast: f64, slow: f64, truncate: bool, original: u32) -> (f64, f64) {
    let pair = |turns: f64| {
        f64::from(turning) * (f64::from(original) / (turns * 2.0 * PI)).ln() / (2.0 * theta.ln())
    };
    let (low, high) = (pair(fast), pair(slow));
    let (low, high) = if truncate {
        (low.floor(), high.ceil())
    } else {
        (low, high)
    };
    let (low, high) = (low.max(0.0), high.min(f64::from(turning) - 1.0));
    // Equal bounds would divide by zero; the reference widens them by the same amount.
    (low, if low == high { high + 0.001 } else { high })
}

fn yarn(theta: f64, turning: u32, factor: f32, (low, high): (f64, f64)) -> Vec<f32> {
    let blend = |(pair, power): (usize, f32)| {
        let ramp = ((pair as f32 - low as f32) / (high - low) as f32).clamp(0.0, 1.0);
        let keep = 1.0 - ramp;
        1.0 / (factor * power) * (1.0 - keep) + 1.0 / power * keep
    };
    powers(theta, turning).enumerate().map(blend).collect()
}

impl Keys {
    fn scaling(self, text_config: &Section, long_context: bool) -> Result<Scaling> {
        let rope_type = self.rope_type.clone().or(self.older_type.clone());
        let rope_type = rope_type.unwrap_or_else(|| "default".to_owned());
        let needed = |value: Option<f64>, key: &str| {
            value.context(format_args!(
                "rotary embedding of type `{rope_type}` lacks `{key}`"
            ))
        };
        let maximum: Option<u32> = text_config.find("max_position_embeddings")?;
        let original = match self.original_max_position_embeddings {
            Some(original) => Some(original),
            None => text_config.find("original_max_position_embeddings")?.or(maximum),
        };
        let original = || original.context("`max_position_embeddings` is missing from the text config");
        match rope_type.as_str() {
            // Dynamic NTK equals the default until a prompt exceeds the trained context.
            "default" | "mrope" | "dynamic" => Ok(Scaling::None),
            "linear" => Ok(Scaling::Linear {
                factor: needed(self.factor, "factor")?,
            }),
            "llama3" => Ok(Scaling::Llama3 {
                factor: needed(self.factor, "factor")?,
                low: needed(self.low_freq_factor, "low_freq_factor")?,
                high: needed(self.high_freq_factor, "high_freq_factor")?,
                original: original()?,
            }),
            "yarn" => {
                let original = original()?;
                let ratio = maximum.map(|maximum| f64::from(maximum) / f64::from(original));
                let factor = needed(self.factor.or(ratio), "factor")?;
                Ok(Scaling::Yarn {
                    factor,
                    fast: self.beta_fast.unwrap_or(32.0),
                    slow: self.beta_slow.unwrap_or(1.0),
                    truncate: self.truncate.unwrap_or(true),
                    attention_factor: self
                        .attention_factor
                        .unwrap_or_else(|| self.yarn_attention(factor)),
                    original,
                })
            }
            "longrope" | "su" => {
                let original = original()?;
                let ratio = maximum.map(|maximum| f64::from(maximum) / f64::from(original));
                let factor = needed(self.factor.or(ratio), "factor")?;
                let (key, factors) = match long_context {
                    true => ("long_factor", self.long_factor),
                    false => ("short_factor", self.short_factor),
                };
                let implied = if factor <= 1.0 {
                    1.0
                } else {
                    (1.0 + factor.ln() / f64::from(original).ln()).sqrt()
                };
                Ok(Scaling::LongRope {
                    factors: factors.context(format_args!("rotary embedding lacks `{key}`"))?,
                    attention_factor: self.attention_factor.unwrap_or(implied),
                })
            }
            other => Err(Error::new(format_args!(
                "rotary embedding of type `{other}` is unknown here; known are `default`, `linear`, `dynamic`, \
                 `llama3`, `yarn`, `longrope` and `mrope`"
            ))),
        }
    }

    fn yarn_attention(&self, factor: f64) -> f64 {
        let scale = |mscale: f64| {
            if factor <= 1.0 {
                1.0
            } else {
                0.1 * mscale * factor.ln() + 1.0
            }
        };
        match (self.mscale, self.mscale_all_dim) {
            (Some(some), Some(all)) if some != 0.0 && all != 0.0 => scale(some) / scale(all),
            _ => scale(1.0),
        }
    }
}

impl Default for RopeConfig {
    fn default() -> Self {
        Self::plain(10_000.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Deserialize)]
    struct Golden {
        cases: Vec<Case>,
        interleaved: Vec<Interleaved>,
    }

    #[derive(Deserialize)]
    struct Case {
        text_config: serde_json::Value,
        long_context: bool,
        head_dim: u32,
        frequencies: Vec<f32>,
        scale: f32,
    }

    #[derive(Deserialize)]
    struct Interleaved {
        sections: Vec<u32>,
        axes: Vec<u8>,
    }

    fn golden() -> Golden {
        serde_json::from_str(include_str!("../../../tests/oracle/guest/rope.json")).unwrap()
    }

    fn section(value: &serde_json::Value) -> Section {
        Section::parse("config.json", &value.to_string()).unwrap()
    }

    #[test]
    fn frequencies_are_those_of_transformers() {
        for case in golden().cases {
            let config = RopeConfig::read(&section(&case.text_config), case.long_context).unwrap();
            let angles = config.angles(case.head_dim).unwrap();
            let place = case.text_config;
            assert_eq!(angles.frequencies.len(), case.frequencies.len(), "{place}");
            assert!(
                (angles.scale - case.scale).abs() < 1e-6,
                "{place}: {} for {}",
                angles.scale,
                case.scale
            );
            for (found, expected) in angles.frequencies.iter().zip(&case.frequencies) {
                assert!(
                    (found / expected - 1.0).abs() < 5e-7,
                    "{place}: {found} for {expected}"
                );
            }
        }
    }

    #[test]
    fn interleaved_axes_are_those_of_transformers() {
        for case in golden().interleaved {
            assert_eq!(interleaved_axes(&case.sections), case.axes, "{:?}", case.sections);
        }
    }

    #[test]
    fn sections_lie_one_after_another() {
        let config = serde_json::json!({"rope_scaling": {"type": "mrope", "mrope_section": [1, 2, 1]}});
        let config = RopeConfig::read(&section(&config), false).unwrap();
        assert_eq!(config.angles(8).unwrap().axes, [0, 1, 1, 2]);
        let error = config.angles(16).unwrap_err().to_string();
        assert!(error.contains("[1, 2, 1]") && error.contains("16"), "{error}");
    }

    #[test]
    fn of_two_names_of_the_type_the_newer_counts() {
        let config = serde_json::json!({"rope_scaling": {"type": "linear", "rope_type": "default"}});
        assert_eq!(
            RopeConfig::read(&section(&config), false).unwrap().scaling,
            Scaling::None
        );
    }

    #[test]
    fn a_part_of_the_head_turns() {
        let config =
            serde_json::json!({"rope_parameters": {"rope_theta": 16.0, "partial_rotary_factor": 0.5}});
        let angles = RopeConfig::read(&section(&config), false)
            .unwrap()
            .angles(8)
            .unwrap();
        assert_eq!(angles.frequencies, [1.0, 0.25]); // 16^0, 16^(-2/4)
    }

    #[test]
    fn unknown_and_incomplete_rules_are_refused() {
        let read = |rule: serde_json::Value| {
            let config = serde_json::json!({"rope_scaling": rule, "max_position_embeddings": 8});
            RopeConfig::read(&section(&config), false)
                .unwrap_err()
                .to_string()
        };
        assert!(read(serde_json::json!({"type": "spiral"})).contains("`spiral`"));
        assert!(read(serde_json::json!({"type": "linear"})).contains("`linear` lacks `factor`"));
        assert!(read(serde_json::json!({"type": "longrope", "factor": 1.0})).contains("`short_factor`"));
    }
}
