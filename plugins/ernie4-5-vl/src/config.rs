//! `config.json`: published files have the decoder's keys beside `vision_config`, newer ones in `text_config`. What they leave out is as in
//! transformers' `Ernie4_5_VLMoeTextConfig` and `Ernie4_5_VLMoeVisionConfig`.

use monocle_plugin::Pairing;
use monocle_plugin::prelude::*;
use monocle_plugin::rope::frequencies;
use serde::Deserialize;

/// The decoder.
pub struct TextConfig {
    /// Sizes.
    pub llama: LlamaConfig,
    pub mixture: MixtureConfig,
    pub angles: RopeAngles,
}

/// How experts are chosen.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default)]
pub struct MixtureConfig {
    moe_num_experts: OneOrEach,
    pub moe_k: u32,
    /// Keeps the divisor of weights from 0.
    pub moe_norm_min: f32,
}

/// For text and for pictures, or one for both.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(untagged)]
enum OneOrEach {
    One(u32),
    Each(Vec<u32>),
}

/// The vision tower.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default)]
pub struct VisionConfig {
    pub depth: u32,
    pub num_heads: u32,
    pub patch_size: u32,
    pub spatial_merge_size: u32,
    pub hidden_act: Activation,
    pub rms_norm_eps: f32,
}

impl Default for MixtureConfig {
    fn default() -> Self {
        Self {
            moe_num_experts: OneOrEach::One(64),
            moe_k: 6,
            moe_norm_min: 1e-12,
        }
    }
}

impl Default for VisionConfig {
    fn default() -> Self {
        Self {
            depth: 32,
            num_heads: 16,
            patch_size: 14,
            spatial_merge_size: 2,
            hidden_act: Activation::QuickGelu,
            rms_norm_eps: 1e-6,
        }
    }
}

impl MixtureConfig {
    /// How many experts there are for text, and how many for pictures.
    pub fn counts(&self) -> [u32; 2] {
        match &self.moe_num_experts {
            OneOrEach::One(count) => [*count; 2],
            OneOrEach::Each(counts) => [0, 1].map(|kind: usize| counts.get(kind).copied().unwrap_or(0)),
        }
    }
}

impl TextConfig {
    /// From the file.
    pub fn read(config: &Section) -> Result<Self> {
        let text = match config.has("text_config") {
            true => config.section("text_config")?,
            false => config.clone(),
        };
        let text = text.with_defaults([
            ("hidden_size", 2560.into()),
            ("num_hidden_layers", 28.into()),
            ("num_attention_heads", 20.into()),
            ("rms_norm_eps", 1e-5.into()),
            ("rope_theta", 500_000.0.into()),
        ]);
        let llama = LlamaConfig::read(&text)?;
        let mixture: MixtureConfig = text.read()?;
        let counts = mixture.counts();
        ensure!(
            counts.iter().all(|&count| (1..=count).contains(&mixture.moe_k)),
            "`moe_k` of the text config is {}, of {counts:?} experts",
            mixture.moe_k
        );
        let head = llama.head_dim();
        Ok(Self {
            angles: angles(&text, llama.rope.theta, head)?,
            llama,
            mixture,
        })
    }
}

/// Pairs turn by row and by column in turns, the last by time.
fn angles(text: &Section, theta: f64, head: u32) -> Result<RopeAngles> {
    let pairs = head / 2;
    let parameters = text.section(if text.has("rope_parameters") {
        "rope_parameters"
    } else {
        "rope_scaling"
    })?;
    let sections: Option<Vec<u32>> = parameters.find("mrope_section")?;
    let time = match &sections {
        Some(sections) => sections.get(2).copied().unwrap_or(0),
        None => text.get_or("freq_allocation", 20)?,
    };
    let even = sections.as_ref().is_none_or(|sections| {
        sections.len() == 3 && sections[0] == sections[1] && sections.iter().sum::<u32>() == pairs
    });
    ensure!(
        even && time <= pairs && (pairs - time).is_multiple_of(2),
        "`mrope_section` is {sections:?} and `freq_allocation` {time}, which do not fit {pairs} pairs of a head"
    );
    let axis = |pair: u32| {
        if pair >= pairs - time {
            0
        } else {
            1 + (pair % 2) as u8
        }
    };
    Ok(RopeAngles {
        frequencies: frequencies(theta, head),
        axes: (0..pairs).map(axis).collect(),
        pairing: Pairing::Neighbours,
        scale: 1.0,
    })
}

impl VisionConfig {
    /// From `vision_config`.
    pub fn read(config: &Section) -> Result<Self> {
        let read: Self = config.section("vision_config")?.read()?;
        let sizes = [read.num_heads, read.patch_size, read.spatial_merge_size];
        ensure!(
            !sizes.contains(&0),
            "`num_heads`, `patch_size` and `spatial_merge_size` of `vision_config` must not be 0"
        );
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<TextConfig> {
        TextConfig::read(&Section::parse("config.json", text)?)
    }

    #[test]
    fn defaults_are_those_of_the_reference_s_config_class() {
        // transformers 5.23: Ernie4_5_VLMoeTextConfig(), and 22, 22 and 20 pairs of a head.
        let config = read("{}").unwrap();
        assert_eq!(
            (
                config.llama.hidden_size,
                config.llama.num_hidden_layers,
                config.llama.head_dim()
            ),
            (2560, 28, 128)
        );
        assert_eq!((config.mixture.counts(), config.mixture.moe_k), ([64, 64], 6));
        assert_eq!(config.angles.axes[..4], [1, 2, 1, 2]);
        assert_eq!(
            (
                config.angles.axes[43],
                config.angles.axes[44],
                config.angles.axes.len()
            ),
            (2, 0, 64)
        );
    }

    #[test]
    fn the_published_file_is_flat() {
        let flat = read(r#"{"moe_num_experts": [64, 32], "freq_allocation": 20, "head_dim": 128}"#).unwrap();
        assert_eq!(flat.mixture.counts(), [64, 32]);
        let error = read(
            r#"{"text_config": {"rope_parameters": {"mrope_section": [22, 20, 22], "rope_theta": 5e5}}}"#,
        )
        .err()
        .unwrap();
        assert!(error.to_string().contains("do not fit 64 pairs"), "{error}");
        let few = read(r#"{"moe_num_experts": [64, 4]}"#).err().unwrap();
        assert!(
            few.to_string().contains("`moe_k` of the text config is 6"),
            "{few}"
        );
    }
}
