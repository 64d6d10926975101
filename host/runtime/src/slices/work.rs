//! How much work a program is.

use monocle_tensor::program::{Node, Program};

/// Of all operations of a program.
pub fn of(program: &Program) -> u64 {
    program.nodes.iter().map(|node| of_node(program, node)).sum()
}

/// Of one operation.
pub fn of_node(program: &Program, node: &Node) -> u64 {
    node.op.facts().work(&program.operands(node), &node.output)
}
