//! How much memory a program will take on this engine, known from its shapes: the run's allocations, without the run.

// Shapes are a plugin's: a sum of them that wraps would be an estimate of nothing.
#![deny(clippy::arithmetic_side_effects)]

use std::collections::{HashMap, HashSet};

use super::prepared_program::rope_tables;
use super::run::{Activations, keeps_rounded};
use super::sequence_state::{CacheShape, most_tokens};
use monocle_kernels::attention::{self, Queries, Shape};
use monocle_kernels::convolution;
use monocle_kernels::memory::{MOST_CACHED, rounded};
use monocle_kernels::product::packed_elements;
use monocle_kernels::product::{MOST_ROWS, MOST_ROWS_OF_AFFINE};
use monocle_kernels::stored_heads::BLOCK_TOKENS;
use monocle_tensor::backend::KeyValueType;
use monocle_tensor::interpolation::Sampling;
use monocle_tensor::operation::{CachedHeads, Op, WeightId};
use monocle_tensor::operations::Placement;
use monocle_tensor::program::{Node, Program, ValueId};

const ELEMENT: usize = size_of::<f32>();

/// Rows that a step may have, whatever the program at hand has: a sliding window's cache holds them too.
const MOST_STEP_ROWS: usize = 512;

/// The most bytes that are alive at once while it runs, its inputs not counted.
pub fn program_bytes(program: &Program, activations: Activations) -> usize {
    walk(program, activations).peak.saturating_mul(ELEMENT)
}

/// Bytes of buffers that are left, and free, when these programs have run and a sequence of so many tokens is dropped. A buffer is never cut
/// up: of each size as many are left as were ever in use at once.
pub fn kept_bytes(
    programs: &[&Program],
    (first, tokens): (&Program, usize),
    kind: KeyValueType,
    activations: Activations,
) -> usize {
    let mut most: HashMap<usize, usize> = HashMap::new();
    let mut walked = HashSet::new();
    for program in programs.iter().filter(|program| walked.insert(program.id)) {
        let mut sizes = walk(program, activations).sizes;
        // Its inputs are there all the while.
        for input in &program.inputs {
            let [_, most] = sizes.entry(rounded(input.len())).or_default();
            *most = most.saturating_add(1);
        }
        for (size, [_, count]) in sizes {
            let known = most.entry(size).or_default();
            *known = count.max(*known);
        }
    }
    let free = most.iter().map(|(size, count)| size.saturating_mul(*count));
    let free = free.fold(0_usize, usize::saturating_add);
    free.saturating_mul(ELEMENT)
        .saturating_add(cache_bytes(first, tokens, kind))
        .min(MOST_CACHED)
}

/// What a run allocates and frees.
fn walk(program: &Program, activations: Activations) -> Values {
    let dying = program.dying();
    let (tables, count) = rope_tables(program);
    let mut has_table = vec![false; count];
    let mut values = Values::new(program);
    // Of activations that were rounded for the last product.
    let mut kept = 0_usize;
    for (index, node) in program.nodes.iter().enumerate() {
        let dies = |input: usize| node.inputs.get(input).is_some_and(|id| dying[index].contains(id));
        if let (Op::Rope(rope), Some(table)) = (&node.op, tables[index])
            && !std::mem::replace(&mut has_table[table], true)
        {
            let tokens = program.value(node.inputs[1]).shape[1];
            values.keep(times([tokens, 2, rope.frequencies.len()]));
        }
        let placement = node.op.facts().placement(&program.operands(node), &node.output);
        // Rows that are put into themselves are read to the end.
        let is_read =
            matches!(node.op, Op::PutRows) && node.inputs.iter().skip(1).any(|id| *id == node.inputs[0]);
        match placement {
            Placement::Given => {}
            Placement::Shared => values.share(index, node.inputs[0]),
            Placement::InPlace if dies(0) && !is_read && values.is_alone(node.inputs[0]) => {
                values.share(index, node.inputs[0]);
            }
            Placement::InPlace | Placement::New => values.allocate(index, node.output.len()),
        }
        let mut needed = scratch(program, node, activations);
        match (&node.op, keeps_rounded(&node.op)) {
            (Op::Linear(weight), _)
                if activations != Activations::Floats && program.is_quantised(*weight) =>
            {
                kept = needed[0];
            }
            (Op::Linear(_), _) => kept = 0,
            (_, true) => needed[3] = needed[3].saturating_add(kept),
            (_, false) => kept = 0,
        }
        values.borrow(needed);
        for value in &dying[index] {
            values.release(*value);
        }
    }
    values
}

/// Bytes of a sequence's caches once they hold so many tokens, stored so, and of the context that this program brings; with what
/// attention puts together from pieces.
pub fn cache_bytes(program: &Program, tokens: usize, kind: KeyValueType) -> usize {
    // A state, and what it was before the last step.
    let states = program
        .kept_states()
        .map(|state| rounded(state).saturating_mul(2));
    let mut elements = program
        .kept_context()
        .map(rounded)
        .chain(states)
        .fold(0, usize::saturating_add);
    let mut most_partial = 0;
    for node in &program.nodes {
        let shape = |input: usize| program.value(node.inputs[input]).shape.as_slice();
        let q = node.inputs.first().map_or(&[][..], |_| shape(0));
        let value_dim = node.output.shape.last().copied().unwrap_or(0);
        let (attention, kv_heads, kept) = match &node.op {
            Op::Attend(attention) => {
                let k = shape(1);
                let cached = CacheShape {
                    kind,
                    heads: CachedHeads {
                        kv_heads: k[1],
                        dim: k[2],
                        value_dim,
                        latent: attention.value_dim.is_some(),
                    },
                };
                let kept = most_tokens(tokens, attention.window, q[0].max(MOST_STEP_ROWS));
                let block = cached.block_words().map(rounded).into_iter();
                let block = block.fold(0, usize::saturating_add);
                elements = elements.saturating_add(kept.div_ceil(BLOCK_TOKENS).saturating_mul(block));
                (attention, k[1], kept)
            }
            Op::AttendShared(attention, heads) => {
                let kept = most_tokens(tokens, attention.window, q[0].max(MOST_STEP_ROWS));
                (attention, heads.kv_heads, kept)
            }
            Op::CrossAttend(attention) if node.inputs.len() > 1 => (attention, shape(1)[1], shape(1)[0]),
            _ => continue,
        };
        let attended = Shape {
            heads: q[1],
            kv_heads,
            dim: q[2],
            value_dim,
            scale: attention.scale,
            softcap: attention.softcap,
        };
        let pieces = attention::piece_bytes(attended, kept).div_ceil(ELEMENT);
        let partial = rounded(attention::most_partial(attended, kept)).saturating_add(pieces);
        most_partial = most_partial.max(partial);
    }
    elements.saturating_add(most_partial).saturating_mul(ELEMENT)
}

/// Elements of each buffer that an operation needs while it runs, besides its result.
fn scratch(program: &Program, node: &Node, activations: Activations) -> [usize; 4] {
    let shape = |input: usize| program.value(node.inputs[input]).shape.as_slice();
    let last = |shape: &[usize]| shape.last().copied().unwrap_or(1);
    match &node.op {
        Op::Linear(weight) => {
            let (x, k) = (program.value(node.inputs[0]), last(shape(0)));
            let rows = x.len().checked_div(k).unwrap_or(0);
            let packed = match Right::stored(program, *weight) {
                Right::Rows if activations == Activations::Bf16 && rows <= MOST_ROWS => {
                    rounded(times([rows, k]))
                }
                right => product(right, rows, k),
            };
            [packed, 0, 0, 0]
        }
        Op::MatMul { transpose_right } => {
            let a = shape(0);
            let rows = a.iter().rev().nth(1).copied().unwrap_or(1);
            let right = match transpose_right {
                true => Right::Rows,
                false => Right::Columns,
            };
            [product(right, rows, last(a)), 0, 0, 0]
        }
        Op::LinearHeads {
            weight, transposed, ..
        } => {
            let (x, out) = (shape(0), &node.output.shape);
            let right = match transposed {
                true => Right::Columns,
                false => Right::stored(program, *weight),
            };
            let unpacked = if *transposed {
                rounded(times([x[2], out[2]]))
            } else {
                0
            };
            [
                rounded(times([x[0], x[2]])),
                rounded(times([x[0], out[2]])),
                unpacked,
                product(right, x[0], x[2]),
            ]
        }
        Op::ExpertLinear(weight) => {
            // All rows may go to one expert.
            let (inner, out) = (last(shape(0)), &node.output.shape);
            let rows = times([out[0], out[1]]);
            // Each row, and its expert.
            let listed = rows.saturating_mul(size_of::<(usize, usize)>());
            [
                rounded(times([rows, inner])),
                rounded(times([rows, out[2]])),
                product(Right::stored(program, *weight), rows, inner),
                listed.div_ceil(ELEMENT),
            ]
        }
        Op::Conv2d { groups, .. } => {
            let kernel = shape(1);
            let (outputs, patch) = (
                kernel[0].checked_div(*groups).unwrap_or(0),
                times(kernel[1..].iter().copied()),
            );
            if node.output.is_empty() {
                return [0; 4];
            }
            if kernel[1] == 1 && outputs == 1 {
                // The kernel with channels side by side.
                return [program.value(node.inputs[1]).len(), 0, 0, 0];
            }
            let pixels = times(node.output.shape[..3].iter().copied());
            let block = convolution::BLOCK_PIXELS.min(pixels.max(1));
            let products = if *groups == 1 { 0 } else { times([block, outputs]) };
            [
                rounded(times([block, patch])),
                rounded(products),
                product(Right::Rows, block, patch),
                0,
            ]
        }
        Op::Interpolate {
            size,
            method,
            align_corners,
            antialias,
        } => {
            let x = shape(0);
            let sampling = Sampling {
                method: *method,
                align_corners: *align_corners,
                antialias: *antialias,
            };
            if node.output.is_empty() {
                return [0; 4];
            }
            let lists = [(x[1], size[0]), (x[2], size[1])];
            let lists = lists.map(|(from, to)| sampling.most_bytes(from, to).div_ceil(ELEMENT));
            [rounded(times([x[0], x[1], size[1], x[3]])), lists[0], lists[1], 0]
        }
        Op::Reduce { axes, .. } => {
            let last_axes = (0..shape(0).len()).rev();
            let trailing = axes.iter().rev().zip(last_axes).all(|(axis, last)| *axis == last);
            let copy = match trailing {
                true => 0,
                false => rounded(program.value(node.inputs[0]).len()),
            };
            [copy, 0, 0, 0]
        }
        Op::ShortConv { .. } => {
            let (x, taps) = (shape(0), last(shape(1)));
            let rows = x[0].saturating_add(taps).saturating_sub(1);
            // Earlier rows with this step's, and the kernel with channels side by side.
            [rounded(times([rows, x[1]])), times([taps, x[1]]), 0, 0]
        }
        Op::Attention(_) => {
            let (q, k) = (shape(0), shape(1));
            let (batches, [rows, heads, dim]) = q.split_last_chunk().unwrap_or((&[], &[0; 3]));
            let (_, [keys, kv_heads, _]) = k.split_last_chunk().unwrap_or((&[], &[0; 3]));
            let attended = Shape {
                heads: *heads,
                kv_heads: *kv_heads,
                dim: *dim,
                value_dim: last(&node.output.shape),
                scale: 1.0,
                softcap: None,
            };
            let batch = times(batches.iter().copied());
            if node.output.is_empty() {
                return [0; 4];
            }
            let (rows, keys) = (*rows, *keys);
            let visible = rows.saturating_mul(size_of::<[usize; 2]>());
            let tasks = attention::list_bytes(attended, rows)
                .saturating_add(attention::piece_bytes(attended, keys))
                .saturating_add(size_of::<Queries<'_>>())
                .saturating_mul(batch);
            let partial = times([batch, attention::most_partial(attended, keys)]);
            let lists = [visible, tasks].map(|bytes| bytes.div_ceil(ELEMENT));
            [lists[0], lists[1], partial, 0]
        }
        Op::Attend(_) | Op::AttendShared(..) | Op::CrossAttend(_) => {
            let q = shape(0);
            let kv_heads = match (&node.op, node.inputs.get(1)) {
                (Op::AttendShared(_, heads), _) => heads.kv_heads,
                (_, Some(k)) => program.value(*k).shape[1],
                // The keys of the context are there already; there are no more heads of them than of queries.
                (_, None) => q[1],
            };
            let attended = Shape {
                heads: q[1],
                kv_heads,
                dim: q[2],
                value_dim: last(&node.output.shape),
                scale: 1.0,
                softcap: None,
            };
            let tasks = match node.output.is_empty() {
                true => 0,
                false => attention::list_bytes(attended, q[0]),
            };
            // What each row sees; there are no more sequences than rows.
            let seen = size_of::<([usize; 2], Queries<'_>)>();
            let lists = [tasks, q[0].saturating_mul(seen)].map(|bytes| bytes.div_ceil(ELEMENT));
            [lists[0], lists[1], 0, 0]
        }
        Op::Input(_)
        | Op::Tokens
        | Op::Positions
        | Op::Mark(_)
        | Op::ImageMask
        | Op::Context
        | Op::ContextMask
        | Op::Floats(_)
        | Op::Ints(_)
        | Op::Full(_)
        | Op::Weight(_)
        | Op::Unary(_)
        | Op::Binary(_)
        | Op::ScaleShift { .. }
        | Op::Clamp { .. }
        | Op::Select
        | Op::ToFloat
        | Op::ToInt
        | Op::Embed(_)
        | Op::RmsNorm { .. }
        | Op::LayerNorm { .. }
        | Op::Softmax
        | Op::TopK { .. }
        | Op::GatherLast
        | Op::Reshape
        | Op::Permute(_)
        | Op::Slice { .. }
        | Op::Concat { .. }
        | Op::Broadcast
        | Op::Pad { .. }
        | Op::TakeRows
        | Op::PutRows
        | Op::Pool2d { .. }
        | Op::Rope(_)
        | Op::SpliceFeatures { .. }
        | Op::AddFeatures { .. }
        | Op::SelectLogits
        | Op::Recurrent { .. } => [0; 4],
    }
}

/// A product that is beyond all memory where it is beyond numbers.
fn times(factors: impl IntoIterator<Item = usize>) -> usize {
    let mut factors: Vec<usize> = factors.into_iter().collect();
    // An empty factor makes all of it empty, however large the others are.
    factors.sort_unstable();
    factors.into_iter().fold(1, usize::saturating_mul)
}

/// How the right operand of a product lies.
#[derive(Clone, Copy)]
enum Right {
    /// Quantised rows.
    Quantised,
    /// Other rows.
    Rows,
    /// Columns.
    Columns,
}

impl Right {
    fn stored(program: &Program, weight: WeightId) -> Self {
        match program.is_quantised(weight) {
            true => Self::Quantised,
            false => Self::Rows,
        }
    }
}

/// What a product of `[m, k]` packs, at most.
fn product(right: Right, m: usize, k: usize) -> usize {
    match right {
        // They want their few rows arranged, or rounded.
        Right::Quantised if m <= MOST_ROWS_OF_AFFINE => rounded(times([m, k])),
        // They are read as they lie.
        Right::Rows if m <= MOST_ROWS => 0,
        _ => rounded(packed_elements(m, k)),
    }
}

/// Values that are alive, as far as memory goes.
struct Values {
    /// For each value, the one whose buffer it lies in.
    owner: Vec<usize>,
    /// For each owner, how many values lie in its buffer now.
    users: Vec<usize>,
    /// For each owner, the elements of its buffer; 0 where none was made for it.
    lengths: Vec<usize>,
    live: usize,
    peak: usize,
    /// For each size of buffer, how many are in use, and the most that ever were; constants not counted.
    sizes: HashMap<usize, [usize; 2]>,
}

impl Values {
    /// None yet. Constants are made when a program is prepared, and stay.
    fn new(program: &Program) -> Self {
        let count = program.nodes.len();
        let constants = program
            .nodes
            .iter()
            .filter(|node| node.op.facts().constant.is_some());
        let live = constants
            .map(|node| rounded(node.output.len()))
            .fold(0, usize::saturating_add);
        Self {
            owner: (0..count).collect(),
            users: vec![1; count],
            lengths: vec![0; count],
            live,
            peak: live,
            sizes: HashMap::new(),
        }
    }

    fn allocate(&mut self, index: usize, elements: usize) {
        self.lengths[index] = rounded(elements);
        self.keep(elements);
    }

    /// Until the run ends.
    fn keep(&mut self, elements: usize) {
        self.live = self.live.saturating_add(rounded(elements));
        self.peak = self.peak.max(self.live);
        let [used, most] = self.sizes.entry(rounded(elements)).or_default();
        *used = used.saturating_add(1);
        *most = (*most).max(*used);
    }

    fn free(&mut self, elements: usize) {
        self.live = self.live.saturating_sub(elements);
        if let Some([used, _]) = self.sizes.get_mut(&elements) {
            *used = used.saturating_sub(1);
        }
    }

    fn share(&mut self, index: usize, with: ValueId) {
        let owner = self.owner[with.index()];
        self.owner[index] = owner;
        self.users[owner] = self.users[owner].saturating_add(1);
    }

    /// Whether its buffer is its own, to be written to.
    fn is_alone(&self, value: ValueId) -> bool {
        let owner = self.owner[value.index()];
        self.lengths[owner] > 0 && self.users[owner] == 1
    }

    fn borrow(&mut self, buffers: [usize; 4]) {
        let buffers = buffers.map(rounded);
        buffers.iter().for_each(|elements| self.keep(*elements));
        buffers.iter().for_each(|elements| self.free(*elements));
    }

    fn release(&mut self, value: ValueId) {
        let owner = self.owner[value.index()];
        self.users[owner] = self.users[owner].saturating_sub(1);
        if self.users[owner] == 0 && self.lengths[owner] > 0 {
            self.free(self.lengths[owner]);
        }
    }
}
