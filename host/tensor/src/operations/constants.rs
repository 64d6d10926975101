//! What a program starts from: its inputs, constants, weights.

use std::sync::Arc;

use super::operands::{Inferred, Operands, product};
use super::{Constant, Facts, Origin, Parts, Placement};
use crate::operation::{Kind, WeightId};
use crate::program::ValueType;
use crate::stored::Weight;

pub fn input(number: u32) -> Facts<'static> {
    let facts = Facts::new("input", |_| Err("inputs are given by the host".to_owned()));
    Facts {
        origin: Origin::Input(number),
        ..facts.placed(Placement::Given).works(|_| 0)
    }
}

pub fn floats(values: &Arc<[f32]>) -> Facts<'_> {
    Facts {
        constant: Some(Constant::Floats(values)),
        numbers: values.len(),
        ..constant("floats", |operands| filled(values.len(), operands, Kind::Float))
    }
}

pub fn ints(values: &Arc<[i32]>) -> Facts<'_> {
    Facts {
        constant: Some(Constant::Ints(values)),
        numbers: values.len(),
        ..constant("ints", |operands| filled(values.len(), operands, Kind::Int))
    }
}

pub fn full() -> Facts<'static> {
    constant("full", |operands| Ok(ValueType::float(operands.shape()?))).parted(Parts::Alike)
}

pub fn weight(id: WeightId) -> Facts<'static> {
    let facts = constant("parameter.value", move |operands| match operands.weight(id)? {
        Weight::Tensor(tensor) => Ok(ValueType::float(tensor.shape.clone())),
        other => Err(format!("weight `{}` was not asked for as a tensor", other.name())),
    });
    Facts {
        weight: Some(id),
        ..facts.placed(Placement::Given)
    }
}

fn constant<'a>(name: &'static str, rule: impl Fn(&Operands<'_>) -> Inferred + 'a) -> Facts<'a> {
    Facts {
        origin: Origin::Constant,
        ..Facts::new(name, rule).works(|_| 0)
    }
}

fn filled(values: usize, operands: &Operands<'_>, kind: Kind) -> Inferred {
    let shape = operands.shape()?;
    let elements = product(&shape)?;
    if values != elements {
        return Err(format!(
            "{values} values do not fill {shape:?}, which has {elements}"
        ));
    }
    Ok(ValueType { shape, kind })
}
