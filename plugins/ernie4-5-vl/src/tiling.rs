//! The size that a picture gets.

use monocle_plugin::prelude::*;

/// How many pixels a picture may have: what `preprocessor_config.json` leaves out is as in transformers' `Ernie4_5_VLMoeImageProcessor`.
pub fn budget(rules: &Section) -> Result<PixelBudget> {
    PixelBudget::read(rules, 56 * 56, 28 * 28 * 6177)
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
            let budget = PixelBudget {
                least: number("least"),
                most: number("most"),
                frames: 1,
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
        let budget = PixelBudget {
            least: 3136,
            most: 1_003_520,
            frames: 1,
        };
        let error = budget.fit(Size::new(4, 804), 28).unwrap_err().to_string();
        assert!(error.contains("4 by 804"), "{error}");
    }
}
