//! Conveniences of pictures.

use crate::config::Section;
use crate::{Context, Error, Filter, Image, Layout, MediumPlan, Normalisation, Pixels, Result, Size, stack};

/// How pictures are resized, and how their bytes become numbers.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PixelRules {
    /// How they are resized.
    pub filter: Filter,
    /// How bytes become floats.
    pub normalisation: Normalisation,
}

impl PixelRules {
    /// From a `preprocessor_config.json`; what it leaves out is as given here.
    pub fn read(rules: &Section, filter: Filter, normalisation: Normalisation) -> Result<Self> {
        Ok(Self {
            filter: Filter::read(rules, filter)?,
            normalisation: Normalisation::read(rules, normalisation)?,
        })
    }

    /// The picture in this size.
    pub fn resize(&self, image: &Image, size: Size) -> Image {
        image.resize(size.width, size.height, self.filter)
    }

    /// Views of one size as a tensor `[n, height, width, 3]`.
    pub fn stack(&self, views: &[Image]) -> Pixels {
        let views: Vec<&Image> = views.iter().collect();
        stack(&views, self.normalisation, Layout::ChannelsLast)
    }
}

impl MediumPlan {
    /// A picture that is seen whole, in this size, as a tensor `[1, height, width, 3]`.
    pub fn whole(size: Size, features: u32) -> Self {
        Self {
            used: size,
            pieces: 1,
            tensors: vec![vec![1, size.height, size.width, 3]],
            layout: vec![],
            features,
        }
    }

    /// A picture that is seen in so many squares, an overview included, as a tensor `[tiles, side, side, 3]`; `used` is its size before it is
    /// cut.
    pub fn tiles(used: Size, tiles: u32, side: u32, features: u32) -> Self {
        Self {
            used,
            pieces: tiles,
            tensors: vec![vec![tiles, side, side, 3]],
            layout: vec![],
            features,
        }
    }

    /// The same with numbers for [`crate::Network::encode`].
    #[must_use]
    pub fn with_layout(self, layout: Vec<u32>) -> Self {
        Self { layout, ..self }
    }
}

impl Filter {
    /// The filter that `resample` in a `preprocessor_config.json` names, by its number in Pillow's `Image.Resampling`.
    pub fn read(rules: &Section, default: Self) -> Result<Self> {
        let Some(number) = rules.find::<u32>("resample")? else {
            return Ok(default);
        };
        let filters = [
            Self::Nearest,
            Self::Lanczos,
            Self::Bilinear,
            Self::Bicubic,
            Self::Box,
            Self::Hamming,
        ];
        let filter = filters.get(number as usize).copied();
        filter.context(format_args!(
            "`resample` is {number}, expected a filter of Pillow's, 0 to 5"
        ))
    }
}

impl Normalisation {
    /// From 0..255 to -1..1: mean and deviation 0.5, as SigLIP has them.
    pub fn half() -> Self {
        Self::new(1.0 / 255.0, [0.5; 3], [0.5; 3])
    }

    /// CLIP's mean and deviation (arXiv:2103.00020).
    pub fn clip() -> Self {
        let mean = [0.48145466, 0.4578275, 0.40821073];
        Self::new(1.0 / 255.0, mean, [0.26862954, 0.2613026, 0.2757771])
    }

    /// ImageNet's mean and deviation, as torchvision's models have them.
    pub fn imagenet() -> Self {
        Self::new(1.0 / 255.0, [0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
    }

    /// From `do_rescale`, `rescale_factor`, `do_normalize`, `image_mean` and `image_std` of a `preprocessor_config.json`; what it
    /// leaves out is as in `default`.
    pub fn read(rules: &Section, default: Self) -> Result<Self> {
        let mut read = default;
        read.rescale = rules.get_or("rescale_factor", read.rescale)?;
        read.mean = rules.get_or("image_mean", read.mean)?;
        read.deviation = rules.get_or("image_std", read.deviation)?;
        if !rules.get_or("do_rescale", true)? {
            read.rescale = 1.0;
        }
        if !rules.get_or("do_normalize", true)? {
            (read.mean, read.deviation) = ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0));
        }
        Ok(read)
    }

    /// `(value · rescale - mean) / deviation`; red, green, blue.
    pub fn new(rescale: f64, mean: [f32; 3], deviation: [f32; 3]) -> Self {
        Self {
            rescale,
            mean: mean.into(),
            deviation: deviation.into(),
        }
    }
}

impl Size {
    /// So many pixels across and down.
    pub fn new(width: u32, height: u32) -> Self {
        Self { width, height }
    }

    /// Both sides `side` pixels long.
    pub fn square(side: u32) -> Self {
        Self {
            width: side,
            height: side,
        }
    }

    /// Fails when a side is 0: the rules of most processors divide by them.
    pub fn checked(self) -> Result<Self> {
        match self {
            Self { width: 0, .. } | Self { height: 0, .. } => Err(Error::new(format_args!(
                "a picture of {} by {} pixels is empty",
                self.width, self.height
            ))),
            size => Ok(size),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(text: &str) -> Section {
        Section::parse("preprocessor_config.json", text).unwrap()
    }

    #[test]
    fn filters_have_pillow_s_numbers() {
        // Pillow 13: Image.Resampling
        let read = |number: u32| Filter::read(&rules(&format!(r#"{{"resample": {number}}}"#)), Filter::Box);
        let expected = [
            Filter::Nearest,
            Filter::Lanczos,
            Filter::Bilinear,
            Filter::Bicubic,
            Filter::Box,
            Filter::Hamming,
        ];
        for (number, filter) in (0..).zip(expected) {
            assert_eq!(read(number).unwrap(), filter);
        }
        assert!(read(6).unwrap_err().to_string().contains("`resample` is 6"));
        assert_eq!(
            Filter::read(&rules("{}"), Filter::Lanczos).unwrap(),
            Filter::Lanczos
        );
    }

    #[test]
    fn what_is_switched_off_changes_nothing() {
        let off = r#"{"do_rescale": false, "do_normalize": false, "image_mean": [0.4, 0.5, 0.6]}"#;
        let read = Normalisation::read(&rules(off), Normalisation::half()).unwrap();
        assert_eq!(read, Normalisation::new(1.0, [0.0; 3], [1.0; 3]));
        let given = r#"{"rescale_factor": 0.5, "image_mean": [0.1, 0.2, 0.3]}"#;
        let read = Normalisation::read(&rules(given), Normalisation::half()).unwrap();
        assert_eq!(read, Normalisation::new(0.5, [0.1, 0.2, 0.3], [0.5; 3]));
    }
}
