//! Operators and short names on [`Tensor`].
//!
//! `&a + &b`, `- * /` broadcast as NumPy does; an `f32` may stand on either side. Axes count from 0, or from the end where they are negative.

use std::ops::{Add, Div, Mul, Neg, Sub};

use crate::{BinaryOperation, Error, Kind, Reduction, Result, SelfAttention, Tensor, UnaryOperation, full};

macro_rules! operator {
    ($trait:ident, $method:ident, $operation:ident) => {
        impl $trait<&Tensor> for &Tensor {
            type Output = Tensor;
            fn $method(self, other: &Tensor) -> Tensor {
                self.binary(BinaryOperation::$operation, other)
            }
        }
        impl $trait<Tensor> for &Tensor {
            type Output = Tensor;
            fn $method(self, other: Tensor) -> Tensor {
                self.binary(BinaryOperation::$operation, &other)
            }
        }
        impl $trait<&Tensor> for Tensor {
            type Output = Tensor;
            fn $method(self, other: &Tensor) -> Tensor {
                self.binary(BinaryOperation::$operation, other)
            }
        }
        impl $trait<Tensor> for Tensor {
            type Output = Tensor;
            fn $method(self, other: Tensor) -> Tensor {
                self.binary(BinaryOperation::$operation, &other)
            }
        }
    };
}

operator!(Add, add, Add);
operator!(Sub, sub, Subtract);
operator!(Mul, mul, Multiply);
operator!(Div, div, Divide);

macro_rules! scalar_operator {
    ($trait:ident, $method:ident, $value:ident => $scale:expr, $shift:expr) => {
        impl $trait<f32> for &Tensor {
            type Output = Tensor;
            fn $method(self, $value: f32) -> Tensor {
                self.scale_shift($scale, $shift)
            }
        }
        impl $trait<f32> for Tensor {
            type Output = Tensor;
            fn $method(self, $value: f32) -> Tensor {
                self.scale_shift($scale, $shift)
            }
        }
    };
}

scalar_operator!(Add, add, value => 1.0, value);
scalar_operator!(Sub, sub, value => 1.0, -value);
scalar_operator!(Mul, mul, value => value, 0.0);

impl Div<f32> for &Tensor {
    type Output = Tensor;
    fn div(self, value: f32) -> Tensor {
        self.binary(BinaryOperation::Divide, &full(&[], value))
    }
}

impl Div<f32> for Tensor {
    type Output = Tensor;
    fn div(self, value: f32) -> Tensor {
        &self / value
    }
}

macro_rules! scalar_before {
    ($trait:ident, $method:ident, ($value:ident, $x:ident) => $result:expr) => {
        impl $trait<&Tensor> for f32 {
            type Output = Tensor;
            fn $method(self, $x: &Tensor) -> Tensor {
                let $value = self;
                $result
            }
        }
        impl $trait<Tensor> for f32 {
            type Output = Tensor;
            fn $method(self, x: Tensor) -> Tensor {
                self.$method(&x)
            }
        }
    };
}

scalar_before!(Add, add, (value, x) => x.scale_shift(1.0, value));
scalar_before!(Sub, sub, (value, x) => x.scale_shift(-1.0, value));
scalar_before!(Mul, mul, (value, x) => x.scale_shift(value, 0.0));
scalar_before!(Div, div, (value, x) => full(&[], value).binary(BinaryOperation::Divide, x));

impl Neg for Tensor {
    type Output = Tensor;
    fn neg(self) -> Tensor {
        -&self
    }
}

/// The same values; nothing is copied.
impl Clone for Tensor {
    fn clone(&self) -> Self {
        self.reshape(&self.shape())
    }
}

/// A dimension of a tensor: counted from 0, or from the end where it is negative.
pub trait Axis: Copy {
    /// Its number among so many. What is not among them stays so, and the operation that gets it says it.
    fn among(self, rank: usize) -> u32;
}

impl Axis for i32 {
    fn among(self, rank: usize) -> u32 {
        let from_end = i32::try_from(rank).unwrap_or(i32::MAX).saturating_add(self);
        match self < 0 && from_end >= 0 {
            true => from_end as u32,
            false => self as u32,
        }
    }
}

impl Axis for u32 {
    fn among(self, _rank: usize) -> u32 {
        self
    }
}

impl Axis for usize {
    fn among(self, _rank: usize) -> u32 {
        u32::try_from(self).unwrap_or(u32::MAX)
    }
}

/// A shape in which the dimensions `first..=last` are one.
fn flattened(shape: &[u32], first: u32, last: u32) -> Vec<u32> {
    let (first, last) = (first as usize, last as usize);
    match first <= last && last < shape.len() {
        true => {
            let size = shape[first..=last].iter().product();
            [&shape[..first], &[size], &shape[last + 1..]].concat()
        }
        false => shape.to_vec(),
    }
}

/// A shape with one more dimension, of size 1.
fn unsqueezed(shape: &[u32], axis: u32) -> Vec<u32> {
    let (before, after) = shape.split_at((axis as usize).min(shape.len()));
    [before, &[1], after].concat()
}

impl Neg for &Tensor {
    type Output = Tensor;
    fn neg(self) -> Tensor {
        self.unary(UnaryOperation::Negate)
    }
}

impl SelfAttention {
    /// Everything sees everything; scores are multiplied by 1/√dim.
    pub fn of_heads(dim: u32) -> Self {
        Self {
            scale: 1.0 / (dim as f32).sqrt(),
            softcap: None,
            causal: false,
            segments: vec![],
        }
    }
}

impl Tensor {
    /// The size of one dimension, which must be there.
    pub fn dimension(&self, axis: impl Axis) -> u32 {
        let shape = self.shape();
        shape[axis.among(shape.len()) as usize]
    }

    /// Its number of a dimension.
    fn axis(&self, axis: impl Axis) -> u32 {
        axis.among(self.shape().len())
    }

    /// The shape, when it has `N` dimensions; fails with `what` this tensor is supposed to be.
    pub fn dimensions<const N: usize>(&self, what: &str) -> Result<[u32; N]> {
        let shape = self.shape();
        shape.as_slice().try_into().map_err(|_| {
            Error::new(format_args!(
                "{what} has shape {shape:?}, expected {N} dimensions"
            ))
        })
    }

    /// `x · sigmoid(x)`
    pub fn silu(&self) -> Tensor {
        self.unary(UnaryOperation::Silu)
    }

    /// `1 / (1 + e⁻ˣ)`
    pub fn sigmoid(&self) -> Tensor {
        self.unary(UnaryOperation::Sigmoid)
    }

    /// `softcap · tanh(x / softcap)` (arXiv:2408.00118).
    pub fn softcap(&self, softcap: f32) -> Tensor {
        (self * (1.0 / softcap)).unary(UnaryOperation::HyperbolicTangent) * softcap
    }

    /// Sum over the listed dimensions, which vanish.
    pub fn sum(&self, axes: &[u32]) -> Tensor {
        self.reduce(Reduction::Sum, axes, false)
    }

    /// Mean over the listed dimensions, which vanish.
    pub fn mean(&self, axes: &[u32]) -> Tensor {
        self.reduce(Reduction::Mean, axes, false)
    }

    /// Elements `start..end` of one dimension.
    pub fn narrow(&self, axis: impl Axis, start: u32, end: u32) -> Tensor {
        self.slice(self.axis(axis), start, end, 1)
    }

    /// Parts of these sizes along one dimension, one after another.
    pub fn split<const N: usize>(&self, sizes: [u32; N], axis: impl Axis) -> [Tensor; N] {
        let mut start = 0;
        sizes.map(|size| {
            start += size;
            self.narrow(self.axis(axis), start - size, start)
        })
    }

    /// A dimension of size 1 before dimension `axis`; -1 puts it at the end.
    pub fn unsqueeze(&self, axis: impl Axis) -> Tensor {
        let shape = self.shape();
        self.reshape(&unsqueezed(&shape, axis.among(shape.len() + 1)))
    }

    /// Dimensions `first` to `last`, the last included, as one.
    pub fn flatten(&self, first: impl Axis, last: impl Axis) -> Tensor {
        self.reshape(&flattened(&self.shape(), self.axis(first), self.axis(last)))
    }

    /// 1 where elements are equal, else 0; int.
    pub fn equal(&self, other: &Tensor) -> Tensor {
        self.binary(BinaryOperation::Equal, other)
    }

    /// 1 where this is less, else 0; int.
    pub fn less(&self, other: &Tensor) -> Tensor {
        self.binary(BinaryOperation::Less, other)
    }

    /// 1 where this is greater, else 0; int.
    pub fn greater(&self, other: &Tensor) -> Tensor {
        self.binary(BinaryOperation::Greater, other)
    }

    /// The last two dimensions change places.
    pub fn transpose(&self) -> Tensor {
        let rank = self.shape().len() as u32;
        let mut axes: Vec<u32> = (0..rank).collect();
        axes.swap(rank as usize - 2, rank as usize - 1);
        self.permute(&axes)
    }

    /// As floats.
    pub fn to_float(&self) -> Tensor {
        self.cast(Kind::Float)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn axes_count_from_either_end() {
        assert_eq!([0, 2, -1, -3].map(|axis: i32| axis.among(3)), [0, 2, 2, 0]);
        assert_eq!((1_u32.among(3), 2_usize.among(3)), (1, 2));
        // What is not there is left to the host, which says so.
        assert!((-4_i32).among(3) > 7 && 3_i32.among(3) == 3);
    }

    #[test]
    fn dimensions_come_and_go() {
        assert_eq!(flattened(&[2, 3, 4, 5], 1, 2), [2, 12, 5]);
        assert_eq!(flattened(&[2, 3], 0, 1), [6]);
        assert_eq!(unsqueezed(&[2, 3], 0), [1, 2, 3]);
        assert_eq!(unsqueezed(&[2, 3], 2), [2, 3, 1]);
    }
}
