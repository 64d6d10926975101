//! Groups of operations as functions that MLX has compiled.

use std::cell::RefCell;
use std::sync::OnceLock;

use mlx_rs::error::Exception;
use mlx_rs::ops::{multiply, sigmoid};
use mlx_rs::transforms::compile::compile;
use mlx_rs::{Array, Dtype};

use super::elementwise::{self, numbers};
use super::error::{Error, Result};
use super::fuse::{Group, Operand, Step};

type Compiled = dyn FnMut(&[Array]) -> std::result::Result<Vec<Array>, Exception>;

/// A group made ready. It has a place of its own among the functions that MLX keeps, and leaves it when it is dropped.
pub struct Function {
    compiled: RefCell<Box<Compiled>>,
    /// What the operations bring along. MLX would write it into a kernel with seven digits: it comes in as operands.
    numbers: Vec<Array>,
}

impl Function {
    /// A group's.
    pub fn new(group: Group, float: Dtype) -> Result<Self> {
        let Group { inputs, steps } = group;
        let numbers: Vec<f32> = steps.iter().flat_map(|step| numbers(&step.op)).collect();
        let numbers: Vec<Array> = numbers
            .into_iter()
            .map(|value| super::array::scalar(value, float))
            .collect::<Result<_>>()?;
        let function = move |operands: &[Array]| match replay(&steps, operands, inputs.len(), float) {
            Ok(result) => Ok(vec![result]),
            Err(Error::Mlx(error)) => Err(error),
            Err(other) => Err(Exception::custom(other.to_string())),
        };
        Ok(Self {
            compiled: RefCell::new(Box::new(compile(function, false))),
            numbers,
        })
    }

    /// Its result.
    pub fn call(&self, mut operands: Vec<Array>) -> Result {
        operands.extend(self.numbers.iter().cloned());
        let mut results = (self.compiled.borrow_mut())(&operands)?;
        let result = results.pop();
        Ok(result.ok_or_else(|| Exception::custom("a compiled function gave nothing"))?)
    }
}

/// The steps one after another: MLX runs this once, to see what there is to compile.
fn replay(steps: &[Step], operands: &[Array], inputs: usize, float: Dtype) -> Result {
    let (inputs, mut numbers) = operands.split_at(inputs);
    let mut results: Vec<Array> = Vec::with_capacity(steps.len());
    for Step { op, operands } in steps {
        let (own, rest) = numbers.split_at(elementwise::numbers(op).len());
        numbers = rest;
        let operands: Vec<&Array> = operands
            .iter()
            .map(|operand| match operand {
                Operand::Input(index) => &inputs[*index],
                Operand::Step(index) => &results[*index],
            })
            .chain(own)
            .collect();
        let result = elementwise::apply(op, &operands, float)?;
        results.push(result);
    }
    let result = results.pop();
    Ok(result.ok_or_else(|| Exception::custom("a group has no operations"))?)
}

/// Whether MLX can compile for this processor. It calls `g++` while the program runs, which need not be there, or need not
/// understand what MLX was built with: trying is the only way to know.
pub fn available() -> bool {
    static AVAILABLE: OnceLock<bool> = OnceLock::new();
    *AVAILABLE.get_or_init(|| {
        let mut silu = compile(|x: &Array| multiply(x, sigmoid(x)?), false);
        let x = Array::from_slice(&[1.0_f32, 2.0], &[2]);
        silu(&x).is_ok_and(|y| y.eval().is_ok())
    })
}
