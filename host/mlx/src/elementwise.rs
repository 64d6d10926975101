//! Operations element by element.

use std::f32::consts::{FRAC_1_SQRT_2, PI};

use mlx_rs::ops::{
    abs, cos, divide, eq, erf, exp, gt, log, logaddexp, lt, maximum, minimum, multiply, ne, negative, power,
    rsqrt, select as choose, sigmoid, sin, sqrt, square, subtract, tanh,
};
use mlx_rs::{Array, Dtype};
use monocle_tensor::operation::{Binary, Unary};

use super::array::number;
use super::error::Result;

pub fn unary(kind: Unary, x: &Array) -> Result {
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

pub fn binary(kind: Binary, a: &Array, b: &Array) -> Result {
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

pub fn scale_shift(x: &Array, scale: f32, shift: f32) -> Result {
    let scaled = match scale == 1.0 {
        true => x.clone(),
        false => multiply(x, number(scale, x)?)?,
    };
    Ok(match shift == 0.0 {
        true => scaled,
        false => scaled.add(number(shift, x)?)?,
    })
}

pub fn clamp(x: &Array, low: f32, high: f32) -> Result {
    Ok(minimum(maximum(x, number(low, x)?)?, number(high, x)?)?)
}

pub fn select(condition: &Array, a: &Array, b: &Array) -> Result {
    Ok(choose(ne(condition, Array::from_int(0))?, a, b)?)
}

/// Towards zero; what no integer can hold becomes the nearest that can, not-a-number zero.
pub fn to_int(x: &Array) -> Result {
    if x.dtype() == Dtype::Int32 {
        return Ok(x.clone());
    }
    let x = x.as_dtype(Dtype::Float32)?;
    let known = choose(eq(&x, &x)?, &x, Array::from_f32(0.0))?;
    // The largest float below 2³¹.
    let bounded = clamp(&known, i32::MIN as f32, 2_147_483_520.0)?;
    let top = mlx_rs::ops::ge(&known, Array::from_f32(2_147_483_648.0))?;
    Ok(choose(
        top,
        Array::from_int(i32::MAX),
        bounded.as_dtype(Dtype::Int32)?,
    )?)
}
