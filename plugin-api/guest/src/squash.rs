//! The simplest rule for pictures: each becomes one of a fixed size, whatever its shape.

use crate::config::Section;
use crate::{Filter, Image, Layout, MediumPlan, Normalisation, Pixels, Result, Size, stack};

/// A size that every picture is resized to, and how its pixels become numbers.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Squash {
    /// What the model sees.
    pub size: Size,
    /// How it is resized.
    pub filter: Filter,
    /// How bytes become floats.
    pub normalisation: Normalisation,
}

impl Squash {
    /// From `size`, `resample` and the normalisation of a `preprocessor_config.json`; what it leaves out is as in `default`.
    pub fn read(rules: &Section, default: Self) -> Result<Self> {
        let size = rules.section("size")?;
        let size = Size {
            width: size.get_or("width", default.size.width)?,
            height: size.get_or("height", default.size.height)?,
        };
        Ok(Self {
            size: size.checked()?,
            filter: Filter::read(rules, default.filter)?,
            normalisation: Normalisation::read(rules, default.normalisation)?,
        })
    }

    /// The plan of a picture that becomes so many features.
    pub fn plan(&self, features: u32) -> MediumPlan {
        MediumPlan {
            used: self.size,
            pieces: 1,
            tensors: vec![vec![1, self.size.height, self.size.width, 3]],
            layout: vec![],
            features,
        }
    }

    /// The pixels that [`Squash::plan`] announces.
    pub fn pixels(&self, image: &Image) -> Vec<Pixels> {
        let resized = image.resize(self.size.width, self.size.height, self.filter);
        vec![stack(&[&resized], self.normalisation, Layout::ChannelsLast)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_left_out_are_the_default_s() {
        let rules =
            r#"{"size": {"height": 448, "width": 224}, "resample": 2, "image_std": [0.25, 0.25, 0.25]}"#;
        let rules = Section::parse("preprocessor_config.json", rules).unwrap();
        let default = Squash {
            size: Size::square(56),
            filter: Filter::Bicubic,
            normalisation: Normalisation::half(),
        };
        let read = Squash::read(&rules, default).unwrap();
        assert_eq!(read.plan(4).tensors, [[1, 448, 224, 3]]);
        assert_eq!(read.filter, Filter::Bilinear);
        assert_eq!(
            read.normalisation,
            Normalisation::new(1.0 / 255.0, [0.5; 3], [0.25; 3])
        );
        let rules = Section::parse("preprocessor_config.json", "{}").unwrap();
        assert_eq!(Squash::read(&rules, default).unwrap(), default);
        let rules = Section::parse("preprocessor_config.json", r#"{"size": {"height": 0}}"#).unwrap();
        assert!(Squash::read(&rules, default).is_err());
    }
}
