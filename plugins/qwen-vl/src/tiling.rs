//! The size that a picture gets.

use monocle_plugin::prelude::*;

/// How many pixels a picture may have, from `preprocessor_config.json`.
pub fn budget(rules: &Section, glm: bool) -> Result<PixelBudget> {
    // As in transformers' Qwen2VLImageProcessor and Glm46VImageProcessor.
    match glm {
        true => Ok(PixelBudget {
            frames: rules.get_or("temporal_patch_size", 2)?,
            ..PixelBudget::read(rules, 112 * 112, 28 * 28 * 15_000)?
        }),
        false => PixelBudget::read(rules, 56 * 56, 28 * 28 * 1280),
    }
}

/// The size that a picture is resized to. GLM, which counts the doubled frame twice, enlarges what is smaller than a unit first (`smart_resize` in
/// transformers' `image_processing_pil_glm46v.py`).
pub fn fit(budget: &PixelBudget, size: Size, unit: u32) -> Result<Size> {
    let (side, sides) = (f64::from(unit), [size.width, size.height].map(f64::from));
    let [width, height] = sides;
    if budget.frames > 1 && (height < side || width < side) {
        let scale = (side / height).max(side / width);
        return budget.fit_enlarged(size, sides.map(|side| (side * scale).trunc()), unit);
    }
    budget.fit(size, unit)
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
            let budget = PixelBudget {
                least: case.least,
                most: case.most,
                frames: case.frames,
            };
            let [width, height] = case.size;
            let used = fit(&budget, Size { width, height }, case.unit).unwrap();
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
        let budget = PixelBudget {
            least: 3136,
            most: 1_003_520,
            frames: 1,
        };
        let size = Size {
            width: 4,
            height: 804,
        };
        let error = fit(&budget, size, 28).unwrap_err().to_string();
        assert!(error.contains("4 by 804"), "{error}");
    }

    #[test]
    fn the_budget_has_two_spellings() {
        let read = |text: &str| budget(&Section::parse("rules", text).unwrap(), false).unwrap();
        let expected = PixelBudget {
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
