//! The size that a picture gets.

use monocle_plugin::prelude::*;

/// How many pixels a picture may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Budget {
    least: u64,
    most: u64,
    /// GLM counts the doubled frame twice, and enlarges what is smaller than a unit first.
    frames: u64,
}

impl Budget {
    /// From `preprocessor_config.json`.
    pub fn read(rules: &Section, glm: bool) -> Result<Self> {
        let size = rules.section("size")?;
        let pick = |older: &str, newer: &str, default: u64| -> Result<u64> {
            match rules.find(older)? {
                Some(pixels) => Ok(pixels),
                None => size.get_or(newer, default),
            }
        };
        // As in transformers' Qwen2VLImageProcessor and Glm46VImageProcessor.
        let (least, most) = match glm {
            true => (112 * 112, 28 * 28 * 15_000),
            false => (56 * 56, 28 * 28 * 1280),
        };
        Ok(Self {
            least: pick("min_pixels", "shortest_edge", least)?,
            most: pick("max_pixels", "longest_edge", most)?,
            frames: match glm {
                true => rules.get_or("temporal_patch_size", 2)?,
                false => 1,
            },
        })
    }

    /// The size that a picture is resized to: whole units, within the budget, proportions kept as well as may be (`smart_resize` in
    /// transformers' `image_processing_pil_qwen2_vl.py` and `image_processing_pil_glm46v.py`).
    pub fn fit(&self, size: Size, unit: u32) -> Result<Size> {
        let (unit, frames) = (f64::from(unit), self.frames as f64);
        let (mut height, mut width) = (f64::from(size.height), f64::from(size.width));
        if self.frames > 1 && (height < unit || width < unit) {
            let scale = (unit / height).max(unit / width);
            (height, width) = ((height * scale).trunc(), (width * scale).trunc());
        }
        ensure!(
            height.max(width) / height.min(width) <= 200.0,
            "a picture of {} by {} pixels is more than 200 times as long as wide, which this model does not take; crop it",
            size.width,
            size.height
        );
        let nearest = |side: f64| (side / unit).round_ties_even() * unit;
        let (mut rows, mut columns) = (nearest(height), nearest(width));
        if frames * rows * columns > self.most as f64 {
            let shrink = (frames * height * width / self.most as f64).sqrt();
            let side = |side: f64| ((side / shrink / unit).floor() * unit).max(unit);
            (rows, columns) = (side(height), side(width));
        } else if frames * rows * columns < self.least as f64 {
            let grow = (self.least as f64 / (frames * height * width)).sqrt();
            let side = |side: f64| (side * grow / unit).ceil() * unit;
            (rows, columns) = (side(height), side(width));
        }
        Size::new(columns as u32, rows as u32).checked()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;

    #[derive(Deserialize)]
    struct Golden {
        cases: Vec<Case>,
    }

    #[derive(Deserialize)]
    struct Case {
        size: [u32; 2],
        unit: u32,
        frames: u64,
        least: u64,
        most: u64,
        used: [u32; 2],
    }

    #[test]
    fn sizes_are_those_of_transformers() {
        let golden = include_str!("../../../tests/oracle/qwen2_vl/sizes.json");
        let golden: Golden = serde_json::from_str(golden).unwrap();
        for case in golden.cases {
            let budget = Budget {
                least: case.least,
                most: case.most,
                frames: case.frames,
            };
            let [width, height] = case.size;
            let used = budget.fit(Size { width, height }, case.unit).unwrap();
            assert_eq!(
                [used.width, used.height],
                case.used,
                "{:?} in {budget:?}",
                case.size
            );
        }
    }

    #[test]
    fn a_picture_that_the_reference_refuses_is_refused_with_its_size() {
        let budget = Budget {
            least: 3136,
            most: 1_003_520,
            frames: 1,
        };
        let size = Size {
            width: 4,
            height: 804,
        };
        let error = budget.fit(size, 28).unwrap_err().to_string();
        assert!(error.contains("4 by 804"), "{error}");
    }

    #[test]
    fn the_budget_has_two_spellings() {
        let read = |text: &str| Budget::read(&Section::parse("rules", text).unwrap(), false).unwrap();
        let expected = Budget {
            least: 3136,
            most: 62_720,
            frames: 1,
        };
        assert_eq!(read(r#"{"min_pixels": 3136, "max_pixels": 62720}"#), expected);
        assert_eq!(
            read(r#"{"size": {"shortest_edge": 3136, "longest_edge": 62720}}"#),
            expected
        );
        assert_eq!(read("{}").most, 1_003_520, "transformers' default");
    }
}
