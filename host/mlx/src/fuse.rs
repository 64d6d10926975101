//! Which operations of a program run as one: they work element by element on one shape, and nobody else reads what is
//! between them. MLX makes one kernel of them where it would launch one for each.

use std::collections::BTreeSet;

use monocle_tensor::operations::Elementwise;
use monocle_tensor::program::{Node, Program, ValueId};

use super::elementwise;

/// Where a node runs.
pub enum Place {
    /// By itself.
    Alone,
    /// As part of the group whose result is this node's.
    Within(usize),
    /// With the others of its group, whose result is its own.
    Result(Group),
}

/// Operations that run as one.
pub struct Group {
    /// What they read.
    pub inputs: Vec<ValueId>,
    /// What is done, in order; the last gives the result.
    pub steps: Vec<Step>,
}

/// One operation of a group.
pub struct Step {
    /// What is done.
    pub op: Elementwise,
    /// To what.
    pub operands: Vec<Operand>,
}

/// What a step reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operand {
    /// An input of the group.
    Input(usize),
    /// What an earlier step gave.
    Step(usize),
}

/// The place of each node; each runs by itself where nothing is to run as one.
pub fn places(program: &Program, fuses: bool) -> Vec<Place> {
    if !fuses {
        return program.nodes.iter().map(|_| Place::Alone).collect();
    }
    let mut readers = vec![Vec::new(); program.nodes.len()];
    for (index, node) in program.nodes.iter().enumerate() {
        for input in &node.inputs {
            readers[input.index()].push(index);
        }
    }
    // Who needs a result beyond the program can have it from the group's last node only.
    let mut asked_for = vec![false; program.nodes.len()];
    for output in &program.outputs {
        asked_for[output.index()] = true;
    }
    let mut places: Vec<Place> = program.nodes.iter().map(|_| Place::Alone).collect();
    for (index, node) in program.nodes.iter().enumerate().rev() {
        if !matches!(places[index], Place::Alone)
            || node.op.facts().elementwise.is_none()
            || node.output.is_empty()
        {
            continue;
        }
        let mut members = BTreeSet::from([index]);
        let mut candidates: BTreeSet<usize> = node.inputs.iter().map(|input| input.index()).collect();
        // From the last to the first: whoever reads a candidate has been looked at before it.
        while let Some(candidate) = candidates.pop_last() {
            let other = &program.nodes[candidate];
            if other.op.facts().elementwise.is_some()
                && other.output.shape == node.output.shape
                && !asked_for[candidate]
                && readers[candidate].iter().all(|reader| members.contains(reader))
            {
                members.insert(candidate);
                candidates.extend(other.inputs.iter().map(|input| input.index()));
            }
        }
        let kernels: usize = members.iter().map(|member| kernels(program, *member)).sum();
        if kernels < 2 {
            continue;
        }
        for member in &members {
            places[*member] = Place::Within(index);
        }
        places[index] = Place::Result(group(program, &members));
    }
    places
}

/// Kernels that MLX launches for a node.
fn kernels(program: &Program, index: usize) -> usize {
    let Node { op, inputs, .. } = &program.nodes[index];
    match (op.facts().elementwise, inputs.first()) {
        (Some(op), Some(first)) => elementwise::kernels(op, program.value(*first).kind),
        _ => 0,
    }
}

fn group(program: &Program, members: &BTreeSet<usize>) -> Group {
    let mut inputs: Vec<ValueId> = Vec::new();
    let mut steps = Vec::with_capacity(members.len());
    for member in members {
        let node = &program.nodes[*member];
        let mut operand = |value: &ValueId| {
            if let Some(step) = members.iter().position(|member| *member == value.index()) {
                return Operand::Step(step);
            }
            let known = inputs.iter().position(|input| input == value);
            Operand::Input(known.unwrap_or_else(|| {
                inputs.push(*value);
                inputs.len() - 1
            }))
        };
        steps.push(Step {
            op: node
                .op
                .facts()
                .elementwise
                .expect("members work element by element"),
            operands: node.inputs.iter().map(&mut operand).collect(),
        });
    }
    Group { inputs, steps }
}

/// For each node, the values that can be freed once it has run: a group reads its inputs when its result is asked for.
pub fn dying(program: &Program, places: &[Place]) -> Vec<Vec<ValueId>> {
    program.dying_where(|index| match places[index] {
        Place::Within(result) => result,
        Place::Alone | Place::Result(_) => index,
    })
}
