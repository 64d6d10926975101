//! Operations element by element.

use super::movement::part;
use super::operands::{broadcast, float, int, same_kind};
use super::{Facts, Parts, Placement};
use crate::operation::{Binary, Kind, Unary};
use crate::program::ValueType;

/// What is done to each element.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Elementwise {
    /// [`crate::operation::Op::Unary`]
    Unary(Unary),
    /// [`crate::operation::Op::Binary`]
    Binary(Binary),
    /// [`crate::operation::Op::ScaleShift`]
    ScaleShift {
        /// Multiplies.
        scale: f32,
        /// Is added.
        shift: f32,
    },
    /// [`crate::operation::Op::Clamp`]
    Clamp {
        /// The least result.
        low: f32,
        /// The greatest result.
        high: f32,
    },
    /// [`crate::operation::Op::Select`]
    Select,
    /// [`crate::operation::Op::ToFloat`]
    ToFloat,
    /// [`crate::operation::Op::ToInt`]
    ToInt,
}

pub fn unary(kind: &Unary) -> Facts<'_> {
    let facts = Facts::new("unary", move |operands| {
        let x = operands.one()?;
        match kind {
            Unary::Negate | Unary::Absolute | Unary::Square => Ok(x.clone()),
            Unary::Exponential
            | Unary::Logarithm
            | Unary::SquareRoot
            | Unary::ReciprocalSquareRoot
            | Unary::Sine
            | Unary::Cosine
            | Unary::HyperbolicTangent
            | Unary::Sigmoid
            | Unary::Relu
            | Unary::Silu
            | Unary::Gelu
            | Unary::GeluTanh
            | Unary::QuickGelu
            | Unary::Softplus => Ok(float(x)?.clone()),
        }
    });
    let facts = facts.placed_by(|_, output| match output.kind {
        Kind::Float => Placement::InPlace,
        Kind::Int => Placement::New,
    });
    Facts {
        detail: Some(kind),
        elementwise: Some(Elementwise::Unary(*kind)),
        ..facts.parted(Parts::First)
    }
}

pub fn binary(kind: &Binary) -> Facts<'_> {
    let facts = Facts::new("binary", move |operands| {
        let [a, b] = operands.take::<2>()?;
        same_kind(a, b)?;
        let shape = broadcast(&a.shape, &b.shape)?;
        match kind {
            Binary::Equal | Binary::Less | Binary::Greater => Ok(ValueType::int(shape)),
            Binary::Divide | Binary::Power => {
                float(a)?;
                Ok(ValueType::float(shape))
            }
            Binary::Add | Binary::Subtract | Binary::Multiply | Binary::Maximum | Binary::Minimum => {
                Ok(ValueType { shape, kind: a.kind })
            }
        }
    });
    Facts {
        detail: Some(kind),
        elementwise: Some(Elementwise::Binary(*kind)),
        ..facts.parted(Parts::Broadcast)
    }
}

pub fn scale_shift(scale: f32, shift: f32) -> Facts<'static> {
    Facts {
        elementwise: Some(Elementwise::ScaleShift { scale, shift }),
        ..on_same_floats("scale-shift")
    }
}

pub fn clamp(low: f32, high: f32) -> Facts<'static> {
    Facts {
        elementwise: Some(Elementwise::Clamp { low, high }),
        ..on_same_floats("clamp")
    }
}

fn on_same_floats(name: &'static str) -> Facts<'static> {
    let facts = Facts::new(name, |operands| Ok(float(operands.one()?)?.clone()));
    facts.placed(Placement::InPlace).parted(Parts::First)
}

pub fn select() -> Facts<'static> {
    let facts = Facts::new("select", |operands| {
        let [condition, a, b] = operands.take::<3>()?;
        int(condition)?;
        same_kind(a, b)?;
        let shape = broadcast(&broadcast(&condition.shape, &a.shape)?, &b.shape)?;
        Ok(ValueType { shape, kind: a.kind })
    });
    Facts {
        elementwise: Some(Elementwise::Select),
        ..facts.parted(Parts::Broadcast)
    }
}

pub fn to_float() -> Facts<'static> {
    cast(Elementwise::ToFloat, Kind::Float)
}

pub fn to_int() -> Facts<'static> {
    cast(Elementwise::ToInt, Kind::Int)
}

fn cast(elementwise: Elementwise, kind: Kind) -> Facts<'static> {
    let facts = Facts::new("cast", move |operands| {
        let shape = operands.one()?.shape.clone();
        Ok(ValueType { shape, kind })
    });
    let facts = facts.placed_by(|inputs, output| part(inputs[0].kind == output.kind));
    Facts {
        elementwise: Some(elementwise),
        ..facts.parted(Parts::First)
    }
}
