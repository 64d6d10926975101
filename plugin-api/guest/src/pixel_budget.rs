//! The size of a picture that is not cut into tiles: whole units of pixels, within bounds.

use crate::config::Section;
use crate::{Result, Size, ensure};

/// How many pixels a picture may have (`smart_resize` of Qwen2-VL and of many since).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PixelBudget {
    /// Pixels at least.
    pub least: u64,
    /// Pixels at most.
    pub most: u64,
    /// How often each counts: GLM counts a picture's frame as often as it is repeated. 1 elsewhere.
    pub frames: u64,
}

impl PixelBudget {
    /// From `preprocessor_config.json`, in either spelling: `min_pixels` and `max_pixels`, or `shortest_edge` and `longest_edge` of `size`. What it
    /// leaves out is `least` and `most`.
    pub fn read(rules: &Section, least: u64, most: u64) -> Result<Self> {
        let size = rules.section("size")?;
        let pick = |older: &str, newer: &str, default: u64| -> Result<u64> {
            match rules.find(older)? {
                Some(pixels) => Ok(pixels),
                None => size.get_or(newer, default),
            }
        };
        Ok(Self {
            least: pick("min_pixels", "shortest_edge", least)?,
            most: pick("max_pixels", "longest_edge", most)?,
            frames: 1,
        })
    }

    /// Whole units, within the budget, proportions kept as well as may be (`smart_resize` in transformers' `image_processing_pil_qwen2_vl.py`, in
    /// 64-bit floats). Fails on a picture that is more than 200 times as long as wide.
    pub fn fit(&self, size: Size, unit: u32) -> Result<Size> {
        self.fit_enlarged(size, [size.width, size.height].map(f64::from), unit)
    }

    /// As [`PixelBudget::fit`], for a family that enlarges small pictures first: to these sides, width and height. An error names `size`.
    pub fn fit_enlarged(&self, size: Size, [width, height]: [f64; 2], unit: u32) -> Result<Size> {
        let is_taken = height.max(width) / height.min(width) <= 200.0;
        ensure!(
            is_taken,
            "a picture of {} by {} pixels is more than 200 times as long as wide, which this model does not take; crop it",
            size.width,
            size.height
        );
        let (unit, frames) = (f64::from(unit), self.frames as f64);
        let (least, most) = (self.least as f64, self.most as f64);
        let nearest = |side: f64| (side / unit).round_ties_even() * unit;
        let (mut rows, mut columns) = (nearest(height), nearest(width));
        if frames * rows * columns > most {
            let shrink = (frames * height * width / most).sqrt();
            let side = |side: f64| ((side / shrink / unit).floor() * unit).max(unit);
            (rows, columns) = (side(height), side(width));
        } else if frames * rows * columns < least {
            let grow = (least / (frames * height * width)).sqrt();
            let side = |side: f64| (side * grow / unit).ceil() * unit;
            (rows, columns) = (side(height), side(width));
        }
        Size::new(columns as u32, rows as u32).checked()
    }
}
