//! The size that a picture gets: `rescale` of the original's `image_processing_kimi_vl.py`.

use monocle_plugin::prelude::*;

/// The tower has rotary positions for fewer patches a side than this.
const MOST: u32 = 512;

/// How large pictures may be.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Limits {
    /// Sides of a patch, in pixels.
    pub patch: u32,
    /// Sides of a square of patches, in pixels.
    pub square: u32,
    /// Whole patches that a picture may have before it is scaled down.
    pub patches: u32,
}

/// What becomes of a picture.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sizes {
    /// After scaling.
    pub scaled: Size,
    /// With what is black to the right and below.
    pub padded: Size,
}

impl Limits {
    /// Fails for pictures that the tower has no positions for.
    pub fn fit(&self, size: Size) -> Result<Sizes> {
        let whole = u64::from(size.width / self.patch) * u64::from(size.height / self.patch);
        let mut scaled = size;
        if whole > u64::from(self.patches) {
            let scale = (f64::from(self.patches) / whole as f64).sqrt();
            let side = |pixels: u32| ((f64::from(pixels) * scale) as u32).max(1);
            scaled = Size::new(side(size.width), side(size.height));
        }
        let padded = Size::new(
            scaled.width.next_multiple_of(self.square),
            scaled.height.next_multiple_of(self.square),
        );
        ensure!(
            padded.width / self.patch < MOST && padded.height / self.patch < MOST,
            "a picture of {} by {} pixels comes to {} by {}, which this model has no positions for (a side has less than {}); crop it",
            size.width,
            size.height,
            padded.width,
            padded.height,
            MOST * self.patch
        );
        Ok(Sizes { scaled, padded })
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
        patches: u32,
        scaled: [u32; 2],
        padded: Option<[u32; 2]>,
    }

    #[test]
    fn sizes_are_those_of_the_original() {
        let golden = include_str!("../../../tests/oracle/kimi_vl/sizes.json");
        let golden: Golden = serde_json::from_str(golden).unwrap();
        let size = |[width, height]: [u32; 2]| Size { width, height };
        for case in golden.cases {
            let limits = Limits {
                patch: 14,
                square: 28,
                patches: case.patches,
            };
            let found = limits.fit(size(case.size)).map_err(|error| error.to_string());
            match case.padded {
                Some(padded) => {
                    let expected = Sizes {
                        scaled: size(case.scaled),
                        padded: size(padded),
                    };
                    assert_eq!(found, Ok(expected), "{:?}", case.size);
                }
                None => assert!(found.unwrap_err().contains("no positions"), "{:?}", case.size),
            }
        }
    }
}
