//! Finding the part of a program that treats the tiles of a picture alike and apart.
//!
//! The first dimension of the pixels counts tiles. A value *has tiles* if its elements fall into as many equal stretches, one after another, and
//! each stretch depends on its own tile alone, in the same way for all. What has tiles can be computed for a few of them at a time.

use std::collections::HashMap;
use std::sync::Arc;

use monocle_tensor::operation::Op;
use monocle_tensor::operations::{Origin, Parts};
use monocle_tensor::program::{Node, Program, ValueId, ValueType};
use monocle_tensor::recorder::Recorder;
use monocle_tensor::stored::Weight;

use super::{Encoder, Piece, Source, recorder, work};

/// What a value has to do with tiles.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    /// It depends on none.
    Constant,
    /// Likewise, and all stretches of it are the same, so that it can be made for fewer tiles.
    Uniform,
    /// It has tiles.
    Tiled,
    /// It depends on them in some other way.
    Mixed,
}

/// The program for a few tiles, run for all, and the rest of it; none where that would not help. `budget` is the work of one run.
pub fn split(program: &Arc<Program>, weights: &Arc<Vec<Weight>>, budget: u64) -> Option<Encoder> {
    let count = *program.inputs.first()?.shape.first()?;
    if count < 2
        || program
            .inputs
            .iter()
            .any(|input| input.shape.first() != Some(&count))
    {
        return None;
    }
    let kinds = kinds(program, count);
    let tiled = |index: usize| kinds[index] == Kind::Tiled;
    let apart: u64 = work_where(program, tiled);
    // What cannot be taken apart should be the lesser part.
    if apart < work::of(program) / 2 {
        return None;
    }
    let boundary = boundary(program, &kinds);
    let each = (budget / (apart / count as u64).max(1)).clamp(1, count as u64) as usize;
    let (whole_runs, left) = (count / each, count % each);
    let part = |tiles: usize| {
        let part = Part {
            program,
            kinds: &kinds,
            count,
            tiles,
        };
        part.record(weights, &boundary).map(Arc::new)
    };
    let usual = part(each)?;
    let last = match left {
        0 => None,
        left => Some(part(left)?),
    };
    let mut encoder = Encoder {
        program: Arc::clone(program),
        pieces: Vec::new(),
        slots: 0,
        results: Vec::new(),
    };
    // For each value of the boundary, the slots of its stretches.
    let mut stretches = vec![Vec::new(); boundary.len()];
    let runs = std::iter::repeat_n((&usual, each), whole_runs).chain(last.as_ref().map(|last| (last, left)));
    let mut tile = 0;
    for (part, tiles) in runs {
        let pixels = |tensor| Source::Pixels {
            tensor,
            tiles: tile..tile + tiles,
        };
        let outputs: Vec<usize> = (encoder.slots..encoder.slots + boundary.len()).collect();
        for (slots, (slot, value)) in stretches.iter_mut().zip(outputs.iter().zip(&part.outputs)) {
            slots.push((*slot, part.value(*value).clone()));
        }
        encoder.slots += boundary.len();
        encoder.pieces.push(Piece {
            program: Arc::clone(part),
            inputs: (0..program.inputs.len()).map(pixels).collect(),
            outputs,
            frees: Vec::new(),
        });
        tile += tiles;
    }
    encoder.results = (encoder.slots..encoder.slots + program.outputs.len()).collect();
    encoder.slots += program.outputs.len();
    encoder.pieces.push(rest(
        program,
        weights,
        &kinds,
        &boundary,
        &stretches,
        &encoder.results,
    )?);
    Some(encoder)
}

fn work_where(program: &Program, which: impl Fn(usize) -> bool) -> u64 {
    let nodes = program
        .nodes
        .iter()
        .enumerate()
        .filter(|(index, _)| which(*index));
    nodes.map(|(_, node)| work::of_node(program, node)).sum()
}

fn kinds(program: &Program, count: usize) -> Vec<Kind> {
    let mut kinds: Vec<Kind> = Vec::with_capacity(program.nodes.len());
    for node in &program.nodes {
        let shape = &node.output.shape;
        let divides = shape
            .first()
            .is_some_and(|first| *first > 0 && first.is_multiple_of(count));
        let facts = node.op.facts();
        let constant = node
            .inputs
            .iter()
            .all(|value| kinds[value.index()] <= Kind::Uniform);
        let kind = match (facts.origin, constant) {
            (Origin::Input(_), _) => Kind::Tiled,
            (Origin::Computed | Origin::Constant, true) => {
                match divides && facts.parts(&program.operands(node), &node.output) == Parts::Alike {
                    true => Kind::Uniform,
                    false => Kind::Constant,
                }
            }
            (Origin::Computed | Origin::Constant, false) => match scaled_operands(program, node, &kinds) {
                Some(_) if divides => Kind::Tiled,
                _ => Kind::Mixed,
            },
        };
        kinds.push(kind);
    }
    kinds
}

/// For an operation whose result has tiles, which of its operands are needed for the tiles at hand only; none where the result has no tiles.
fn scaled_operands(program: &Program, node: &Node, kinds: &[Kind]) -> Option<Vec<bool>> {
    let kind = |input: usize| kinds[node.inputs[input].index()];
    let operands = program.operands(node);
    let out = &node.output.shape;
    let inputs = 0..operands.len();
    match node.op.facts().parts(&operands, &node.output) {
        Parts::Together | Parts::Alike => None,
        Parts::First => {
            let others = inputs.clone().skip(1).all(|input| kind(input) <= Kind::Uniform);
            (kind(0) == Kind::Tiled && others).then(|| inputs.map(|input| input == 0).collect())
        }
        Parts::Each => {
            let tiled = |input: usize| matches!(kind(input), Kind::Tiled | Kind::Uniform);
            inputs.clone().all(tiled).then(|| vec![true; inputs.len()])
        }
        // Along the first dimension, each has all of it or none.
        Parts::Broadcast => {
            let operand = |input: usize| {
                let shape = &operands[input].shape;
                let aligned = shape.len() == out.len() && shape.first() == out.first();
                let repeated = shape.len() < out.len() || shape.first() == Some(&1);
                match kind(input) {
                    Kind::Tiled | Kind::Uniform if aligned => Some(true),
                    Kind::Constant | Kind::Uniform if repeated => Some(false),
                    _ => None,
                }
            };
            inputs.map(operand).collect()
        }
    }
}

/// What has tiles and is needed by something that has none, or is a result.
fn boundary(program: &Program, kinds: &[Kind]) -> Vec<ValueId> {
    let tiled = |value: &&ValueId| kinds[value.index()] == Kind::Tiled;
    let mixed = program
        .nodes
        .iter()
        .enumerate()
        .filter(|(index, _)| kinds[*index] == Kind::Mixed);
    let used = mixed.flat_map(|(_, node)| &node.inputs);
    let mut boundary: Vec<ValueId> = used.chain(&program.outputs).filter(tiled).copied().collect();
    boundary.sort();
    boundary.dedup();
    boundary
}

/// A program for some of the tiles.
struct Part<'a> {
    program: &'a Program,
    kinds: &'a [Kind],
    count: usize,
    tiles: usize,
}

impl Part<'_> {
    fn record(&self, weights: &Arc<Vec<Weight>>, boundary: &[ValueId]) -> Option<Program> {
        let types = self.program.inputs.iter().map(|input| ValueType {
            shape: self.shape(&input.shape),
            kind: input.kind,
        });
        let mut recorder = recorder(weights, types.collect());
        let inputs = recorder.input_values();
        let mut made: HashMap<(ValueId, bool), ValueId> = HashMap::new();
        for (index, node) in self.program.nodes.iter().enumerate() {
            if let Origin::Input(number) = node.op.facts().origin {
                made.insert((ValueId(index as u32), true), inputs[number as usize]);
            }
        }
        // In the order in which they were recorded, so that no recursion is needed.
        for (index, node) in self.program.nodes.iter().enumerate() {
            let key = (ValueId(index as u32), true);
            if self.kinds[index] != Kind::Tiled || made.contains_key(&key) {
                continue;
            }
            let scaled = scaled_operands(self.program, node, self.kinds)?;
            let mut operands = Vec::with_capacity(node.inputs.len());
            for (value, scaled) in node.inputs.iter().zip(scaled) {
                operands.push(self.operand(&mut recorder, &mut made, *value, scaled)?);
            }
            let shape = self.shape(&node.output.shape);
            let result = recorder.push(node.op.clone(), &operands, Some(&shape)).ok()?;
            if recorder.value(result)?.shape != shape {
                return None;
            }
            made.insert(key, result);
        }
        let results = boundary.iter().map(|value| made.get(&(*value, true)).copied());
        let results = results.collect::<Option<Vec<_>>>()?;
        Some(recorder.finish(results))
    }

    /// A value that is there, or a constant, made when it is first needed.
    fn operand(
        &self,
        recorder: &mut Recorder,
        made: &mut HashMap<(ValueId, bool), ValueId>,
        value: ValueId,
        scaled: bool,
    ) -> Option<ValueId> {
        if let Some(operand) = made.get(&(value, scaled)) {
            return Some(*operand);
        }
        let node = &self.program.nodes[value.index()];
        if self.kinds[value.index()] > Kind::Uniform {
            return None;
        }
        let shape = match scaled {
            true => self.shape(&node.output.shape),
            false => node.output.shape.clone(),
        };
        let result = constant(self.program, recorder, made, value, scaled, &shape)?;
        Some(result)
    }

    /// A shape with fewer tiles.
    fn shape(&self, shape: &[usize]) -> Vec<usize> {
        let mut shape = shape.to_vec();
        if let Some(first) = shape.first_mut() {
            *first = *first / self.count * self.tiles;
        }
        shape
    }
}

/// A value that depends on no tile, with all that it needs.
fn constant(
    program: &Program,
    recorder: &mut Recorder,
    made: &mut HashMap<(ValueId, bool), ValueId>,
    value: ValueId,
    scaled: bool,
    shape: &[usize],
) -> Option<ValueId> {
    // Everything that it is made from, in order.
    let mut needed = vec![value];
    let mut next = 0;
    while next < needed.len() {
        needed.extend(&program.nodes[needed[next].index()].inputs);
        next += 1;
    }
    needed.sort();
    needed.dedup();
    for id in needed {
        let is_last = id == value;
        let key = (id, is_last && scaled);
        if made.contains_key(&key) {
            continue;
        }
        let node = &program.nodes[id.index()];
        let operands = node
            .inputs
            .iter()
            .map(|input| made.get(&(*input, false)).copied());
        let operands = operands.collect::<Option<Vec<_>>>()?;
        let shape = match is_last {
            true => shape,
            false => node.output.shape.as_slice(),
        };
        let result = recorder.push(node.op.clone(), &operands, Some(shape)).ok()?;
        made.insert(key, result);
    }
    made.get(&(value, scaled)).copied()
}

/// What is left to do when all tiles are done: their results as one, and what depends on more than one of them.
fn rest(
    program: &Program,
    weights: &Arc<Vec<Weight>>,
    kinds: &[Kind],
    boundary: &[ValueId],
    stretches: &[Vec<(usize, ValueType)>],
    results: &[usize],
) -> Option<Piece> {
    let types = stretches.iter().flatten().map(|(_, kind)| kind.clone()).collect();
    let mut recorder = recorder(weights, types);
    let mut inputs = recorder.input_values().into_iter();
    let mut made: HashMap<(ValueId, bool), ValueId> = HashMap::new();
    for (value, stretches) in boundary.iter().zip(stretches) {
        let parts: Vec<ValueId> = inputs.by_ref().take(stretches.len()).collect();
        let joined = recorder.push(Op::Concat { axis: 0 }, &parts, None).ok()?;
        made.insert((*value, false), joined);
    }
    for (index, node) in program.nodes.iter().enumerate() {
        if kinds[index] != Kind::Mixed {
            continue;
        }
        for value in &node.inputs {
            if !made.contains_key(&(*value, false)) {
                if kinds[value.index()] > Kind::Uniform {
                    return None;
                }
                let shape = &program.value(*value).shape;
                constant(program, &mut recorder, &mut made, *value, false, shape)?;
            }
        }
        let operands: Vec<ValueId> = node.inputs.iter().map(|value| made[&(*value, false)]).collect();
        let shape = Some(node.output.shape.as_slice());
        let result = recorder.push(node.op.clone(), &operands, shape).ok()?;
        made.insert((ValueId(index as u32), false), result);
    }
    let outputs = program
        .outputs
        .iter()
        .map(|value| made.get(&(*value, false)).copied());
    let outputs = outputs.collect::<Option<Vec<_>>>()?;
    Some(Piece {
        program: Arc::new(recorder.finish(outputs)),
        inputs: stretches
            .iter()
            .flatten()
            .map(|(slot, _)| Source::Slot(*slot))
            .collect(),
        outputs: results.to_vec(),
        frees: Vec::new(),
    })
}
