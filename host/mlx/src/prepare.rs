//! What is found out about a program once, before its first run.

use mlx_rs::{Array, Dtype};
use monocle_tensor::operation::{Op, Rope};
use monocle_tensor::program::{Program, ValueId};

use super::array::{floats, ints};
use super::error::Result;
use super::rotary::periods;

/// A program made ready to run.
pub struct Prepared {
    /// For each node, the values to free after it.
    pub dying: Vec<Vec<ValueId>>,
    /// For each node, its value when it is always the same; of a rotary embedding, its periods.
    pub constants: Vec<Option<Array>>,
    /// For each node, the node whose rotary tables it shares: itself or an earlier one.
    pub tables: Vec<usize>,
}

impl Prepared {
    /// Looks through a program.
    pub fn new(program: &Program, float: Dtype) -> Result<Self> {
        let mut constants: Vec<Option<Array>> = Vec::with_capacity(program.nodes.len());
        let mut tables: Vec<usize> = Vec::with_capacity(program.nodes.len());
        for (index, node) in program.nodes.iter().enumerate() {
            tables.push(first_alike(program, index));
            constants.push(match &node.op {
                Op::Floats(values) => Some(floats(values, &node.output.shape, float)?),
                Op::Ints(values) => Some(ints(values, &node.output.shape)?),
                Op::Rope(rope) if tables[index] == index => Some(periods(rope)?),
                Op::Rope(_) => constants[tables[index]].clone(),
                _ => None,
            });
        }
        Ok(Self {
            dying: program.dying(),
            constants,
            tables,
        })
    }
}

/// The first rotary embedding with the same angles at the same positions.
fn first_alike(program: &Program, index: usize) -> usize {
    let rope = |index: usize| -> Option<(&Rope, ValueId)> {
        let node = &program.nodes[index];
        match &node.op {
            Op::Rope(rope) => Some((rope, positions(program, node.inputs[1]))),
            _ => None,
        }
    };
    let Some(wanted) = rope(index) else { return index };
    (0..index)
        .find(|earlier| rope(*earlier) == Some(wanted))
        .unwrap_or(index)
}

/// The batch's positions may be asked for again and again: they are all the same.
fn positions(program: &Program, value: ValueId) -> ValueId {
    if program.nodes[value.index()].op != Op::Positions {
        return value;
    }
    let first = program.nodes.iter().position(|node| node.op == Op::Positions);
    first.map_or(value, |first| ValueId(first as u32))
}
