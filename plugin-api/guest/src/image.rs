//! Conveniences of pictures.

use crate::{Context, Error, Filter, Normalisation, Result, Size};

impl Filter {
    /// The filter of this number in Pillow's `Image.Resampling`, as `resample` in `preprocessor_config.json` gives it.
    pub fn from_pillow(number: u32) -> Result<Self> {
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
