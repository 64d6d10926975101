//! Operations along the last dimension: norms, softmax, the largest elements.

use crate::lanes::{Kernel, Lanes};
use crate::math;
use monocle_tensor::operation::Reduction;

/// `x / √(mean(x²) + eps) · (weight + offset)` of each row.
pub struct RmsNorm<'a> {
    /// The rows.
    pub x: &'a [f32],
    /// One a column.
    pub weight: Option<&'a [f32]>,
    /// Added to the mean of squares.
    pub epsilon: f32,
    /// Added to the weight.
    pub offset: f32,
    /// Columns.
    pub width: usize,
    /// The result.
    pub out: &'a mut [f32],
}

impl Kernel for RmsNorm<'_> {
    type Output = ();

    #[inline(always)]
    fn run<V: Lanes>(self) {
        for (x, out) in self
            .x
            .chunks_exact(self.width)
            .zip(self.out.chunks_exact_mut(self.width))
        {
            let squares = sum::<V, true>(x);
            let scale = 1.0 / (squares / self.width as f32 + self.epsilon).sqrt();
            let factor = V::splat(scale);
            let offset = V::splat(self.offset);
            for start in (0..self.width).step_by(V::COUNT) {
                let values = load_part::<V>(x, start, 0.0).mul(factor);
                let values = match self.weight {
                    Some(weight) => values.mul(load_part::<V>(weight, start, 0.0).add(offset)),
                    None => values,
                };
                store_part(values, out, start);
            }
        }
    }
}

/// `(x - mean) / √(variance + eps) · weight + bias` of each row.
pub struct LayerNorm<'a> {
    /// The rows.
    pub x: &'a [f32],
    /// One a column.
    pub weight: &'a [f32],
    /// One a column.
    pub bias: Option<&'a [f32]>,
    /// Added to the variance.
    pub epsilon: f32,
    /// Columns.
    pub width: usize,
    /// The result.
    pub out: &'a mut [f32],
}

impl Kernel for LayerNorm<'_> {
    type Output = ();

    #[inline(always)]
    fn run<V: Lanes>(self) {
        for (x, out) in self
            .x
            .chunks_exact(self.width)
            .zip(self.out.chunks_exact_mut(self.width))
        {
            let mean = sum::<V, false>(x) / self.width as f32;
            let center = V::splat(mean);
            // The vector beyond the end holds the mean, so that it adds nothing.
            let mut squares = V::splat(0.0);
            for start in (0..self.width).step_by(V::COUNT) {
                let distance = load_part::<V>(x, start, mean).sub(center);
                squares = distance.mul_add(distance, squares);
            }
            let scale = V::splat(1.0 / (squares.sum() / self.width as f32 + self.epsilon).sqrt());
            for start in (0..self.width).step_by(V::COUNT) {
                let values = load_part::<V>(x, start, 0.0).sub(center).mul(scale);
                let values = values.mul(load_part::<V>(self.weight, start, 0.0));
                let values = match self.bias {
                    Some(bias) => values.add(load_part::<V>(bias, start, 0.0)),
                    None => values,
                };
                store_part(values, out, start);
            }
        }
    }
}

/// Softmax of each row, in place.
pub struct Softmax<'a> {
    /// Columns.
    pub width: usize,
    /// Operand and result.
    pub values: &'a mut [f32],
}

impl Kernel for Softmax<'_> {
    type Output = ();

    #[inline(always)]
    fn run<V: Lanes>(self) {
        for row in self.values.chunks_exact_mut(self.width) {
            let mut largest = V::splat(f32::NEG_INFINITY);
            for start in (0..row.len()).step_by(V::COUNT) {
                largest = load_part::<V>(row, start, f32::NEG_INFINITY).max(largest);
            }
            let largest = V::splat(largest.largest());
            let mut total = V::splat(0.0);
            for start in (0..row.len()).step_by(V::COUNT) {
                let values = math::exp(load_part::<V>(row, start, f32::NEG_INFINITY).sub(largest));
                total = total.add(values);
                store_part(values, row, start);
            }
            let factor = V::splat(1.0 / total.sum());
            for start in (0..row.len()).step_by(V::COUNT) {
                store_part(load_part::<V>(row, start, 0.0).mul(factor), row, start);
            }
        }
    }
}

/// The sum of all elements, or of their squares.
#[inline(always)]
fn sum<V: Lanes, const SQUARED: bool>(x: &[f32]) -> f32 {
    let mut sums = [V::splat(0.0); 2];
    for start in (0..x.len()).step_by(2 * V::COUNT) {
        for (part, sum) in sums.iter_mut().enumerate() {
            let start = start + part * V::COUNT;
            if start < x.len() {
                let values = load_part::<V>(x, start, 0.0);
                *sum = if SQUARED {
                    values.mul_add(values, *sum)
                } else {
                    sum.add(values)
                };
            }
        }
    }
    sums[0].add(sums[1]).sum()
}

/// A vector from `start` on; lanes beyond the end hold `fill`.
#[inline(always)]
pub fn load_part<V: Lanes>(x: &[f32], start: usize, fill: f32) -> V {
    if start + V::COUNT <= x.len() {
        // SAFETY: in bounds.
        return unsafe { V::load(x.as_ptr().add(start)) };
    }
    let mut last = [fill; 32];
    last[..x.len() - start].copy_from_slice(&x[start..]);
    // SAFETY: `last` holds any vector.
    unsafe { V::load(last.as_ptr()) }
}

/// Stores a vector from `start` on, as far as there is room.
#[inline(always)]
pub fn store_part<V: Lanes>(values: V, out: &mut [f32], start: usize) {
    if start + V::COUNT <= out.len() {
        // SAFETY: in bounds.
        unsafe { values.store(out.as_mut_ptr().add(start)) };
        return;
    }
    let mut last = [0.0_f32; 32];
    // SAFETY: `last` holds any vector.
    unsafe { values.store(last.as_mut_ptr()) };
    let len = out.len() - start;
    out[start..].copy_from_slice(&last[..len]);
}

/// Indices of the `out.len()` largest elements, largest first, the lowest index first among equals.
pub fn top_k(x: &[f32], out: &mut [i32]) {
    let mut order: Vec<i32> = (0..x.len() as i32).collect();
    let compare = |a: &i32, b: &i32| {
        let (x, y) = (x[*a as usize], x[*b as usize]);
        // By value first: the total order would tell 0 from -0. Not-a-number goes first, as in PyTorch.
        y.partial_cmp(&x)
            .unwrap_or_else(|| y.is_nan().cmp(&x.is_nan()))
            .then(a.cmp(b))
    };
    let k = out.len();
    if k < order.len() {
        order.select_nth_unstable_by(k, compare);
        order.truncate(k);
    }
    order.sort_unstable_by(compare);
    out.copy_from_slice(&order);
}

/// Sum, mean or maximum of each row.
pub struct Reduce<'a> {
    /// How elements combine.
    pub reduction: Reduction,
    /// Columns: one at least.
    pub width: usize,
    /// The rows.
    pub x: &'a [f32],
    /// One a row.
    pub out: &'a mut [f32],
}

impl Kernel for Reduce<'_> {
    type Output = ();

    #[inline(always)]
    fn run<V: Lanes>(self) {
        for (row, out) in self.x.chunks_exact(self.width).zip(self.out) {
            *out = match self.reduction {
                Reduction::Sum => sum::<V, false>(row),
                Reduction::Mean => sum::<V, false>(row) / self.width as f32,
                Reduction::Maximum => row.iter().copied().fold(f32::NEG_INFINITY, f32::max),
            };
        }
    }
}
