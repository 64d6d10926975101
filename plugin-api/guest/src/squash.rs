//! The simplest rule for pictures: each becomes one of a fixed size, whatever its shape.

use crate::config::Section;
use crate::{Filter, Image, MediumPlan, Normalisation, PixelRules, Pixels, Result, Size};

/// A size that every picture is resized to, and how its pixels become numbers.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Squash {
    /// What the model sees.
    pub size: Size,
    /// How it is resized and made numbers of.
    pub pixels: PixelRules,
}

impl Squash {
    /// From `size`, `resample` and the normalisation of a `preprocessor_config.json`; what it leaves out is as given here.
    pub fn read(rules: &Section, side: u32, filter: Filter, normalisation: Normalisation) -> Result<Self> {
        let size = rules.section("size")?;
        let size = Size::new(size.get_or("width", side)?, size.get_or("height", side)?);
        Ok(Self {
            size: size.checked()?,
            pixels: PixelRules::read(rules, filter, normalisation)?,
        })
    }

    /// The plan of a picture that becomes so many features.
    pub fn plan(&self, features: u32) -> MediumPlan {
        MediumPlan::whole(self.size, features)
    }

    /// The pixels that [`Squash::plan`] announces.
    pub fn pixels(&self, image: &Image) -> Vec<Pixels> {
        vec![self.pixels.stack(&[self.pixels.resize(image, self.size)])]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_left_out_are_the_default_s() {
        let read = |rules: &str| {
            let rules = Section::parse("preprocessor_config.json", rules).unwrap();
            Squash::read(&rules, 56, Filter::Bicubic, Normalisation::half())
        };
        let given = read(
            r#"{"size": {"height": 448, "width": 224}, "resample": 2, "image_std": [0.25, 0.25, 0.25]}"#,
        );
        let given = given.unwrap();
        assert_eq!(given.plan(4).tensors, [[1, 448, 224, 3]]);
        assert_eq!(given.pixels.filter, Filter::Bilinear);
        assert_eq!(
            given.pixels.normalisation,
            Normalisation::new(1.0 / 255.0, [0.5; 3], [0.25; 3])
        );
        let default = read("{}").unwrap();
        assert_eq!(default.size, Size::square(56));
        assert_eq!(
            (default.pixels.filter, default.pixels.normalisation),
            (Filter::Bicubic, Normalisation::half())
        );
        assert!(read(r#"{"size": {"height": 0}}"#).is_err());
    }
}
