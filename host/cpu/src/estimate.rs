//! How much memory a program will take on this engine, known from its shapes: the run's allocations, without the run.

use std::collections::{HashMap, HashSet};

use super::attention::{self, Shape};
use super::convolution;
use super::few_rows::MOST_ROWS;
use super::memory::{MOST_CACHED, rounded};
use super::prepared_program::rope_tables;
use super::product::packed_elements;
use super::sequence_state::{CacheShape, most_tokens};
use super::stored_heads::BLOCK_TOKENS;
use monocle_tensor::backend::KeyValueType;
use monocle_tensor::operation::{CachedHeads, Op};
use monocle_tensor::operations::Placement;
use monocle_tensor::program::{Node, Program, ValueId};

const ELEMENT: usize = size_of::<f32>();

/// Rows that a step may have, whatever the program at hand has: a sliding window's cache holds them too.
const MOST_STEP_ROWS: usize = 512;

/// The most bytes that are alive at once while it runs, its inputs not counted.
pub fn program_bytes(program: &Program) -> usize {
    walk(program).peak * ELEMENT
}

/// Bytes of buffers that are left, and free, when these programs have run and a sequence of so many tokens is dropped. A buffer is never cut
/// up: of each size as many are left as were ever in use at once.
pub fn kept_bytes(programs: &[&Program], (first, tokens): (&Program, usize), kind: KeyValueType) -> usize {
    let mut most: HashMap<usize, usize> = HashMap::new();
    let mut walked = HashSet::new();
    for program in programs.iter().filter(|program| walked.insert(program.id)) {
        let mut sizes = walk(program).sizes;
        // Its inputs are there all the while.
        for input in &program.inputs {
            sizes.entry(rounded(input.len())).or_default()[1] += 1;
        }
        for (size, [_, count]) in sizes {
            let known = most.entry(size).or_default();
            *known = count.max(*known);
        }
    }
    let free = most.iter().map(|(size, count)| size * count);
    let free = free.fold(0_usize, usize::saturating_add);
    free.saturating_mul(ELEMENT)
        .saturating_add(cache_bytes(first, tokens, kind))
        .min(MOST_CACHED)
}

/// What a run allocates and frees.
fn walk(program: &Program) -> Values {
    let dying = program.dying();
    let (tables, count) = rope_tables(program);
    let mut has_table = vec![false; count];
    let mut values = Values::new(program);
    for (index, node) in program.nodes.iter().enumerate() {
        let dies = |input: usize| node.inputs.get(input).is_some_and(|id| dying[index].contains(id));
        if let (Op::Rope(rope), Some(table)) = (&node.op, tables[index])
            && !std::mem::replace(&mut has_table[table], true)
        {
            let tokens = program.value(node.inputs[1]).shape[1];
            values.keep(tokens * 2 * rope.frequencies.len());
        }
        let placement = node.op.facts().placement(&program.operands(node), &node.output);
        match placement {
            Placement::Given => {}
            Placement::Shared => values.share(index, node.inputs[0]),
            Placement::InPlace if dies(0) && values.is_alone(node.inputs[0]) => {
                values.share(index, node.inputs[0]);
            }
            Placement::InPlace | Placement::New => values.allocate(index, node.output.len()),
        }
        values.borrow(scratch(program, node));
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
    let states = 2 * program.kept_state();
    let mut elements = program.kept_context().map(rounded).sum::<usize>() + states;
    let mut most_partial = 0;
    for node in &program.nodes {
        let Op::Attend(attention) = &node.op else { continue };
        let shape = |input: usize| program.value(node.inputs[input]).shape.as_slice();
        let (q, k, value_dim) = (shape(0), shape(1), node.output.shape[2]);
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
        let block: usize = cached.block_words().map(rounded).iter().sum();
        elements = elements.saturating_add(kept.div_ceil(BLOCK_TOKENS).saturating_mul(block));
        let shape = Shape {
            heads: q[1],
            kv_heads: k[1],
            dim: q[2],
            value_dim,
            scale: attention.scale,
            softcap: attention.softcap,
        };
        most_partial = most_partial.max(rounded(attention::most_partial(shape, kept)));
    }
    elements.saturating_add(most_partial).saturating_mul(ELEMENT)
}

/// Elements of each buffer that an operation needs while it runs, besides its result.
fn scratch(program: &Program, node: &Node) -> [usize; 4] {
    let shape = |input: usize| program.value(node.inputs[input]).shape.as_slice();
    let last = |shape: &[usize]| shape.last().copied().unwrap_or(1);
    match &node.op {
        Op::Linear(_) => {
            let (x, k) = (program.value(node.inputs[0]), last(shape(0)));
            [product(x.len() / k.max(1), k), 0, 0, 0]
        }
        Op::MatMul { .. } => {
            let a = shape(0);
            [product(a[a.len() - 2], last(a)), 0, 0, 0]
        }
        Op::LinearHeads { transposed, .. } => {
            let (x, out) = (shape(0), &node.output.shape);
            let unpacked = if *transposed { rounded(x[2] * out[2]) } else { 0 };
            [
                rounded(x[0] * x[2]),
                rounded(x[0] * out[2]),
                unpacked,
                product(x[0], x[2]),
            ]
        }
        Op::ExpertLinear(_) => {
            // All rows may go to one expert.
            let (inner, out) = (last(shape(0)), &node.output.shape);
            let rows = out[0] * out[1];
            [
                rounded(rows * inner),
                rounded(rows * out[2]),
                product(rows, inner),
                0,
            ]
        }
        Op::Conv2d { groups, .. } => {
            let kernel = shape(1);
            let (outputs, patch) = (kernel[0] / groups, kernel[1..].iter().product::<usize>());
            if kernel[1] == 1 && outputs == 1 {
                return [0; 4];
            }
            let pixels = node.output.shape[..3].iter().product::<usize>();
            let block = convolution::BLOCK_PIXELS.min(pixels.max(1));
            let products = if *groups == 1 { 0 } else { block * outputs };
            [
                rounded(block * patch),
                rounded(products),
                product(block, patch),
                0,
            ]
        }
        Op::Interpolate { size, .. } => {
            let x = shape(0);
            [rounded(x[0] * x[1] * size[1] * x[3]), 0, 0, 0]
        }
        Op::Reduce { axes, .. } => {
            let trailing = axes.iter().enumerate().all(|(index, axis)| {
                let rank = shape(0).len();
                *axis == rank - axes.len() + index
            });
            let copy = match trailing {
                true => 0,
                false => rounded(program.value(node.inputs[0]).len()),
            };
            [copy, 0, 0, 0]
        }
        Op::ShortConv { .. } => {
            let (x, taps) = (shape(0), last(shape(1)));
            [rounded((x[0] + taps - 1) * x[1]), 0, 0, 0]
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
        | Op::Attention(_)
        | Op::Rope(_)
        | Op::SpliceFeatures { .. }
        | Op::AddFeatures { .. }
        | Op::SelectLogits
        | Op::Recurrent { .. }
        | Op::Attend(_)
        | Op::AttendShared(..)
        | Op::CrossAttend(_) => [0; 4],
    }
}

/// What a product of `[m, k]` with anything packs.
fn product(m: usize, k: usize) -> usize {
    if m <= MOST_ROWS {
        // Quantised matrices want their few rows arranged.
        rounded(m * k)
    } else {
        rounded(packed_elements(m, k))
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
        let live = constants.map(|node| rounded(node.output.len())).sum();
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
        self.live += rounded(elements);
        self.peak = self.peak.max(self.live);
        let [used, most] = self.sizes.entry(rounded(elements)).or_default();
        *used += 1;
        *most = (*most).max(*used);
    }

    fn free(&mut self, elements: usize) {
        self.live -= elements;
        if let Some([used, _]) = self.sizes.get_mut(&elements) {
            *used -= 1;
        }
    }

    fn share(&mut self, index: usize, with: ValueId) {
        let owner = self.owner[with.index()];
        self.owner[index] = owner;
        self.users[owner] += 1;
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
        self.users[owner] -= 1;
        if self.users[owner] == 0 && self.lengths[owner] > 0 {
            self.free(self.lengths[owner]);
        }
    }
}
