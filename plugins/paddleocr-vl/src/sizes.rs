//! The size that a picture gets: `smart_resize` in transformers' `image_processing_pil_paddleocr_vl.py`.

use monocle_plugin::prelude::*;

/// How many pixels a picture may have, and what its sides are multiples of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Budget {
    pub unit: u32,
    pub least: u64,
    pub most: u64,
}

impl Budget {
    /// Whole units, within the budget, proportions kept as well as may be; what is thinner than a unit is enlarged first.
    pub fn fit(&self, size: Size) -> Result<Size> {
        let (unit, least, most) = (f64::from(self.unit), self.least as f64, self.most as f64);
        let (mut height, mut width) = (f64::from(size.height), f64::from(size.width));
        if height < unit {
            (height, width) = (unit, (width * unit / height).round_ties_even());
        }
        if width < unit {
            (height, width) = ((height * unit / width).round_ties_even(), unit);
        }
        ensure!(
            height.max(width) / height.min(width) <= 200.0,
            "a picture of {} by {} pixels is more than 200 times as long as wide, which this model does not take; crop it",
            size.width,
            size.height
        );
        let nearest = |side: f64| (side / unit).round_ties_even() * unit;
        let (mut rows, mut columns) = (nearest(height), nearest(width));
        if rows * columns > most {
            let shrink = (height * width / most).sqrt();
            let side = |side: f64| ((side / shrink / unit).floor() * unit).max(unit);
            (rows, columns) = (side(height), side(width));
        } else if rows * columns < least {
            let grow = (least / (height * width)).sqrt();
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
            let budget = Budget {
                unit: 28,
                least,
                most,
            };
            let [width, height] = case.size;
            let used = budget.fit(Size { width, height });
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
