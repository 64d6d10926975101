//! `config.json`; what it leaves out is as in transformers' `Florence2VisionConfig`. The first repositories' files have other names for some keys.

use monocle_plugin::prelude::*;
use serde::Deserialize;

/// The vision tower, each list an entry a stage.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default)]
pub struct VisionConfig {
    pub depths: Vec<u32>,
    pub patch_size: Vec<u32>,
    pub patch_stride: Vec<u32>,
    pub patch_padding: Vec<u32>,
    pub patch_prenorm: Vec<bool>,
    pub num_heads: Vec<u32>,
    pub num_groups: Vec<u32>,
    pub window_size: u32,
    pub activation_function: Activation,
    /// What stands for the picture: its mean, then each of its patches.
    image_feature_source: [String; 2],
}

const SOURCES: [&str; 2] = ["spatial_avg_pool", "temporal_avg_pool"];

impl Default for VisionConfig {
    fn default() -> Self {
        Self {
            depths: vec![1, 1, 9, 1],
            patch_size: vec![7, 3, 3, 3],
            patch_stride: vec![4, 2, 2, 2],
            patch_padding: vec![3, 1, 1, 1],
            patch_prenorm: vec![false, true, true, true],
            num_heads: vec![4, 8, 16, 32],
            num_groups: vec![4, 8, 16, 32],
            window_size: 12,
            activation_function: Activation::Gelu,
            image_feature_source: SOURCES.map(str::to_owned),
        }
    }
}

impl VisionConfig {
    /// From `vision_config`.
    pub fn read(config: &Section) -> Result<Self> {
        let read: Self = config.section("vision_config")?.read()?;
        let stages = read.depths.len();
        let lists = [
            &read.patch_size,
            &read.patch_stride,
            &read.patch_padding,
            &read.num_heads,
            &read.num_groups,
        ];
        let even = lists.iter().all(|list| list.len() == stages) && read.patch_prenorm.len() == stages;
        ensure!(
            even,
            "the lists of `vision_config` are not all of {stages} stages, as many as `depths` has"
        );
        let positive = read.window_size > 0 && !read.patch_stride.contains(&0);
        ensure!(
            positive,
            "`window_size` and `patch_stride` of `vision_config` must not be 0"
        );
        ensure!(
            read.image_feature_source == SOURCES,
            "`image_feature_source` of `vision_config` is {:?}; known is {SOURCES:?}",
            read.image_feature_source
        );
        Ok(read)
    }

    /// How many patches are left along a side of so many pixels. Fails where a stage's window is greater than what it gets.
    pub fn patches(&self, side: u32) -> Result<u32> {
        let mut stages = self
            .patch_size
            .iter()
            .zip(&self.patch_stride)
            .zip(&self.patch_padding);
        let left = stages.try_fold(side, |side, ((&size, &stride), &padding)| {
            Some((side + 2 * padding).checked_sub(size)? / stride + 1)
        });
        left.context(format_args!(
            "a picture of {side} pixels is smaller than the vision tower's patches"
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<VisionConfig> {
        VisionConfig::read(&Section::parse("config.json", text)?)
    }

    #[test]
    fn defaults_are_those_of_the_reference_s_config_class() {
        // transformers 5.23: Florence2VisionConfig()
        let config = read("{}").unwrap();
        assert_eq!((&config.depths[..], config.window_size), (&[1, 1, 9, 1][..], 12));
        // Four stages of strides 4, 2, 2, 2: 768 pixels are 24 patches a side, as the model's 577 features say.
        assert_eq!(config.patches(768).unwrap(), 24);
        assert_eq!(config.patches(96).unwrap(), 3);
        assert!(config.patches(0).is_err());
    }

    #[test]
    fn what_is_not_known_is_refused() {
        let error = |text| read(text).unwrap_err().to_string();
        let uneven = error(r#"{"vision_config": {"depths": [1, 1]}}"#);
        assert!(uneven.contains("not all of 2 stages"), "{uneven}");
        let source =
            error(r#"{"vision_config": {"image_feature_source": ["last_frame", "temporal_avg_pool"]}}"#);
        assert!(source.contains("last_frame"), "{source}");
    }
}
