//! What is found out about a program once, before its first run.

use mlx_rs::{Array, Dtype};
use monocle_tensor::operation::{Op, Rope};
use monocle_tensor::operations::Constant;
use monocle_tensor::program::{Program, ValueId};

use super::array::{floats, ints, scalar};
use super::compile::Fused;
use super::device::Habits;
use super::elementwise;
use super::error::Result;
use super::estimate;
use super::fuse::{self, Place};
use super::precision;
use super::rotary::periods;

/// A program made ready to run.
pub struct PreparedProgram {
    /// For each node, the values to free after it.
    pub dying: Vec<Vec<ValueId>>,
    /// For each node, its value when it is always the same; of a rotary embedding, its periods.
    pub constants: Vec<Option<Array>>,
    /// For each node, the numbers that an operation element by element brings along.
    pub numbers: Vec<Vec<Array>>,
    /// For each node, how it runs.
    pub runs: Vec<Runs>,
    /// For each node, about how many bytes it allocates.
    pub bytes: Vec<usize>,
    /// For each node, the node whose rotary tables it shares: itself or an earlier one.
    pub tables: Vec<usize>,
}

/// How a node runs.
pub enum Runs {
    /// By itself.
    Alone,
    /// Not here: it is part of a function further on.
    Later,
    /// As this function of these values, which does what earlier nodes would have done too.
    Compiled(Vec<ValueId>, Fused),
}

impl PreparedProgram {
    /// Looks through a program; `fuses` lets MLX compile what runs as one.
    pub fn new(program: &Program, float: Dtype, fuses: bool, habits: &Habits) -> Result<Self> {
        let mut constants: Vec<Option<Array>> = Vec::with_capacity(program.nodes.len());
        let mut tables: Vec<usize> = Vec::with_capacity(program.nodes.len());
        for (index, node) in program.nodes.iter().enumerate() {
            tables.push(first_alike(program, index));
            constants.push(match (&node.op, node.op.facts().constant) {
                (_, Some(Constant::Floats(values))) => Some(floats(values, &node.output.shape, float)?),
                (_, Some(Constant::Ints(values))) => Some(ints(values, &node.output.shape)?),
                (Op::Rope(rope), None) if tables[index] == index => Some(periods(rope)?),
                // An earlier embedding's; no other operation has an earlier one.
                (_, None) => constants.get(tables[index]).cloned().flatten(),
            });
        }
        let numbers = program.nodes.iter().map(|node| {
            let elementwise = node.op.facts().elementwise;
            let numbers = elementwise.map(elementwise::numbers).unwrap_or_default();
            numbers.into_iter().map(|value| scalar(value, float)).collect()
        });
        let numbers = numbers.collect::<Result<_>>()?;
        let places = fuse::places(program, fuses);
        let dying = fuse::dying(program, &places);
        let bytes = estimate::allocations(program, 0, &places, precision::bytes(float), habits);
        let runs = places.into_iter().map(|place| {
            Ok(match place {
                Place::Alone => Runs::Alone,
                Place::Within(_) => Runs::Later,
                Place::Result(group) => Runs::Compiled(group.inputs.clone(), Fused::new(group, float)?),
            })
        });
        Ok(Self {
            dying,
            numbers,
            runs: runs.collect::<Result<_>>()?,
            bytes: bytes
                .into_iter()
                .map(|node| node.result + node.temporary)
                .collect(),
            constants,
            tables,
        })
    }
}

/// The first rotary embedding with the same angles at the same positions.
fn first_alike(program: &Program, index: usize) -> usize {
    let rope = |index: usize| -> Option<(&Rope, ValueId)> {
        let node = &program.nodes[index];
        let Op::Rope(rope) = &node.op else { return None };
        Some((rope, positions(program, node.inputs[1])))
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
