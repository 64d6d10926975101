//! How much memory a program will take on this engine, known from its shapes.

// Shapes are a plugin's: a sum of them that wraps would be an estimate of nothing.
#![deny(clippy::arithmetic_side_effects)]

use monocle_tensor::operation::{Kind, Op};
use monocle_tensor::operations::Placement;
use monocle_tensor::program::{Node, Program, ValueId};

use super::device::Habits;
use super::elementwise;
use super::fuse::{self, Place};

/// The most bytes that are allocated at once while it runs, inputs and weights not counted: what is alive, what an operation makes
/// on the way, and what is dead but not freed yet. Rows attend to as many tokens of their sequence.
pub fn program_bytes(
    program: &Program,
    tokens: usize,
    float_bytes: usize,
    habits: &Habits,
    fuses: bool,
) -> usize {
    let places = fuse::places(program, fuses);
    let dying = fuse::dying(program, &places);
    let mut alive = Alive::new(program);
    let (mut peak, mut total) = (0_usize, 0_usize);
    let allocations = allocations(program, tokens, &places, float_bytes, habits);
    for (index, Allocation { result, temporary }) in allocations.into_iter().enumerate() {
        alive.allocate(index, result);
        peak = peak.max(alive.bytes.saturating_add(temporary));
        total = total.saturating_add(result).saturating_add(temporary);
        for value in &dying[index] {
            alive.release(*value);
        }
    }
    peak.saturating_add(habits.dead_bytes()).min(total)
}

/// Bytes that a node allocates.
#[derive(Debug, Clone, Copy, Default)]
pub struct Allocation {
    /// For its result.
    pub result: usize,
    /// On the way to it.
    pub temporary: usize,
}

/// What each node allocates, where rows attend to as many tokens of their sequence; those whose result is made within another one's allocate
/// nothing.
pub fn allocations(
    program: &Program,
    tokens: usize,
    places: &[Place],
    float_bytes: usize,
    habits: &Habits,
) -> Vec<Allocation> {
    let each = program.nodes.iter().zip(places).map(|(node, place)| match place {
        Place::Within(_) => Allocation::default(),
        Place::Result(_) => Allocation {
            result: result_bytes(program, node, float_bytes),
            temporary: 0,
        },
        Place::Alone => Allocation {
            result: result_bytes(program, node, float_bytes),
            temporary: temporary_bytes(program, tokens, node, float_bytes, habits),
        },
    });
    each.collect()
}

/// Bytes that a node's result takes; none where it is a view of an operand.
fn result_bytes(program: &Program, node: &Node, float_bytes: usize) -> usize {
    let facts = node.op.facts();
    let is_given = facts.placement(&program.operands(node), &node.output) == Placement::Given;
    match node.output.kind {
        _ if is_given || facts.is_view => 0,
        Kind::Float => node.output.len().saturating_mul(float_bytes),
        Kind::Int => node.output.len().saturating_mul(4),
    }
}

/// Bytes that are allocated on the way to a node's result, other than in a compiled function.
fn temporary_bytes(
    program: &Program,
    tokens: usize,
    node: &Node,
    float_bytes: usize,
    habits: &Habits,
) -> usize {
    let input = |index: usize| {
        node.inputs
            .get(index)
            .map_or(0, |value| program.value(*value).len().saturating_mul(float_bytes))
    };
    let result = node.output.len().saturating_mul(float_bytes);
    // What MLX's own functions are made of where they have no kernel.
    let written_out = |bytes: usize| if habits.writes_out { bytes } else { 0 };
    match &node.op {
        Op::Attention(attention) => {
            let whole = attention.segments.len() < 3;
            let longest = attention
                .segments
                .windows(2)
                .map(|pair| pair[1].saturating_sub(pair[0]) as usize);
            let keys = longest.max().filter(|_| !whole);
            let softcap = attention.softcap.is_some();
            attention_bytes(program, node, keys, softcap, false, float_bytes, habits)
        }
        Op::Attend(attention) | Op::AttendShared(attention, _) => {
            let rows = program.value(node.inputs[0]).shape[0];
            // A window's keys for each of the rows, and those of its own step at least.
            let seen = attention
                .window
                .map_or(tokens, |window| tokens.min(rows.saturating_add(window as usize)));
            let softcap = attention.softcap.is_some();
            let keys = Some(seen.max(rows));
            attention_bytes(program, node, keys, softcap, true, float_bytes, habits)
        }
        Op::CrossAttend(attention) => {
            let softcap = attention.softcap.is_some();
            attention_bytes(program, node, None, softcap, true, float_bytes, habits)
        }
        // A token's states on the way to the next, in 32 bits.
        Op::Recurrent { .. } => {
            let [keys, values] = [1, 2].map(|index| &program.value(node.inputs[index]).shape);
            let states = product([4, values[1], values[2], keys[2], 4]);
            states.saturating_add(product([2, node.output.len(), 4]))
        }
        // Halves of sines and cosines of halves, in 32 bits.
        Op::Rope(rope) if !super::rotary::is_plain(rope) => product([3, node.output.len(), 4]),
        Op::Rope(_) | Op::RmsNorm { .. } | Op::LayerNorm { .. } => written_out(result.saturating_mul(2)),
        // Patches side by side, for a product of matrices.
        Op::Conv2d { window, .. } => {
            let area = product(window.size.map(|side| side as usize));
            let channels = program.value(node.inputs[0]).shape[3];
            let positions = product(node.output.shape[..3].iter().copied());
            let patches = product([positions, area, channels, float_bytes]);
            written_out(input(0).saturating_add(patches))
        }
        // Between width and height, in 32 bits.
        Op::Interpolate { size, .. } => {
            let shape = &program.value(node.inputs[0]).shape;
            let between = product([shape[0], shape[1], size[1], shape[3]]);
            let whole = product(shape.iter().copied());
            let elements = node.output.len().saturating_add(whole).saturating_add(between);
            elements.saturating_mul(4)
        }
        // Heads before tokens, and back.
        Op::LinearHeads { .. } => input(0).saturating_add(result),
        // Strides of one operand are made those of a matrix.
        Op::MatMul { .. } => written_out(input(0).saturating_add(input(1))),
        op @ (Op::Unary(_)
        | Op::Binary(_)
        | Op::ScaleShift { .. }
        | Op::Clamp { .. }
        | Op::Select
        | Op::ToFloat
        | Op::ToInt) => {
            let kind = program.value(node.inputs[0]).kind;
            let kernels = op
                .facts()
                .elementwise
                .map_or(1, |op| elementwise::kernels(op, kind));
            kernels.saturating_sub(1).saturating_mul(result)
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
        | Op::Linear(_)
        | Op::Embed(_)
        | Op::ExpertLinear(_)
        | Op::Softmax
        | Op::Reduce { .. }
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
        | Op::SpliceFeatures { .. }
        | Op::AddFeatures { .. }
        | Op::SelectLogits
        | Op::ShortConv { .. } => 0,
    }
}

/// Of attention: its operands heads first, and where there is no kernel for it, scores, which the softmax overwrites.
fn attention_bytes(
    program: &Program,
    node: &Node,
    keys: Option<usize>,
    softcap: bool,
    masked: bool,
    float_bytes: usize,
    habits: &Habits,
) -> usize {
    let operands: usize = node
        .inputs
        .iter()
        .map(|value| program.value(*value).len().saturating_mul(float_bytes))
        .fold(0, usize::saturating_add);
    let q = &program.value(node.inputs[0]).shape;
    let (dim, rows) = q.split_last().map_or((0, &q[..]), |(dim, rows)| (*dim, rows));
    if !softcap && habits.has_attention(dim) {
        return operands;
    }
    // [.., rows, heads, keys]
    let keys = keys.unwrap_or_else(|| {
        let k = node.inputs.get(1).map_or(q, |value| &program.value(*value).shape);
        k.len().checked_sub(3).map_or(1, |place| k[place])
    });
    let rows = product(rows.iter().copied());
    let scores = product([rows, keys, float_bytes]);
    // Of those that are made in blocks, two at most are there at once; where rows see different keys, a copy of a block is masked.
    let most = habits.block.saturating_mul(2);
    let blocks = match masked && scores > habits.block {
        true => most,
        false => scores.min(most),
    };
    operands.saturating_add(blocks)
}

/// A product of sizes; beyond all memory where it is beyond numbers.
fn product(sizes: impl IntoIterator<Item = usize>) -> usize {
    sizes.into_iter().fold(1, usize::saturating_mul)
}

/// What is alive at a point of a program.
struct Alive {
    bytes: usize,
    /// For each node, the node in whose buffer its result lies.
    owners: Vec<usize>,
    /// For each node, how many results lie in its buffer.
    shared: Vec<usize>,
    sizes: Vec<usize>,
}

impl Alive {
    fn new(program: &Program) -> Self {
        let mut owners: Vec<usize> = (0..program.nodes.len()).collect();
        let mut shared = vec![0; owners.len()];
        for (index, node) in program.nodes.iter().enumerate() {
            if node.op.facts().is_view {
                owners[index] = owners[node.inputs[0].index()];
            }
            let count = &mut shared[owners[index]];
            *count = usize::saturating_add(*count, 1);
        }
        Self {
            bytes: 0,
            sizes: vec![0; owners.len()],
            owners,
            shared,
        }
    }

    fn allocate(&mut self, index: usize, bytes: usize) {
        self.sizes[index] = bytes;
        self.bytes = self.bytes.saturating_add(bytes);
    }

    fn release(&mut self, value: ValueId) {
        let owner = self.owners[value.index()];
        self.shared[owner] = self.shared[owner].saturating_sub(1);
        if self.shared[owner] == 0 {
            self.bytes = self.bytes.saturating_sub(self.sizes[owner]);
        }
    }
}
