//! Functions that MLX compiles, and groups of operations made into such.

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

/// A function that MLX compiles, for each shape of its operands when it is first called with that. It has a place of its own among
/// those that MLX keeps, and leaves it when it is dropped.
pub struct Function(RefCell<Box<Compiled>>);

impl Function {
    /// Of one that uses no arrays but its operands: MLX calls it with none that hold anything, to see what there is to compile.
    pub fn new(function: impl Fn(&[Array]) -> Result<Vec<Array>> + 'static) -> Self {
        let function = move |operands: &[Array]| {
            function(operands).map_err(|error| match error {
                Error::Mlx(error) => error,
                other => Exception::custom(other.to_string()),
            })
        };
        Self(RefCell::new(Box::new(compile(function, false))))
    }

    /// Its results.
    pub fn call(&self, operands: &[Array]) -> Result<Vec<Array>> {
        Ok((self.0.borrow_mut())(operands)?)
    }
}

/// A group made ready.
pub struct Fused {
    function: Function,
    /// What the operations bring along. MLX would write it into a kernel with seven digits: it comes in as operands.
    numbers: Vec<Array>,
}

impl Fused {
    /// A group's.
    pub fn new(group: Group, float: Dtype) -> Result<Self> {
        let Group { inputs, steps } = group;
        let numbers = steps.iter().flat_map(|step| numbers(step.op));
        let numbers = numbers
            .map(|value| super::array::scalar(value, float))
            .collect::<Result<_>>()?;
        let inputs = inputs.len();
        Ok(Self {
            function: Function::new(move |operands| Ok(vec![replay(&steps, operands, inputs, float)?])),
            numbers,
        })
    }

    /// Its result.
    pub fn call(&self, mut operands: Vec<Array>) -> Result {
        operands.extend(self.numbers.iter().cloned());
        let result = self.function.call(&operands)?.pop();
        Ok(result.ok_or_else(|| Exception::custom("a compiled function gave nothing"))?)
    }
}

/// The steps one after another.
fn replay(steps: &[Step], operands: &[Array], inputs: usize, float: Dtype) -> Result {
    let (inputs, mut numbers) = operands.split_at(inputs);
    let mut results: Vec<Array> = Vec::with_capacity(steps.len());
    for Step { op, operands } in steps {
        let (own, rest) = numbers.split_at(elementwise::numbers(*op).len());
        numbers = rest;
        let operands: Vec<&Array> = operands
            .iter()
            .map(|operand| match operand {
                Operand::Input(index) => &inputs[*index],
                Operand::Step(index) => &results[*index],
            })
            .chain(own)
            .collect();
        let result = elementwise::apply(*op, &operands, float)?;
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
