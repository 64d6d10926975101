//! What is found out about a program once, before its first run: when values die, which constants it has, which rotary
//! tables it shares. Fusing operations would happen here too.

use std::sync::Arc;

use super::memory::Memory;
use super::value::Value;
use crate::operation::{Op, Rope};
use crate::program::{Program, ValueId};

/// A program made ready to run.
pub struct Prepared {
    /// For each node, the values to free after it.
    pub dying: Vec<Vec<ValueId>>,
    /// For each node, its value when it is always the same.
    pub constants: Vec<Option<Value>>,
    /// For each [`Op::Rope`], the number of its table.
    pub rope_tables: Vec<Option<usize>>,
    /// How many rotary tables a step needs.
    pub tables: usize,
}

impl Prepared {
    /// Looks through a program.
    pub fn new(program: &Program, memory: &Memory) -> Self {
        let mut tables: Vec<(Arc<Rope>, ValueId)> = Vec::new();
        let mut rope_tables = Vec::with_capacity(program.nodes.len());
        let mut constants = Vec::with_capacity(program.nodes.len());
        // The batch's positions may be asked for again and again.
        let first_positions = program.nodes.iter().position(|node| node.op == Op::Positions);
        for node in &program.nodes {
            rope_tables.push(match &node.op {
                Op::Rope(rope) => {
                    let mut positions = node.inputs[1];
                    if let (Op::Positions, Some(first)) =
                        (&program.nodes[positions.index()].op, first_positions)
                    {
                        positions = ValueId(first as u32);
                    }
                    let found = tables.iter().position(|(other, at)| {
                        *at == positions && (Arc::ptr_eq(other, rope) || other == rope)
                    });
                    Some(found.unwrap_or_else(|| {
                        tables.push((Arc::clone(rope), positions));
                        tables.len() - 1
                    }))
                }
                _ => None,
            });
            constants.push(match &node.op {
                Op::Floats(values) => Some(Value::from_floats(memory, values)),
                Op::Ints(values) => Some(Value::from_ints(memory, values)),
                _ => None,
            });
        }
        Self {
            dying: program.dying(),
            constants,
            rope_tables,
            tables: tables.len(),
        }
    }

    /// Whether this value is not needed after this node.
    pub fn dies_at(&self, node: usize, value: ValueId) -> bool {
        self.dying[node].contains(&value)
    }
}
