//! Operators and short names on [`Tensor`].
//!
//! `&a + &b`, `- * /` broadcast as NumPy does; with an `f32` on the right, `+ - *` shift or scale every element.

use std::ops::{Add, Div, Mul, Neg, Sub};

use crate::{BinaryOperation, Error, Kind, Reduction, Result, SelfAttention, Tensor, UnaryOperation};

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
    /// The size of one dimension. `axis` must be below the number of dimensions.
    pub fn dimension(&self, axis: usize) -> u32 {
        self.shape()[axis]
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
    pub fn narrow(&self, axis: u32, start: u32, end: u32) -> Tensor {
        self.slice(axis, start, end, 1)
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
