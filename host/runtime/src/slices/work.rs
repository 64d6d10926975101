//! How much work an operation is, roughly: its multiplications, or what it writes where it multiplies nothing.

use monocle_tensor::operation::Op;
use monocle_tensor::program::{Node, Program};

/// Of all operations of a program.
pub fn of(program: &Program) -> u64 {
    program.nodes.iter().map(|node| of_node(program, node)).sum()
}

/// Of one operation.
pub fn of_node(program: &Program, node: &Node) -> u64 {
    let shape = |input: usize| program.value(node.inputs[input]).shape.as_slice();
    let results = node.output.len();
    let each = match &node.op {
        Op::Input(_) | Op::Floats(_) | Op::Ints(_) | Op::Full(_) | Op::Weight(_) | Op::Reshape => 0,
        Op::Linear(_) | Op::ExpertLinear(_) | Op::MatMul { .. } => shape(0).last().copied().unwrap_or(1),
        Op::Conv2d { .. } => shape(1)[1..].iter().product(),
        // Each query with each key of its segment, and as much again with the values.
        Op::Attention(attention) => {
            let q = shape(0);
            let keys = shape(1)[q.len() - 3];
            match attention.segments.len() {
                0 | 1 => 2 * keys,
                bounds => 2 * keys.div_ceil(bounds - 1),
            }
        }
        _ => 1,
    };
    (results as u64).saturating_mul(each as u64)
}
