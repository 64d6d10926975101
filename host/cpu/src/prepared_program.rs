//! What is found out about a program once, before its first run: when values die, which constants it has, which rotary
//! tables it shares. Fusing operations would happen here too.

use std::collections::HashMap;
use std::hash::RandomState;
use std::sync::Arc;

use super::value::Value;
use monocle_kernels::memory::Memory;
use monocle_tensor::operation::{Op, Rope};
use monocle_tensor::operations::Constant;
use monocle_tensor::program::{Program, ValueId};

/// A program made ready to run.
pub struct PreparedProgram {
    /// For each node, the values to free after it.
    pub dying: Vec<Vec<ValueId>>,
    /// For each node, its value when it is always the same.
    pub constants: Vec<Option<Value>>,
    /// For each [`Op::Rope`], the number of its table.
    pub rope_tables: Vec<Option<usize>>,
    /// How many rotary tables a step needs.
    pub tables: usize,
}

impl PreparedProgram {
    /// Looks through a program.
    pub fn new(program: &Program, memory: &Memory) -> Self {
        let constant = |op: &Op| {
            op.facts().constant.map(|constant| match constant {
                Constant::Floats(values) => Value::from_floats(memory, values),
                Constant::Ints(values) => Value::from_ints(memory, values),
            })
        };
        let (rope_tables, tables) = rope_tables(program);
        Self {
            dying: program.dying(),
            constants: program.nodes.iter().map(|node| constant(&node.op)).collect(),
            rope_tables,
            tables,
        }
    }

    /// Whether this value is not needed after this node.
    pub fn dies_at(&self, node: usize, value: ValueId) -> bool {
        self.dying[node].contains(&value)
    }
}

/// A rope and the number of its table.
type Numbered<'a> = (&'a Arc<Rope>, usize);

/// For each [`Op::Rope`] the number of its table, and how many tables there are.
pub fn rope_tables(program: &Program) -> (Vec<Option<usize>>, usize) {
    // The batch's positions may be asked for again and again.
    let first_positions = program.nodes.iter().position(|node| node.op == Op::Positions);
    // Ropes are few and equal ones are shared by most programs, but a program may have very many: they are looked up, not searched.
    let mut by_address: HashMap<(*const Rope, ValueId), usize> = HashMap::new();
    let mut by_content: HashMap<(u64, ValueId), Vec<Numbered<'_>>> = HashMap::new();
    let hasher = RandomState::new();
    let mut tables = 0;
    let mut number = |rope, mut positions: ValueId| {
        if let (Op::Positions, Some(first)) = (&program.nodes[positions.index()].op, first_positions) {
            positions = ValueId(first as u32);
        }
        *by_address
            .entry((Arc::as_ptr(rope), positions))
            .or_insert_with(|| {
                let same = by_content
                    .entry((rope.content_hash(&hasher), positions))
                    .or_default();
                let found = same.iter().find(|(other, _)| *other == rope);
                found.map(|(_, number)| *number).unwrap_or_else(|| {
                    same.push((rope, tables));
                    tables += 1;
                    tables - 1
                })
            })
    };
    let numbers = program.nodes.iter().map(|node| {
        let Op::Rope(rope) = &node.op else { return None };
        Some(number(rope, node.inputs[1]))
    });
    let numbers = numbers.collect();
    (numbers, tables)
}
