//! Operations element by element.

use std::f32::consts::{FRAC_1_SQRT_2, PI};

use mlx_rs::ops::{
    abs, cos, divide, eq, erf, exp, gt, log, logaddexp, lt, maximum, minimum, multiply, ne, negative, power,
    rsqrt, select as choose, sigmoid, sin, sqrt, square, subtract, tanh,
};
use mlx_rs::{Array, Dtype};
use monocle_tensor::operation::{Binary, Kind, Op, Unary};

use super::array::number;
use super::error::{Result, device};

/// Whether an operation is one of these.
pub fn is(op: &Op) -> bool {
    matches!(
        op,
        Op::Unary(_)
            | Op::Binary(_)
            | Op::ScaleShift { .. }
            | Op::Clamp { .. }
            | Op::Select
            | Op::ToFloat
            | Op::ToInt
    )
}

/// Numbers that an operation brings along: operands after its own.
pub fn numbers(op: &Op) -> Vec<f32> {
    match op {
        Op::ScaleShift { scale, shift } => vec![*scale, *shift],
        Op::Clamp { low, high } => vec![*low, *high],
        _ => Vec::new(),
    }
}

/// Kernels that MLX launches for an operation on operands of this kind.
pub fn kernels(op: &Op, kind: Kind) -> usize {
    match op {
        Op::Unary(Unary::Silu) | Op::Select | Op::Clamp { .. } => 2,
        Op::Unary(Unary::QuickGelu) => 3,
        Op::Unary(Unary::Gelu) => 5,
        Op::Unary(Unary::GeluTanh) => 9,
        Op::Binary(Binary::Equal | Binary::Less | Binary::Greater) => 2,
        Op::ScaleShift { scale, shift } => usize::from(*scale != 1.0) + usize::from(*shift != 0.0),
        Op::ToFloat => usize::from(kind == Kind::Int),
        Op::ToInt if kind == Kind::Int => 0,
        Op::ToInt => 7,
        _ => 1,
    }
}

/// One operation on its operands and its numbers.
pub fn apply(op: &Op, operands: &[&Array], float: Dtype) -> Result {
    match (op, operands) {
        (Op::Unary(kind), [x]) => unary(*kind, x),
        (Op::Binary(kind), [a, b]) => binary(*kind, a, b),
        (Op::ScaleShift { scale, shift }, [x, by, plus]) => {
            let scaled = match *scale == 1.0 {
                true => (*x).clone(),
                false => multiply(x, by)?,
            };
            Ok(match *shift == 0.0 {
                true => scaled,
                false => scaled.add(plus)?,
            })
        }
        (Op::Clamp { .. }, [x, low, high]) => clamp(x, low, high),
        (Op::Select, [condition, a, b]) => select(condition, a, b),
        (Op::ToFloat, [x]) => Ok(x.as_dtype(float)?),
        (Op::ToInt, [x]) => to_int(x),
        _ => Err(device(format!("`{}` of {} operands", op.full_name(), operands.len())).into()),
    }
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
