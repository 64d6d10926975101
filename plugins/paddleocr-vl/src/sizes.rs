//! The size that a picture gets: `smart_resize` in transformers' `image_processing_pil_paddleocr_vl.py`.

use monocle_plugin::prelude::*;

/// Whole units, within the budget; what is thinner than a unit is enlarged first.
pub fn fit(budget: &PixelBudget, size: Size, unit: u32) -> Result<Size> {
    let side = f64::from(unit);
    let (mut height, mut width) = (f64::from(size.height), f64::from(size.width));
    if height < side {
        (height, width) = (side, (width * side / height).round_ties_even());
    }
    if width < side {
        (height, width) = ((height * side / width).round_ties_even(), side);
    }
    budget.fit_enlarged(size, [width, height], unit)
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
        least: u64,
        most: u64,
        used: Option<[u32; 2]>,
    }

    #[test]
    fn sizes_are_those_of_transformers() {
        let golden = include_str!("../../../tests/oracle/paddleocr_vl/sizes.json");
        let golden: Golden = serde_json::from_str(golden).unwrap();
        for case in golden.cases {
            let (least, most) = (case.least, case.most);
            let budget = PixelBudget {
                least,
                most,
                frames: 1,
            };
            let [width, height] = case.size;
            let used = fit(&budget, Size { width, height }, 28);
            let used = used.map(|used| [used.width, used.height]);
            match case.used {
                Some(expected) => assert_eq!(used.unwrap(), expected, "{:?} in {budget:?}", case.size),
                // The reference refuses it too.
                None => assert!(
                    used.unwrap_err().to_string().contains("200 times"),
                    "{:?}",
                    case.size
                ),
            }
        }
    }
}
