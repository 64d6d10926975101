//! The resampling filters, as PIL defines them, and one of PyTorch.

use std::f64::consts::PI;

/// How a pixel's neighbours are weighed when a picture is resized.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Filter {
    /// The pixel under the new pixel's centre; never averages.
    Nearest,
    /// Equal weights under the new pixel.
    Box,
    /// Triangle.
    Bilinear,
    /// Hamming-windowed sinc of one lobe.
    Hamming,
    /// Cubic convolution with a = -0.5.
    Bicubic,
    /// Lanczos-windowed sinc of three lobes.
    Lanczos,
    /// Triangle with the coarser weights of PyTorch (`upsample_bilinear2d` with `antialias`, on bytes), which processors that know
    /// no PIL use. Some pixels differ from `Bilinear` by one.
    TorchBilinear,
}

impl Filter {
    /// The filter that PIL (and so a `preprocessor_config.json`'s `resample`) calls by this number.
    pub fn from_pil(code: u32) -> Option<Filter> {
        Some(match code {
            0 => Filter::Nearest,
            1 => Filter::Lanczos,
            2 => Filter::Bilinear,
            3 => Filter::Bicubic,
            4 => Filter::Box,
            5 => Filter::Hamming,
            _ => return None,
        })
    }

    /// How far the filter reaches, in source pixels at scale 1. `Nearest` reaches nowhere: it is no weighted sum.
    pub(crate) fn support(self) -> f64 {
        match self {
            Filter::Nearest => 0.0,
            Filter::Box => 0.5,
            Filter::Bilinear | Filter::TorchBilinear | Filter::Hamming => 1.0,
            Filter::Bicubic => 2.0,
            Filter::Lanczos => 3.0,
        }
    }

    /// The weight at distance `x`. The constants and the order of operations are those of PIL's `Resample.c`:
    /// the last bit of a weight can decide a pixel's rounding.
    pub(crate) fn weight(self, x: f64) -> f64 {
        match self {
            // The two ends are not alike: a pixel exactly on the border belongs to one side only.
            Filter::Nearest | Filter::Box => f64::from(u8::from(x > -0.5 && x <= 0.5)),
            Filter::Bilinear | Filter::TorchBilinear => (1.0 - x.abs()).max(0.0),
            Filter::Hamming => hamming(x.abs()),
            Filter::Bicubic => cubic(x.abs()),
            Filter::Lanczos if (-3.0..3.0).contains(&x) => sinc(x) * sinc(x / 3.0),
            Filter::Lanczos => 0.0,
        }
    }
}

fn sinc(x: f64) -> f64 {
    if x == 0.0 {
        return 1.0;
    }
    let angle = x * PI;
    angle.sin() / angle
}

fn hamming(x: f64) -> f64 {
    if x == 0.0 {
        return 1.0;
    }
    if x >= 1.0 {
        return 0.0;
    }
    let angle = x * PI;
    // PIL's two constants are single precision; the cosine is double.
    angle.sin() / angle * (f64::from(0.54_f32) + f64::from(0.46_f32) * angle.cos())
}

fn cubic(x: f64) -> f64 {
    const A: f64 = -0.5;
    if x < 1.0 {
        ((A + 2.0) * x - (A + 3.0)) * x * x + 1.0
    } else if x < 2.0 {
        (((x - 5.0) * x + 8.0) * x - 4.0) * A
    } else {
        0.0
    }
}
