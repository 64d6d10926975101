//! Cutting a program between its operations.

use std::collections::{HashMap, HashSet};
use std::ops::Range;
use std::sync::Arc;

use monocle_tensor::operation::Op;
use monocle_tensor::operations::Origin;
use monocle_tensor::program::{Program, ValueId};
use monocle_tensor::stored::Weight;

use super::{Piece, Source, recorder, work};

/// A program's pieces, which know each other's results by their numbers in that program.
pub struct Cut {
    pieces: Vec<CutPiece>,
    outputs: Vec<ValueId>,
}

struct CutPiece {
    program: Arc<Program>,
    inputs: Vec<ValueId>,
    outputs: Vec<ValueId>,
    /// The number of the program's input, for those that are.
    given: HashMap<ValueId, usize>,
}

/// Cuts a program into pieces of about so much work; none where a result is nothing that it computes.
pub fn cut(program: &Program, weights: &Arc<Vec<Weight>>, budget: u64) -> Option<Cut> {
    let computed = |value: &ValueId| !is_given(&program.nodes[value.index()].op);
    if !program.outputs.iter().all(computed) {
        return None;
    }
    let last_use = last_uses(program);
    let mut pieces = Vec::new();
    for range in ranges(program, &last_use, budget) {
        pieces.extend(extract(program, weights, range, &last_use)?);
    }
    Some(Cut {
        pieces,
        outputs: program.outputs.clone(),
    })
}

impl Cut {
    /// Puts these pieces in the place of the one that was cut; gives how many further slots they use.
    pub fn append(&self, whole: &Piece, first_slot: usize, to: &mut Vec<Piece>) -> usize {
        let mut slots: HashMap<ValueId, usize> = self
            .outputs
            .iter()
            .copied()
            .zip(whole.outputs.iter().copied())
            .collect();
        let mut next = first_slot;
        for piece in &self.pieces {
            let input = |value: &ValueId| match piece.given.get(value) {
                Some(input) => whole.inputs[*input].clone(),
                None => Source::Slot(slots[value]),
            };
            let inputs = piece.inputs.iter().map(input).collect();
            let outputs = piece.outputs.iter().map(|value| {
                *slots.entry(*value).or_insert_with(|| {
                    next += 1;
                    next - 1
                })
            });
            let outputs = outputs.collect();
            to.push(Piece {
                program: Arc::clone(&piece.program),
                inputs,
                outputs,
                frees: Vec::new(),
            });
        }
        next - first_slot
    }
}

/// Whether no operation computes it: it is made anew in each piece that needs it, or given to it.
fn is_given(op: &Op) -> bool {
    match op.facts().origin {
        Origin::Input(_) | Origin::Constant => true,
        Origin::Computed => false,
    }
}

/// For each value the last operation that uses it; the end, for results.
fn last_uses(program: &Program) -> Vec<usize> {
    let mut last: Vec<usize> = (0..program.nodes.len()).collect();
    for (index, node) in program.nodes.iter().enumerate() {
        for input in &node.inputs {
            last[input.index()] = index;
        }
    }
    for output in &program.outputs {
        last[output.index()] = program.nodes.len();
    }
    last
}

/// Where to cut: each range is about `budget` of work, and ends, in its second half, where least has to be kept.
fn ranges(program: &Program, last_use: &[usize], budget: u64) -> Vec<Range<usize>> {
    let count = program.nodes.len();
    // What is kept where a cut is before this operation: first only what begins to be, and what ends to be, there.
    let mut kept = vec![0_i128; count + 1];
    let computed = program.nodes.iter().enumerate();
    for (index, node) in computed.filter(|(_, node)| !is_given(&node.op)) {
        let end = last_use[index].min(count - 1);
        kept[index + 1] += node.output.len() as i128;
        kept[end.max(index) + 1] -= node.output.len() as i128;
    }
    let mut all = 0;
    for bytes in &mut kept {
        all += *bytes;
        *bytes = all;
    }
    let mut ranges = Vec::new();
    let mut start = 0;
    while start < count {
        let (mut done, mut end, mut best) = (0, start, None::<usize>);
        while end < count {
            let more = work::of_node(program, &program.nodes[end]);
            if done > 0 && done + more > budget {
                break;
            }
            done += more;
            end += 1;
            if 2 * done >= budget && best.is_none_or(|best| kept[end] <= kept[best]) {
                best = Some(end);
            }
        }
        let end = match end == count {
            true => count,
            false => best.unwrap_or(end),
        };
        ranges.push(start..end);
        start = end;
    }
    ranges
}

/// The operations of a range as a program of their own; nothing where they compute nothing that is needed.
fn extract(
    program: &Program,
    weights: &Arc<Vec<Weight>>,
    range: Range<usize>,
    last_use: &[usize],
) -> Option<Option<CutPiece>> {
    let outputs: Vec<ValueId> = range
        .clone()
        .filter(|index| !is_given(&program.nodes[*index].op) && last_use[*index] >= range.end)
        .map(|index| ValueId(index as u32))
        .collect();
    if outputs.is_empty() {
        return Some(None);
    }
    let mut inputs: Vec<ValueId> = Vec::new();
    let mut known = HashSet::new();
    for index in range.clone() {
        for value in &program.nodes[index].inputs {
            let needed = match program.nodes[value.index()].op.facts().origin {
                Origin::Input(_) => true,
                Origin::Constant => false,
                Origin::Computed => value.index() < range.start,
            };
            if needed && known.insert(*value) {
                inputs.push(*value);
            }
        }
    }
    let types = inputs.iter().map(|value| program.value(*value).clone()).collect();
    let mut recorder = recorder(weights, types);
    let mut made: HashMap<ValueId, ValueId> = inputs.iter().copied().zip(recorder.input_values()).collect();
    for index in range {
        let node = &program.nodes[index];
        if is_given(&node.op) {
            continue;
        }
        let mut operands = Vec::with_capacity(node.inputs.len());
        for value in &node.inputs {
            let operand = match made.get(value) {
                Some(operand) => *operand,
                None => {
                    let constant = &program.nodes[value.index()];
                    let shape = Some(constant.output.shape.as_slice());
                    let operand = recorder.push(constant.op.clone(), &[], shape).ok()?;
                    made.insert(*value, operand);
                    operand
                }
            };
            operands.push(operand);
        }
        let shape = Some(node.output.shape.as_slice());
        let result = recorder.push(node.op.clone(), &operands, shape).ok()?;
        made.insert(ValueId(index as u32), result);
    }
    let given = inputs
        .iter()
        .filter_map(|value| match program.nodes[value.index()].op.facts().origin {
            Origin::Input(number) => Some((*value, number as usize)),
            Origin::Computed | Origin::Constant => None,
        });
    let given = given.collect();
    let results = outputs.iter().map(|value| made[value]).collect();
    Some(Some(CutPiece {
        program: Arc::new(recorder.finish(results)),
        inputs,
        outputs,
        given,
    }))
}
