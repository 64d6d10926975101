//! The size that a picture gets.

use monocle_plugin::prelude::*;

/// How many pixels a picture may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Budget {
    least: u64,
    most: u64,
}

impl Budget {
    /// From `preprocessor_config.json`; what it leaves out is as in transformers' `Ernie4_5_VLMoeImageProcessor`.
    pub fn read(rules: &Section) -> Result<Self> {
        let size = rules.section("size")?;
        let pick = |older: &str, newer: &str, default: u64| -> Result<u64> {
            match rules.find(older)? {
                Some(pixels) => Ok(pixels),
                None => size.get_or(newer, default),
            }
        };
        Ok(Self {
            least: pick("min_pixels", "shortest_edge", 56 * 56)?,
            most: pick("max_pixels", "longest_edge", 28 * 28 * 6177)?,
        })
    }

    /// Whole units, within the budget, proportions kept as well as may be (`smart_resize` in transformers'
    /// `image_processing_pil_ernie4_5_vl_moe.py`).
    pub fn fit(&self, size: Size, unit: u32) -> Result<Size> {
        let (height, width, unit) = (f64::from(size.height), f64::from(size.width), f64::from(unit));
        ensure!(
            height.max(width) / height.min(width) <= 200.0,
            "a picture of {} by {} pixels is more than 200 times as long as wide, which this model does not take; crop it",
            size.width,
            size.height
        );
        let sides = [width, height];
        let used = sides.map(|side| (side / unit).round_ties_even() * unit);
        let used = if used[0] * used[1] > self.most as f64 {
            let shrink = (height * width / self.most as f64).sqrt();
            sides.map(|side| ((side / shrink / unit).floor() * unit).max(unit))
        } else if used[0] * used[1] < self.least as f64 {
            let grow = (self.least as f64 / (height * width)).sqrt();
            sides.map(|side| (side * grow / unit).ceil() * unit)
        } else {
            used
        };
        Size::new(used[0] as u32, used[1] as u32).checked()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_those_of_transformers() {
        let text = include_str!("../../../tests/oracle/ernie4_5_vl/sizes.json");
        let golden: serde_json::Value = serde_json::from_str(text).unwrap();
        let cases = golden["cases"].as_array().unwrap();
        assert!(cases.len() > 9);
        for case in cases {
            let number = |key: &str| case[key].as_u64().unwrap();
            let pair = |key: &str| [0, 1].map(|index: usize| case[key][index].as_u64().unwrap() as u32);
            let budget = Budget {
                least: number("least"),
                most: number("most"),
            };
            let [width, height] = pair("size");
            let used = budget.fit(Size::new(width, height), 28).unwrap();
            assert_eq!(
                [used.width, used.height],
                pair("used"),
                "{width} by {height} in {budget:?}"
            );
        }
    }

    #[test]
    fn what_the_reference_refuses_is_refused_with_its_size() {
        let budget = Budget {
            least: 3136,
            most: 1_003_520,
        };
        let error = budget.fit(Size::new(4, 804), 28).unwrap_err().to_string();
        assert!(error.contains("4 by 804"), "{error}");
    }
}
