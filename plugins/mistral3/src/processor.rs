//! Prompts and pixels.

use monocle_plugin::prelude::*;

use crate::config::Geometry;

const IMAGE: &str = "[IMG]";
const BREAK: &str = "[IMG_BREAK]";
const END: &str = "[IMG_END]";

/// The rules of `preprocessor_config.json`; what it leaves out is as in transformers' `PixtralImageProcessor`.
pub struct Mistral3Processor {
    longest: Size,
    /// Sides are multiples of this many pixels; a square of them is one feature.
    unit: u32,
    pixels: PixelRules,
}

impl Processor for Mistral3Processor {
    /// The size that the model sees.
    type Picture = Size;

    fn configure(files: &ModelFiles) -> Result<Self> {
        let rules = files.preprocessor()?;
        let geometry = Geometry::read(&files.config()?)?;
        Ok(Self {
            longest: longest(&rules.section("size")?)?.checked()?,
            unit: geometry.vision.patch_size * geometry.merge,
            pixels: PixelRules::read(&rules, Filter::Bicubic, Normalisation::clip())?,
        })
    }

    fn picture(&self, size: Size) -> Result<Size> {
        Ok(resized(size, self.longest, self.unit))
    }

    fn plan(&self, request: &Request, pictures: &[Size]) -> Result<Plan> {
        let features = |used: &Size| (used.width / self.unit) * (used.height / self.unit);
        let media = pictures
            .iter()
            .map(|used| MediumPlan::whole(*used, features(used)));
        let prompt = Prompt::of(IMAGE).pictures_first().render(request)?;
        prompt.plan(media.collect(), |index, _| expansion(pictures[index], self.unit))
    }

    fn pixels(&self, used: &Size, image: &Image) -> Result<Vec<Pixels>> {
        Ok(vec![self.pixels.stack(&[self.pixels.resize(image, *used)])])
    }
}

/// What stands in the prompt for a picture: its features row by row.
fn expansion(used: Size, unit: u32) -> String {
    let row = IMAGE.repeat((used.width / unit) as usize);
    let rows = vec![row; (used.height / unit) as usize];
    rows.join(BREAK) + END
}

/// The size that a picture is resized to: not beyond `longest`, then up to whole units
/// (`get_resize_output_image_size` in transformers' `image_processing_pil_pixtral.py`, which refuses what this makes one unit wide).
fn resized(size: Size, longest: Size, unit: u32) -> Size {
    let ratio = |side: u32, longest: u32| f64::from(side) / f64::from(longest);
    let ratio = ratio(size.height, longest.height).max(ratio(size.width, longest.width));
    let side = |side: u32| {
        let side = match ratio > 1.0 {
            true => (f64::from(side) / ratio) as u32,
            false => side,
        };
        side.max(1).next_multiple_of(unit)
    };
    Size::new(side(size.width), side(size.height))
}

fn longest(size: &Section) -> Result<Size> {
    Ok(
        match (
            size.find("longest_edge")?,
            size.find("width")?,
            size.find("height")?,
        ) {
            (None, Some(width), Some(height)) => Size { width, height },
            (edge, _, _) => Size::square(edge.unwrap_or(1024)),
        },
    )
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
        longest: u32,
        unit: u32,
        used: [u32; 2],
    }

    fn size([width, height]: [u32; 2]) -> Size {
        Size { width, height }
    }

    #[test]
    fn sizes_are_those_of_transformers() {
        let golden = include_str!("../../../tests/oracle/mistral3/sizes.json");
        let golden: Golden = serde_json::from_str(golden).unwrap();
        for case in golden.cases {
            let used = resized(size(case.size), Size::square(case.longest), case.unit);
            assert_eq!(used, size(case.used), "{:?} to {}", case.size, case.longest);
        }
    }

    #[test]
    fn pictures_too_thin_for_the_reference_are_one_unit_wide() {
        let used = resized(size([16, 3000]), Size::square(112), 14);
        assert_eq!(used, size([14, 112])); // 16 · 112 / 3000 is less than one pixel
    }

    #[test]
    fn limits_may_be_a_height_and_a_width() {
        let read = |text| longest(&Section::parse("size", text).unwrap()).unwrap();
        assert_eq!(read(r#"{"height": 3, "width": 2}"#), size([2, 3]));
        assert_eq!(read(r#"{"longest_edge": 1540}"#), Size::square(1540));
        assert_eq!(read("{}"), Size::square(1024));
    }

    #[test]
    fn each_row_of_features_is_closed() {
        let used = size([56, 28]);
        assert_eq!(
            expansion(used, 14),
            "[IMG][IMG][IMG][IMG][IMG_BREAK][IMG][IMG][IMG][IMG][IMG_END]"
        );
        assert_eq!(expansion(used, 28), "[IMG][IMG][IMG_END]");
    }
}
