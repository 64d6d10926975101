//! Which grid of tiles a picture gets, and how it is fitted into it.

use monocle_plugin::prelude::*;

/// Of these sizes, the one in which most of the picture's pixels are left, and of equals the one with the least room to spare
/// (`select_best_resolution` in `processing_deepseek_vl_v2.py`, 64-bit floats).
pub fn best(picture: Size, candidates: &[Size]) -> Option<Size> {
    let (width, height) = (f64::from(picture.width), f64::from(picture.height));
    let pixels = u64::from(picture.width) * u64::from(picture.height);
    let mut best: Option<(Size, u64, u64)> = None;
    for candidate in candidates {
        let scale = (f64::from(candidate.width) / width).min(f64::from(candidate.height) / height);
        let kept = ((width * scale) as u64 * (height * scale) as u64).min(pixels);
        let spare = (u64::from(candidate.width) * u64::from(candidate.height)).saturating_sub(kept);
        let better = best.is_none_or(|(_, most, least)| kept > most || (kept == most && spare < least));
        if better {
            best = Some((*candidate, kept, spare));
        }
    }
    best.map(|(size, _, _)| size)
}

/// The size of a picture that fills `canvas` along one side, its proportions kept (`contain` in Pillow's `ImageOps.py`). Of pictures so thin
/// that nothing would be left of them, Pillow before version 13 refused to make one, and 13 leaves the border alone; here a line is left.
pub fn contained(picture: Size, canvas: Size) -> Size {
    let (width, height) = (f64::from(picture.width), f64::from(picture.height));
    let (across, down) = (f64::from(canvas.width), f64::from(canvas.height));
    let side = |pixels: f64| (pixels.round_ties_even() as u32).max(1);
    match (width / height).total_cmp(&(across / down)) {
        std::cmp::Ordering::Greater => Size::new(canvas.width, side(height / width * across)),
        std::cmp::Ordering::Less => Size::new(side(width / height * down), canvas.height),
        std::cmp::Ordering::Equal => canvas,
    }
}

/// The picture in the middle of this size, the rest of one colour (`pad` in Pillow's `ImageOps.py`).
pub fn padded(image: &Image, canvas: Size, pixels: &PixelRules, [red, green, blue]: [u8; 3]) -> Image {
    let fitted = contained(image.size(), canvas);
    let resized = pixels.resize(image, fitted);
    if fitted == canvas {
        return resized;
    }
    let before = |canvas: u32, side: u32| (f64::from(canvas - side) * 0.5).round_ties_even() as u32;
    let (left, top) = (
        before(canvas.width, fitted.width),
        before(canvas.height, fitted.height),
    );
    let (right, bottom) = (
        canvas.width - fitted.width - left,
        canvas.height - fitted.height - top,
    );
    resized.pad(left, top, right, bottom, red, green, blue)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;

    #[derive(Deserialize)]
    struct Golden {
        candidates: Vec<[u32; 2]>,
        cases: Vec<Case>,
    }

    #[derive(Deserialize)]
    struct Case {
        size: [u32; 2],
        best: [u32; 2],
        fitted: Option<[u32; 2]>,
    }

    #[test]
    fn sizes_are_those_of_the_original() {
        let golden = include_str!("../../../tests/oracle/deepseek_vl2/sizes.json");
        let golden: Golden = serde_json::from_str(golden).unwrap();
        let size = |[width, height]: [u32; 2]| Size { width, height };
        let candidates: Vec<Size> = golden.candidates.into_iter().map(size).collect();
        assert_eq!(candidates.len(), 23);
        for case in golden.cases {
            let canvas = best(size(case.size), &candidates).unwrap();
            assert_eq!(canvas, size(case.best), "{:?}", case.size);
            let fitted = contained(size(case.size), canvas);
            match case.fitted {
                Some(expected) => assert_eq!(fitted, size(expected), "{:?}", case.size),
                // Nothing is left there.
                None => assert_eq!(fitted.width.min(fitted.height), 1, "{:?}", case.size),
            }
        }
        assert_eq!(best(size([5, 5]), &[]), None);
    }
}
