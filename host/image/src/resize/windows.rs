//! Which source pixels each new pixel is made of, and how much each counts.

use crate::filter::Filter;

/// Fractional bits of PIL's weights: 32 bits less 8 for the pixel and 2 for sums beyond white or below black. PyTorch has no more.
const PRECISION_BITS: u32 = 32 - 8 - 2;

/// The windows of one axis, in the order of the new pixels.
pub(super) struct Windows {
    starts: Vec<usize>,
    /// Where each window's weights end in `weights`; they begin where the one before ends.
    ends: Vec<usize>,
    weights: Vec<i32>,
    /// Fractional bits of the weights.
    precision: u32,
}

/// The source pixels of one new pixel.
#[derive(Clone, Copy)]
pub(super) struct Window<'a> {
    /// The first of them.
    pub start: usize,
    /// The weight of each, in units of 2^-precision.
    pub weights: &'a [i32],
}

impl Windows {
    /// The most bytes that making such windows takes.
    pub(super) fn most_bytes(from: u32, to: u32, filter: Filter) -> u64 {
        let stretch = (f64::from(from) / f64::from(to)).max(1.0);
        let width = ((2.0 * filter.support() * stretch) as u64).saturating_add(2);
        // Exact and rounded weights; lists that grow have room for twice what is in them. Where a window begins and ends.
        let weights = width.min(from.into()).saturating_mul(2 * 8 + 4);
        u64::from(to).saturating_mul(weights.saturating_add(2 * 8))
    }

    /// The windows that turn `from` pixels into `to`. Formula and rounding are those of `precompute_coeffs` and
    /// `normalize_coeffs_8bpc` in PIL's `Resample.c`, or the precision is that of PyTorch.
    pub(super) fn new(from: u32, to: u32, filter: Filter) -> Windows {
        let scale = f64::from(from) / f64::from(to);
        let stretch = scale.max(1.0);
        let support = filter.support() * stretch;
        let squeeze = 1.0 / stretch;

        let mut windows = Windows {
            starts: Vec::with_capacity(to as usize),
            ends: Vec::with_capacity(to as usize),
            weights: Vec::new(),
            precision: PRECISION_BITS,
        };
        let mut exact: Vec<f64> = Vec::with_capacity(to as usize);
        for index in 0..to {
            let centre = (f64::from(index) + 0.5) * scale;
            // Casts drop the fraction, and what is below zero.
            let start = (centre - support + 0.5) as usize;
            let end = ((centre + support + 0.5) as usize).min(from as usize);

            let begin = exact.len();
            exact.extend((start..end).map(|x| filter.weight((x as f64 - centre + 0.5) * squeeze)));
            let total: f64 = exact[begin..].iter().sum();
            if total != 0.0 {
                exact[begin..].iter_mut().for_each(|weight| *weight /= total);
            }
            windows.starts.push(start);
            windows.ends.push(exact.len());
        }
        if filter == Filter::TorchBilinear {
            windows.precision = torch_precision(exact.iter().copied().fold(0.0, f64::max));
        }
        let precision = windows.precision;
        windows.weights = exact
            .iter()
            .map(|weight| fixed_point(*weight, precision))
            .collect();
        windows
    }

    /// Fractional bits of the weights.
    pub(super) fn precision(&self) -> u32 {
        self.precision
    }

    /// How many new pixels there are.
    pub(super) fn len(&self) -> usize {
        self.starts.len()
    }

    /// The windows, in the order of the new pixels.
    pub(super) fn iter(&self) -> impl Iterator<Item = Window<'_>> {
        let begins = std::iter::once(0).chain(self.ends.iter().copied());
        self.starts
            .iter()
            .zip(begins)
            .zip(&self.ends)
            .map(|((&start, begin), &end)| Window {
                start,
                weights: &self.weights[begin..end],
            })
    }
}

/// A weight rounded to the nearest fixed-point number, halves away from zero.
fn fixed_point(weight: f64, precision: u32) -> i32 {
    let scaled = weight * f64::from(1 << precision);
    (scaled + if weight < 0.0 { -0.5 } else { 0.5 }) as i32
}

/// The most fractional bits with which the greatest weight fits 16 bits, sign included.
fn torch_precision(greatest: f64) -> u32 {
    let fits = |bits: &u32| ((0.5 + greatest * f64::from(1 << bits)) as i32) < 1 << 15;
    (1..=PRECISION_BITS).take_while(fits).last().unwrap_or(1)
}
