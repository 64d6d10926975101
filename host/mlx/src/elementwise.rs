//! Operations element by element.

use std::f32::consts::{FRAC_1_SQRT_2, PI};

use mlx_rs::ops::{
    abs, cos, divide, eq, erf, exp, gt, log, logaddexp, lt, maximum, minimum, multiply, ne, negative, power,
    rsqrt, select as choose, sigmoid, sin, sqrt, square, subtract, tanh,
};
use mlx_rs::{Array, Dtype};
use monocle_tensor::operation::{Binary, Kind, Unary};
use monocle_tensor::operations::Elementwise;

use super::array::number;
use super::error::{Result, device};

/// Numbers that an operation brings along: operands after its own.
pub fn numbers(op: Elementwise) -> Vec<f32> {
    match op {
        Elementwise::ScaleShift { scale, shift } => vec![scale, shift],
        Elementwise::Clamp { low, high } => vec![low, high],
        Elementwise::Unary(_)
        | Elementwise::Binary(_)
        | Elementwise::Select
        | Elementwise::ToFloat
        | Elementwise::ToInt => Vec::new(),
    }
}

/// Kernels that MLX launches for an operation on operands of this kind.
pub fn kernels(op: Elementwise, kind: Kind) -> usize {
    match op {
        Elementwise::Unary(unary) => match unary {
            Unary::Silu => 2,
            Unary::QuickGelu => 3,
            Unary::Gelu => 5,
            Unary::GeluTanh => 9,
            Unary::Negate
            | Unary::Absolute
            | Unary::Exponential
            | Unary::Logarithm
            | Unary::SquareRoot
            | Unary::ReciprocalSquareRoot
            | Unary::Square
            | Unary::Sine
            | Unary::Cosine
            | Unary::HyperbolicTangent
            | Unary::Sigmoid
            | Unary::Relu
            | Unary::Softplus => 1,
        },
        Elementwise::Binary(binary) => match binary {
            Binary::Equal | Binary::Less | Binary::Greater => 2,
            Binary::Add
            | Binary::Subtract
            | Binary::Multiply
            | Binary::Divide
            | Binary::Maximum
            | Binary::Minimum
            | Binary::Power => 1,
        },
        Elementwise::ScaleShift { scale, shift } => usize::from(scale != 1.0) + usize::from(shift != 0.0),
        Elementwise::Clamp { .. } | Elementwise::Select => 2,
        Elementwise::ToFloat => usize::from(kind == Kind::Int),
        Elementwise::ToInt => match kind {
            Kind::Int => 0,
            Kind::Float => 7,
        },
    }
}

/// One operation on its operands and its numbers.
pub fn apply(op: Elementwise, operands: &[&Array], float: Dtype) -> Result {
    match op {
        Elementwise::Unary(kind) => unary(kind, take::<1>(operands)?[0]),
        Elementwise::Binary(kind) => {
            let [a, b] = take(operands)?;
            binary(kind, a, b)
        }
        Elementwise::ScaleShift { scale, shift } => {
            let [x, by, plus] = take(operands)?;
            let scaled = match scale == 1.0 {
                true => x.clone(),
                false => multiply(x, by)?,
            };
            Ok(match shift == 0.0 {
                true => scaled,
                false => scaled.add(plus)?,
            })
        }
        Elementwise::Clamp { .. } => {
            let [x, low, high] = take(operands)?;
            clamp(x, low, high)
        }
        Elementwise::Select => {
            let [condition, a, b] = take(operands)?;
            select(condition, a, b)
        }
        Elementwise::ToFloat => Ok(take::<1>(operands)?[0].as_dtype(float)?),
        Elementwise::ToInt => to_int(take::<1>(operands)?[0]),
    }
}

fn take<'a, const N: usize>(operands: &[&'a Array]) -> Result<[&'a Array; N]> {
    operands
        .try_into()
        .map_err(|_| device(format!("an operation takes {N} operands, not {}", operands.len())).into())
}

fn unary(kind: Unary, x: &Array) -> Result {
    Ok(match kind {
        Unary::Negate => negative(x)?,
        Unary::Absolute => abs(x)?,
        Unary::Exponential => exp(x)?,
        Unary::Logarithm => log(x)?,
        Unary::SquareRoot => sqrt(x)?,
        Unary::ReciprocalSquareRoot => rsqrt(x)?,
        Unary::Square => square(x)?,
        Unary::Sine => sin(x)?,
        Unary::Cosine => cos(x)?,
        Unary::HyperbolicTangent => tanh(x)?,
        Unary::Sigmoid => sigmoid(x)?,
        Unary::Relu => maximum(x, number(0.0, x)?)?,
        Unary::Silu => multiply(x, sigmoid(x)?)?,
        Unary::Gelu => {
            let error = erf(multiply(x, number(FRAC_1_SQRT_2, x)?)?)?;
            half_times(x, &error)?
        }
        Unary::GeluTanh => {
            let cube = multiply(multiply(square(x)?, x)?, number(0.044715, x)?)?;
            let inner = multiply(cube.add(x)?, number((2.0 / PI).sqrt(), x)?)?;
            half_times(x, &tanh(inner)?)?
        }
        Unary::QuickGelu => multiply(x, sigmoid(multiply(x, number(1.702, x)?)?)?)?,
        Unary::Softplus => logaddexp(x, number(0.0, x)?)?,
    })
}

/// `x/2 · (1 + y)`
fn half_times(x: &Array, y: &Array) -> Result {
    Ok(multiply(multiply(x, number(0.5, x)?)?, y.add(number(1.0, y)?)?)?)
}

fn binary(kind: Binary, a: &Array, b: &Array) -> Result {
    Ok(match kind {
        Binary::Add => a.add(b)?,
        Binary::Subtract => subtract(a, b)?,
        Binary::Multiply => multiply(a, b)?,
        Binary::Divide => divide(a, b)?,
        Binary::Maximum => maximum(a, b)?,
        Binary::Minimum => minimum(a, b)?,
        Binary::Power => power(a, b)?,
        Binary::Equal => eq(a, b)?.as_dtype(Dtype::Int32)?,
        Binary::Less => lt(a, b)?.as_dtype(Dtype::Int32)?,
        Binary::Greater => gt(a, b)?.as_dtype(Dtype::Int32)?,
    })
}

fn clamp(x: &Array, low: &Array, high: &Array) -> Result {
    Ok(minimum(maximum(x, low)?, high)?)
}

fn select(condition: &Array, a: &Array, b: &Array) -> Result {
    Ok(choose(ne(condition, Array::from_int(0))?, a, b)?)
}

/// Towards zero; what no integer can hold becomes the nearest that can, not-a-number zero.
fn to_int(x: &Array) -> Result {
    if x.dtype() == Dtype::Int32 {
        return Ok(x.clone());
    }
    let x = x.as_dtype(Dtype::Float32)?;
    let known = choose(eq(&x, &x)?, &x, Array::from_f32(0.0))?;
    // The largest float below 2³¹.
    let bounded = clamp(
        &known,
        &Array::from_f32(i32::MIN as f32),
        &Array::from_f32(2_147_483_520.0),
    )?;
    let top = mlx_rs::ops::ge(&known, Array::from_f32(2_147_483_648.0))?;
    Ok(choose(
        top,
        Array::from_int(i32::MAX),
        bounded.as_dtype(Dtype::Int32)?,
    )?)
}
