//! Attention in tiles of keys with a running softmax (FlashAttention-2, arXiv:2307.08691): memory grows with the
//! tokens, never with their square. Which keys a row sees is an interval, so there is no mask either.

use std::ops::Range;

use crate::lanes::{Kernel, Lanes, Processor};
use crate::math;
use crate::matrix::{parts, with_scratch};
use crate::memory::Memory;
use crate::output::Shared;
use crate::product::{Initial, Left, TILE_ROWS, Tile, multiply_tile, turn};
use crate::stored_heads::{self, BLOCK_TOKENS};
use crate::threads::Threads;
use monocle_tensor::backend::KeyValueType;

/// Keys that are worked on at a time: a block of a cache.
pub const TILE_KEYS: usize = BLOCK_TOKENS;
/// Where few rows attend, keys are shared out among threads in pieces of so many, counted from the first token: how the work is cut
/// depends on nothing else, so any number of threads adds in the same order.
const PIECE_KEYS: usize = 4 * TILE_KEYS;
/// The same where a few more rows attend: their pieces are larger, so that what is kept of them takes no more memory.
const LONG_PIECE_KEYS: usize = 4 * PIECE_KEYS;
/// Heads that share a key-value head and are worked on together, where rows are worked on one by one: their sums are registers.
const HEADS: usize = 3;
/// Rows that one task works on, those of several heads counted together.
pub const TASK_ROWS: usize = 96;
/// Up to how many rows may be worked on one by one.
const FEW_ROWS: usize = 4;
/// Up to how many rows have their keys cut into pieces.
const SOME_ROWS: usize = FEW_ROWS * LONG_PIECE_KEYS / PIECE_KEYS;
/// Heads that may share a key-value head where rows are worked on one by one.
const MOST_SHARED: usize = 128;

/// Sizes and scores of one attention operation.
#[derive(Debug, Clone, Copy)]
pub struct Shape {
    /// Heads of the queries.
    pub heads: usize,
    /// Heads of keys and values; each serves `heads / kv_heads` heads.
    pub kv_heads: usize,
    /// Elements of a query or key.
    pub dim: usize,
    /// Elements of a value.
    pub value_dim: usize,
    /// Multiplies the scores.
    pub scale: f32,
    /// `softcap · tanh(score / softcap)`
    pub softcap: Option<f32>,
}

/// Keys and values of one sequence.
pub enum KeyValues<'a> {
    /// Keys `[tokens, kv_heads, dim]` and values `[tokens, kv_heads, value_dim]`.
    Rows([&'a [f32]; 2]),
    /// What a cache holds.
    Cached {
        /// Keys and values of each block, as [`stored_heads`] has them: `[kv_heads][..]`
        blocks: Vec<[&'a [f32]; 2]>,
        /// Values are the first elements of the keys.
        latent: bool,
        /// How many blocks before them are gone.
        gone: usize,
        /// How they are stored.
        kind: KeyValueType,
    },
}

/// Rows of one sequence and what they see.
pub struct Queries<'a> {
    /// First row in q and in the result.
    pub first: usize,
    /// For each row, the interval of keys that it sees.
    pub visible: &'a [[usize; 2]],
    /// What they attend to.
    pub keys: KeyValues<'a>,
}

/// What attention is computed with.
#[derive(Clone, Copy)]
pub struct Means<'a> {
    /// Whose kernels.
    pub processor: Processor,
    /// Who share the work.
    pub threads: &'a Threads,
    /// Where buffers come from.
    pub memory: &'a Memory,
    /// Whether queries, keys, values and weights of many rows are rounded to bf16, where the processor multiplies that.
    pub rounds: bool,
}

/// Attends: q and out are `[rows, heads, ..]`.
pub fn attend(means: Means<'_>, shape: Shape, q: &[f32], sequences: &[Queries<'_>], out: &mut [f32]) {
    let Means {
        processor,
        threads,
        memory,
        rounds,
    } = means;
    let in_bf16 = rounds && processor.multiplies_bf16() && shape.dim.is_multiple_of(2);
    if out.is_empty() {
        return;
    }
    let [count, split_count] = sequences.iter().fold([0, 0], |all, queries| {
        let own = counts(shape, threads.count(), queries);
        [0, 1].map(|index| usize::saturating_add(all[index], own[index]))
    });
    let mut tasks = memory.list(count);
    // Rows whose keys are worked on in several pieces, and where these pieces begin among the partial results.
    let mut split = memory.list(split_count);
    let mut pieces = 0;
    let group = shape.heads / shape.kv_heads.max(1);
    // What takes longest comes first, so that no thread is left alone with it at the end.
    for queries in sequences
        .iter()
        .filter(|queries| way(shape, queries) == Way::Blocks)
    {
        let rows = queries.visible.len();
        let together = heads_together(shape, rows, threads.count());
        for head in (0..shape.heads).step_by(together) {
            tasks.extend((0..rows).step_by(TASK_ROWS).map(|row| Part {
                queries,
                heads: [head, together],
                row,
                rows: TASK_ROWS.min(rows - row),
                keys: [0, usize::MAX],
                piece: None,
            }));
        }
    }
    for queries in sequences
        .iter()
        .filter(|queries| way(shape, queries) == Way::Together)
    {
        let rows = queries.visible.len();
        let together = heads_together(shape, rows, 1);
        let cuts = cuts(seen(queries.visible), LONG_PIECE_KEYS);
        for kv_head in 0..shape.kv_heads {
            for head in (0..group).step_by(together) {
                for (piece, keys) in cuts.clone().enumerate() {
                    tasks.push(Part {
                        queries,
                        heads: [kv_head * group + head, together],
                        row: 0,
                        rows,
                        keys,
                        piece: (cuts.len() > 1).then_some([pieces + piece, cuts.len()]),
                    });
                }
            }
            if cuts.len() > 1 {
                for row in queries.first..queries.first + rows {
                    split.push((row, kv_head, pieces..pieces + cuts.len()));
                    pieces += cuts.len();
                }
            }
        }
    }
    for queries in sequences
        .iter()
        .filter(|queries| way(shape, queries) == Way::OneByOne)
    {
        for (row, visible) in queries.visible.iter().enumerate() {
            let cuts = cuts(*visible, PIECE_KEYS);
            for kv_head in 0..shape.kv_heads {
                for (piece, keys) in cuts.clone().enumerate() {
                    tasks.push(Part {
                        queries,
                        heads: [kv_head * group, group],
                        row,
                        rows: 1,
                        keys,
                        piece: (cuts.len() > 1).then_some([pieces + piece, cuts.len()]),
                    });
                }
                if cuts.len() > 1 {
                    split.push((queries.first + row, kv_head, pieces..pieces + cuts.len()));
                    pieces += cuts.len();
                }
            }
        }
    }
    let mut partial = memory.take(pieces * partial_len(shape));
    let partial = &mut partial.floats_mut()[..pieces * partial_len(shape)];
    let (shared, shared_partial) = (Shared::new(out), Shared::new(partial));
    let tasks: &[Part<'_>] = &tasks;
    let work = |index: usize| {
        let part = tasks[index];
        let way = way(shape, part.queries);
        let needed = match way {
            Way::OneByOne => {
                let widest = shape.dim.max(shape.value_dim);
                shape.heads / shape.kv_heads * (TILE_KEYS + shape.value_dim) + TILE_KEYS * widest
            }
            Way::Together | Way::Blocks => Scratch::len(shape, part.rows * part.heads[1]),
        };
        if way == Way::Blocks && in_bf16 {
            let work = Rounded {
                shape,
                q,
                part,
                out: &shared,
            };
            with_scratch(work.scratch_len(), |scratch| {
                processor.attend_in_bf16(work, scratch)
            });
            return;
        }
        with_scratch(needed, |scratch| {
            processor.run(Task {
                shape,
                q,
                way,
                part,
                out: &shared,
                partial: &shared_partial,
                scratch,
            });
        });
    };
    let pairs: usize = sequences
        .iter()
        .flat_map(|queries| {
            queries
                .visible
                .iter()
                .map(|[start, end]| end.saturating_sub(*start))
        })
        .sum();
    let work_of_pair = shape
        .heads
        .saturating_mul(shape.dim.saturating_add(shape.value_dim));
    if pairs.saturating_mul(work_of_pair) < 64 * 1024 {
        (0..tasks.len()).for_each(work);
    } else {
        threads.parallel(tasks.len(), work);
    }
    for (row, head, pieces) in split.iter().cloned() {
        let out = &mut out[(row * shape.heads + head * group) * shape.value_dim..];
        let size = partial_len(shape);
        merge(shape, &partial[pieces.start * size..pieces.end * size], out);
    }
}

/// The most elements that are kept between the pieces and their merging, where one sequence attends to so many tokens.
pub fn most_partial(shape: Shape, tokens: usize) -> usize {
    let of = |rows: usize, keys: usize| match tokens.div_ceil(keys) {
        0 | 1 => 0,
        // One more where a window begins within a piece.
        pieces => rows.saturating_mul(pieces + 1),
    };
    of(FEW_ROWS, PIECE_KEYS)
        .max(of(SOME_ROWS, LONG_PIECE_KEYS))
        .saturating_mul(shape.kv_heads)
        .saturating_mul(partial_len(shape))
}

/// How many tasks there are for these rows, and how many of their parts are worked on in several pieces.
fn counts(shape: Shape, threads: usize, queries: &Queries<'_>) -> [usize; 2] {
    let rows = queries.visible.len();
    let pieces = |visible: [usize; 2], keys: usize| {
        let pieces = cuts(visible, keys).len();
        [pieces, usize::from(pieces > 1)]
    };
    match way(shape, queries) {
        Way::Blocks => {
            let heads = shape.heads / heads_together(shape, rows, threads);
            [rows.div_ceil(TASK_ROWS).saturating_mul(heads), 0]
        }
        Way::Together => {
            let [pieces, is_split] = pieces(seen(queries.visible), LONG_PIECE_KEYS);
            let heads = shape.heads / heads_together(shape, rows, 1);
            [
                pieces.saturating_mul(heads),
                (is_split * rows).saturating_mul(shape.kv_heads),
            ]
        }
        Way::OneByOne => {
            let all = queries.visible.iter().fold([0, 0], |all, visible| {
                let own = pieces(*visible, PIECE_KEYS);
                [all[0] + own[0], all[1] + own[1]]
            });
            all.map(|count| count.saturating_mul(shape.kv_heads))
        }
    }
}

/// The keys that any row sees.
pub fn seen(visible: &[[usize; 2]]) -> [usize; 2] {
    let seeing = || visible.iter().filter(|[lo, end]| lo < end);
    [
        seeing().map(|[lo, _]| *lo).min().unwrap_or(0),
        seeing().map(|[_, end]| *end).max().unwrap_or(0),
    ]
}

/// Cuts keys into pieces of so many, counted from the first of all; nothing is one piece, wherever it lies.
fn cuts([lo, end]: [usize; 2], size: usize) -> impl ExactSizeIterator<Item = [usize; 2]> + Clone {
    let [lo, end] = if lo < end { [lo, end] } else { [0, 0] };
    let first = lo / size;
    (first..end.div_ceil(size).max(first + 1))
        .map(move |piece| [lo.max(piece * size), end.min((piece + 1) * size)])
}

/// The most bytes of tasks where so many rows attend to a few keys; those for more keys are in [`piece_bytes`].
pub fn list_bytes(shape: Shape, rows: usize) -> usize {
    match way_of(shape, rows) {
        Way::OneByOne => task_bytes(rows.saturating_mul(shape.kv_heads), 0),
        Way::Together | Way::Blocks => task_bytes(rows.div_ceil(TASK_ROWS).saturating_mul(shape.heads), 0),
    }
}

/// The most bytes of tasks for the pieces of so many keys, beyond those of [`list_bytes`].
pub fn piece_bytes(shape: Shape, keys: usize) -> usize {
    let of = |tasks: usize, parts: usize, size: usize| match keys.div_ceil(size) {
        0 | 1 => 0,
        // One more where a window begins within a piece, one less that is counted already.
        pieces => task_bytes(tasks.saturating_mul(pieces), parts.saturating_mul(shape.kv_heads)),
    };
    let few = FEW_ROWS.saturating_mul(shape.kv_heads);
    of(few, FEW_ROWS, PIECE_KEYS).max(of(shape.heads, SOME_ROWS, LONG_PIECE_KEYS))
}

fn task_bytes(tasks: usize, split: usize) -> usize {
    tasks
        .saturating_mul(size_of::<Part<'_>>())
        .saturating_add(split.saturating_mul(size_of::<(usize, usize, Range<usize>)>()))
}

/// Elements of what one piece leaves: for each head of a group its sums, the largest score and the total of the weights.
fn partial_len(shape: Shape) -> usize {
    (shape.heads / shape.kv_heads.max(1)).saturating_mul(shape.value_dim.saturating_add(2))
}

/// Puts the pieces of one row together, in order: for each head of a group.
fn merge(shape: Shape, pieces: &[f32], out: &mut [f32]) {
    let size = shape.value_dim + 2;
    let group = shape.heads / shape.kv_heads;
    for (head, out) in out
        .chunks_exact_mut(shape.value_dim.max(1))
        .take(group)
        .enumerate()
    {
        out.fill(0.0);
        let mut running = Running::START;
        for piece in pieces.chunks_exact(group * size) {
            let (sums, state) = piece[head * size..][..size].split_at(shape.value_dim);
            let piece = Running {
                largest: state[0],
                total: state[1],
            };
            let [before, factor] = running.join(piece);
            for (out, sum) in out.iter_mut().zip(sums) {
                *out = *out * before + sum * factor;
            }
        }
        let factor = running.normaliser();
        out.iter_mut().for_each(|out| *out *= factor);
    }
}

/// How many heads that share a key-value head one task works on, so that keys and values are read once for them: as many as there is room for,
/// if every thread has a task then. Rows of a head are computed alike in any company.
fn heads_together(shape: Shape, rows: usize, threads: usize) -> usize {
    let group = shape.heads / shape.kv_heads.max(1);
    let tasks = |together: usize| shape.heads / together * rows.div_ceil(TASK_ROWS);
    let fits = |together: usize| group.is_multiple_of(together) && together * rows <= TASK_ROWS;
    (1..=group)
        .rev()
        .find(|&together| fits(together) && tasks(together) >= threads)
        .unwrap_or(1)
}

/// How the rows of a sequence are worked on: it depends on their number alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    /// Each by itself, all heads that share a key-value head at once; keys in pieces.
    OneByOne,
    /// All together, as products of small matrices; keys in long pieces.
    Together,
    /// The same in blocks of rows, which see all keys.
    Blocks,
}

fn way(shape: Shape, queries: &Queries<'_>) -> Way {
    way_of(shape, queries.visible.len())
}

fn way_of(shape: Shape, rows: usize) -> Way {
    let group = shape.heads / shape.kv_heads.max(1);
    // Products take six rows at a time.
    let fill_a_tile = rows > 1 && rows.saturating_mul(group) >= TILE_ROWS;
    match rows {
        0..=FEW_ROWS if group <= MOST_SHARED && !fill_a_tile => Way::OneByOne,
        0..=SOME_ROWS => Way::Together,
        _ => Way::Blocks,
    }
}

/// What one task works on.
#[derive(Clone, Copy)]
pub struct Part<'a> {
    /// Of which sequence.
    pub queries: &'a Queries<'a>,
    /// The first head and how many: of one key-value head, and all of its heads where rows are worked on one by one.
    pub heads: [usize; 2],
    /// The first row.
    pub row: usize,
    /// How many.
    pub rows: usize,
    /// The keys that are worked on, of those that the rows see.
    keys: [usize; 2],
    /// Where keys are cut: the number of this piece for the first row, and how many pieces each row has.
    piece: Option<[usize; 2]>,
}

/// Several rows of some heads, to be rounded.
#[derive(Clone, Copy)]
pub struct Rounded<'a> {
    /// Of the operation.
    pub shape: Shape,
    /// `[rows, heads, dim]`
    pub q: &'a [f32],
    /// Which rows and heads.
    pub part: Part<'a>,
    /// `[rows, heads, value_dim]`
    pub out: &'a Shared<'a, f32>,
}

/// Rows that are multiplied together where they are rounded.
pub const ROUNDED_ROWS: usize = 6;
/// Columns of a vector there.
pub const ROUNDED_WIDTH: usize = 16;

impl Rounded<'_> {
    /// Floats of scratch that it needs.
    pub fn scratch_len(&self) -> usize {
        self.sizes().iter().sum()
    }

    /// Those of each part: keys or values that are not stored as floats, then pairs of queries, of keys and of values, scores of some rows, pairs of
    /// weights, and sums.
    pub fn sizes(&self) -> [usize; 7] {
        let rows = (self.part.rows * self.part.heads[1]).next_multiple_of(ROUNDED_ROWS);
        let (dim, value_dim) = (
            self.shape.dim,
            self.shape.value_dim.next_multiple_of(ROUNDED_WIDTH),
        );
        [
            TILE_KEYS * dim.max(self.shape.value_dim),
            rows * dim / 2,
            TILE_KEYS * dim / 2,
            TILE_KEYS / 2 * value_dim,
            ROUNDED_ROWS * TILE_KEYS,
            ROUNDED_ROWS * TILE_KEYS / 2,
            rows * value_dim,
        ]
    }
}

struct Task<'a> {
    shape: Shape,
    q: &'a [f32],
    way: Way,
    part: Part<'a>,
    out: &'a Shared<'a, f32>,
    /// `[pieces][group][value_dim + 2]`
    partial: &'a Shared<'a, f32>,
    scratch: &'a mut [f32],
}

impl Kernel for Task<'_> {
    type Output = ();

    #[inline(always)]
    fn run<V: Lanes>(self) {
        match self.way {
            Way::OneByOne => self.one_row::<V>(),
            Way::Together | Way::Blocks => self.many_rows::<V>(),
        }
    }
}

/// Keys or values.
#[derive(Clone, Copy)]
pub enum Which {
    /// What queries are compared with.
    Keys,
    /// What weights are for.
    Values,
}

/// Some tokens' elements of one head, `stride` apart.
#[derive(Clone, Copy)]
pub struct Rows<'a> {
    /// From the first token's on.
    pub floats: &'a [f32],
    /// From a token to the next.
    pub stride: usize,
}

impl KeyValues<'_> {
    /// Keys or values of `count` tokens of one tile from the token `start` on; `room` holds them where they are not stored as floats.
    #[inline(always)]
    pub fn rows<'a, V: Lanes>(
        &'a self,
        shape: Shape,
        which: Which,
        [start, count]: [usize; 2],
        head: usize,
        room: &'a mut [f32],
    ) -> Rows<'a> {
        let (index, dim) = match which {
            Which::Keys => (0, shape.dim),
            Which::Values => (1, shape.value_dim),
        };
        match self {
            Self::Rows(parts) => {
                let stride = shape.kv_heads * dim;
                let first = start * stride + head * dim;
                Rows {
                    floats: &parts[index][first..first + (count - 1) * stride + dim],
                    stride,
                }
            }
            Self::Cached {
                blocks,
                latent,
                gone,
                kind,
            } => {
                let (index, stored_dim) = if *latent { (0, shape.dim) } else { (index, dim) };
                let (block, row) = (start / BLOCK_TOKENS - gone, start % BLOCK_TOKENS);
                let words = stored_heads::head_words(*kind, stored_dim);
                let stored = &blocks[block][index][head * words..][..words];
                let floats = match kind {
                    KeyValueType::F32 => &stored[row * stored_dim..(row + count) * stored_dim],
                    _ => {
                        let room = &mut room[..count * stored_dim];
                        stored_heads::load::<V>(*kind, stored, row, stored_dim, room);
                        room
                    }
                };
                Rows {
                    floats,
                    stride: stored_dim,
                }
            }
        }
    }
}

impl Task<'_> {
    /// One row, all heads that share a key-value head: keys and values are read once.
    #[inline(always)]
    fn one_row<V: Lanes>(self) {
        let Shape {
            heads,
            kv_heads,
            dim,
            value_dim,
            scale,
            softcap,
        } = self.shape;
        let group = heads / kv_heads;
        let Part {
            queries,
            heads: [head, _],
            ..
        } = self.part;
        let row = queries.first + self.part.row;
        let kv_head = head / group;
        let q = &self.q[(row * heads + kv_head * group) * dim..][..group * dim];
        let (scores, rest) = self.scratch.split_at_mut(group * TILE_KEYS);
        let (sums, room) = rest.split_at_mut(group * value_dim);
        sums.fill(0.0);
        let mut running = [Running::START; MOST_SHARED];
        let [lo, end] = self.part.keys;
        let mut tile = lo / TILE_KEYS * TILE_KEYS;
        while tile < end {
            let (from, to) = (lo.max(tile), end.min(tile + TILE_KEYS));
            let count = to - from;
            let keys = queries
                .keys
                .rows::<V>(self.shape, Which::Keys, [from, count], kv_head, room);
            for first in (0..group).step_by(HEADS) {
                let (q, scores) = (&q[first * dim..], &mut scores[first * TILE_KEYS..]);
                match group - first {
                    1 => dots::<V, 8, 1>(q, dim, keys, count, scale, scores),
                    2 => dots::<V, 4, 2>(q, dim, keys, count, scale, scores),
                    _ => dots::<V, 4, HEADS>(q, dim, keys, count, scale, scores),
                }
            }
            let values = queries
                .keys
                .rows::<V>(self.shape, Which::Values, [from, count], kv_head, room);
            for first in (0..group).step_by(HEADS) {
                let mut factors = [1.0; HEADS];
                for (head, factor) in (first..group).zip(&mut factors) {
                    let scores = &mut scores[head * TILE_KEYS..][..TILE_KEYS];
                    scores[count..].fill(f32::NEG_INFINITY);
                    *factor = running[head].update::<V>(scores, softcap);
                }
                let (weights, sums) = (&scores[first * TILE_KEYS..], &mut sums[first * value_dim..]);
                match group - first {
                    1 => weighted_sums::<V, 1>(weights, values, count, &factors, value_dim, sums),
                    2 => weighted_sums::<V, 2>(weights, values, count, &factors, value_dim, sums),
                    _ => weighted_sums::<V, HEADS>(weights, values, count, &factors, value_dim, sums),
                }
            }
            tile += TILE_KEYS;
        }
        if let Some([piece, _]) = self.part.piece {
            let size = value_dim + 2;
            // SAFETY: each task writes its own piece.
            let partial = unsafe { self.partial.part(piece * group * size, group * size) };
            for (head, partial) in partial.chunks_exact_mut(size).enumerate() {
                partial[..value_dim].copy_from_slice(&sums[head * value_dim..][..value_dim]);
                partial[value_dim] = running[head].largest;
                partial[value_dim + 1] = running[head].total;
            }
            return;
        }
        for head in 0..group {
            let at = (row * heads + kv_head * group + head) * value_dim;
            // SAFETY: each task writes its own row and heads.
            let out = unsafe { self.out.part(at, value_dim) };
            running[head].finish(&sums[head * value_dim..], out);
        }
    }

    /// Several rows of some heads, as products of small matrices.
    #[inline(always)]
    fn many_rows<V: Lanes>(self) {
        let Shape {
            heads,
            kv_heads,
            dim,
            value_dim,
            scale,
            softcap,
        } = self.shape;
        let Part {
            queries,
            heads: [first_head, together],
            row: first_row,
            rows,
            keys,
            piece,
        } = self.part;
        // Rows of one head come after those of another.
        let queried = together * rows;
        let width = 2 * V::COUNT;
        let kv_head = first_head / (heads / kv_heads);
        let scratch = Scratch::split(self.scratch, self.shape, queried);
        let out_stride = scratch.out_stride;
        let panels = queried.div_ceil(TILE_ROWS);
        for row in 0..panels * TILE_ROWS {
            let panel = &mut scratch.queries[row / TILE_ROWS * TILE_ROWS * dim..][..TILE_ROWS * dim];
            let lane = row % TILE_ROWS;
            if row < queried {
                let (head, row) = (first_head + row / rows, queries.first + first_row + row % rows);
                let at = (row * heads + head) * dim;
                for (index, value) in self.q[at..at + dim].iter().enumerate() {
                    panel[index * TILE_ROWS + lane] = value * scale;
                }
            } else {
                (0..dim).for_each(|index| panel[index * TILE_ROWS + lane] = 0.0);
            }
        }
        scratch.sums.fill(0.0);
        let mut running = [Running::START; TASK_ROWS];
        let visible = &queries.visible[first_row..first_row + rows];
        let [lo, end] = seen(visible);
        let [lo, end] = [lo.max(keys[0]), end.min(keys[1])];
        let mut start = lo / TILE_KEYS * TILE_KEYS;
        while start < end {
            let count = TILE_KEYS.min(end - start);
            let keys = queries
                .keys
                .rows::<V>(self.shape, Which::Keys, [start, count], kv_head, scratch.room);
            for (panel, first) in scratch
                .keys
                .chunks_mut((dim * width).max(1))
                .zip((0..count).step_by(width))
            {
                let stride = keys.stride;
                let lanes = width.min(count - first);
                if lanes < width {
                    panel.fill(0.0);
                }
                for eight in (0..lanes).step_by(8) {
                    let rows = 8.min(lanes - eight);
                    let from = &keys.floats[(first + eight) * stride..][..(rows - 1) * stride + dim];
                    turn::<V>(from, stride, dim, &mut panel[eight..], width);
                }
            }
            let values =
                queries
                    .keys
                    .rows::<V>(self.shape, Which::Values, [start, count], kv_head, scratch.room);
            // The last values, when they do not fill two vectors, padded.
            let whole = value_dim / width * width;
            if whole < value_dim {
                for (key, slot) in scratch.values.chunks_mut(width).enumerate().take(count) {
                    slot.fill(0.0);
                    slot[..value_dim - whole]
                        .copy_from_slice(&values.floats[key * values.stride + whole..][..value_dim - whole]);
                }
            }
            for panel in 0..panels {
                let first = panel * TILE_ROWS;
                let q = &scratch.queries[first * dim..][..TILE_ROWS * dim];
                let scores = &mut scratch.scores[..TILE_ROWS * TILE_KEYS];
                for column in (0..count).step_by(width) {
                    let tile = Tile {
                        at: scores[column..].as_mut_ptr(),
                        stride: TILE_KEYS,
                        rows: TILE_ROWS,
                        columns: width,
                    };
                    // SAFETY: a panel holds `dim` rows of two vectors, and `scores` six rows of `TILE_KEYS`.
                    unsafe {
                        let keys = scratch.keys[column * dim..][..width * dim].as_ptr();
                        multiply_tile::<V>(Left::packed(q), keys, width, dim, tile, Initial::Zero);
                    }
                }
                for lane in 0..TILE_ROWS.min(queried - first) {
                    let [lo, end] = visible[(first + lane) % rows];
                    let seen = [lo.max(start), end.min(start + count)].map(|key| key.saturating_sub(start));
                    let scores = &mut scores[lane * TILE_KEYS..][..TILE_KEYS];
                    let sums = &mut scratch.sums[(first + lane) * out_stride..][..out_stride];
                    running[first + lane].weigh::<V>(scores, seen, softcap, sums);
                }
                // Those of rows that are not there are not written anywhere.
                let weights = Left {
                    numbers: scores,
                    row_stride: TILE_KEYS,
                    inner_stride: 1,
                };
                for column in (0..value_dim).step_by(width) {
                    let tile = Tile {
                        at: scratch.sums[first * out_stride + column..].as_mut_ptr(),
                        stride: out_stride,
                        rows: TILE_ROWS,
                        columns: width,
                    };
                    let (right, stride) = if column < whole {
                        let needed = (count - 1) * values.stride + width;
                        (values.floats[column..][..needed].as_ptr(), values.stride)
                    } else {
                        (scratch.values[..count * width].as_ptr(), width)
                    };
                    // SAFETY: `count` rows of two vectors lie there, and `sums` has room for whole tiles.
                    unsafe { multiply_tile::<V>(weights, right, stride, count, tile, Initial::Present) };
                }
            }
            start += count;
        }
        for (index, running) in running.iter().enumerate().take(queried) {
            let (head, row) = (
                first_head + index / rows,
                queries.first + first_row + index % rows,
            );
            if let Some([piece, pieces]) = piece {
                let group = heads / kv_heads;
                let size = value_dim + 2;
                let piece = piece + index % rows * pieces;
                // SAFETY: each task writes its own rows of its own heads and piece.
                let partial = unsafe {
                    self.partial
                        .part((piece * group + head - kv_head * group) * size, size)
                };
                partial[..value_dim].copy_from_slice(&scratch.sums[index * out_stride..][..value_dim]);
                partial[value_dim] = running.largest;
                partial[value_dim + 1] = running.total;
                continue;
            }
            let at = (row * heads + head) * value_dim;
            // SAFETY: each task writes its own rows of its own heads.
            let out = unsafe { self.out.part(at, value_dim) };
            running.finish(&scratch.sums[index * out_stride..], out);
        }
    }
}

/// Memory of a task of several rows.
struct Scratch<'a> {
    /// Keys or values of a tile that are not stored as floats.
    room: &'a mut [f32],
    /// `[panels][dim][6]`
    queries: &'a mut [f32],
    /// `[panels][dim][two vectors]`
    keys: &'a mut [f32],
    /// `[TILE_KEYS][two vectors]`: the last columns of the values.
    values: &'a mut [f32],
    /// `[6][TILE_KEYS]`
    scores: &'a mut [f32],
    /// `[rows][out_stride]`
    sums: &'a mut [f32],
    out_stride: usize,
}

/// Room for two vectors of any instruction set.
const WIDEST: usize = super::product::TILE_COLUMNS;

impl<'a> Scratch<'a> {
    fn sizes(shape: Shape, rows: usize) -> [usize; 6] {
        let rows = rows.next_multiple_of(TILE_ROWS);
        [
            TILE_KEYS * shape.dim.max(shape.value_dim),
            rows * shape.dim,
            TILE_KEYS * shape.dim,
            TILE_KEYS * WIDEST,
            TILE_ROWS * TILE_KEYS,
            rows * shape.value_dim.next_multiple_of(WIDEST),
        ]
    }

    fn len(shape: Shape, rows: usize) -> usize {
        Self::sizes(shape, rows).iter().sum()
    }

    #[inline(always)]
    fn split(all: &'a mut [f32], shape: Shape, rows: usize) -> Self {
        let [room, queries, keys, values, scores, sums] = parts(all, Self::sizes(shape, rows));
        Self {
            room,
            queries,
            keys,
            values,
            scores,
            sums,
            out_stride: shape.value_dim.next_multiple_of(WIDEST),
        }
    }
}

/// A softmax that sees its scores tile by tile.
#[derive(Clone, Copy)]
pub struct Running {
    largest: f32,
    total: f32,
}

impl Running {
    /// Nothing was seen.
    pub const START: Self = Self {
        largest: f32::NEG_INFINITY,
        total: 0.0,
    };

    /// Turns scores into weights; gives what earlier sums must be multiplied by.
    #[inline(always)]
    fn update<V: Lanes>(&mut self, scores: &mut [f32], softcap: Option<f32>) -> f32 {
        let at = scores.as_mut_ptr();
        let steps = (0..scores.len()).step_by(V::COUNT);
        assert!(scores.len().is_multiple_of(V::COUNT));
        let mut largest = V::splat(self.largest);
        // SAFETY: the scores are a whole number of vectors.
        unsafe {
            for index in steps.clone() {
                let mut score = V::load(at.add(index));
                if let Some(cap) = softcap {
                    let capped = math::tanh(score.div(V::splat(cap))).mul(V::splat(cap));
                    // What is masked stays so.
                    score = score.where_less(V::splat(f32::MIN), score, capped);
                    score.store(at.add(index));
                }
                largest = score.max(largest);
            }
            let largest = largest.largest();
            let factor = if self.largest == largest {
                1.0
            } else {
                (self.largest - largest).exp()
            };
            let mut total = V::splat(0.0);
            for index in steps {
                let weight = math::exp(V::load(at.add(index)).sub(V::splat(largest)));
                weight.store(at.add(index));
                total = total.add(weight);
            }
            self.largest = largest;
            self.total = self.total * factor + total.sum();
            factor
        }
    }

    /// Takes in what was seen of other keys; gives what its own sums and those must be multiplied by.
    fn join(&mut self, other: Self) -> [f32; 2] {
        let largest = self.largest.max(other.largest);
        let factor = |part: f32| {
            if part == largest {
                1.0
            } else {
                (part - largest).exp()
            }
        };
        let factors = [factor(self.largest), factor(other.largest)];
        self.total = self.total * factors[0] + other.total * factors[1];
        self.largest = largest;
        factors
    }

    /// Turns a tile's scores into weights, where the row sees these of its keys, and has its sums of earlier tiles fit them.
    #[inline(always)]
    pub fn weigh<V: Lanes>(
        &mut self,
        scores: &mut [f32],
        [from, to]: [usize; 2],
        softcap: Option<f32>,
        sums: &mut [f32],
    ) {
        if from >= to {
            scores.fill(0.0);
            return;
        }
        scores[..from].fill(f32::NEG_INFINITY);
        scores[to..].fill(f32::NEG_INFINITY);
        let factor = self.update::<V>(scores, softcap);
        if factor != 1.0 {
            sums.iter_mut().for_each(|sum| *sum *= factor);
        }
    }

    /// Writes what sums of all that was seen come to.
    pub fn finish(self, sums: &[f32], out: &mut [f32]) {
        let factor = self.normaliser();
        for (out, sum) in out.iter_mut().zip(sums) {
            *out = sum * factor;
        }
    }

    /// What sums are multiplied by in the end; 0 when nothing was seen.
    fn normaliser(self) -> f32 {
        if self.total == 0.0 { 0.0 } else { 1.0 / self.total }
    }
}

/// `scores[head][key] = q[head] · keys[key] · scale` for `H` heads and so many keys: q is `[H, dim]`, scores `[H, TILE_KEYS]`. `N` keys at a time: so
/// many sums do not wait for each other.
#[inline(always)]
fn dots<V: Lanes, const N: usize, const H: usize>(
    q: &[f32],
    dim: usize,
    keys: Rows<'_>,
    count: usize,
    scale: f32,
    scores: &mut [f32],
) {
    assert!(q.len() >= H * dim && scores.len() >= H * TILE_KEYS && count <= TILE_KEYS);
    let mut key = 0;
    while key < count {
        let keys_here = &keys.floats[key * keys.stride..];
        let step = if key + N <= count { N } else { 1 };
        let found = match step {
            1 => dots_of::<V, 1, H>(q, dim, keys_here, keys.stride).map(|[found]| [found; N]),
            _ => dots_of::<V, N, H>(q, dim, keys_here, keys.stride),
        };
        for (head, found) in found.into_iter().enumerate() {
            let scores = &mut scores[head * TILE_KEYS + key..][..step];
            for (score, found) in scores.iter_mut().zip(found) {
                *score = found * scale;
            }
        }
        key += step;
    }
}

#[inline(always)]
fn dots_of<V: Lanes, const N: usize, const H: usize>(
    q: &[f32],
    dim: usize,
    keys: &[f32],
    stride: usize,
) -> [[f32; N]; H] {
    assert!(q.len() >= H * dim && keys.len() >= (N - 1) * stride + dim);
    let whole = dim / V::COUNT * V::COUNT;
    let mut sums = [[V::splat(0.0); N]; H];
    for at in (0..whole).step_by(V::COUNT) {
        for key in 0..N {
            // SAFETY: `at + COUNT <= dim`, which every head of q and all keys hold.
            unsafe {
                let elements = V::load(keys.as_ptr().add(key * stride + at));
                for (head, sums) in sums.iter_mut().enumerate() {
                    let q = V::load(q.as_ptr().add(head * dim + at));
                    sums[key] = q.mul_add(elements, sums[key]);
                }
            }
        }
    }
    let mut out = [[0.0; N]; H];
    for (head, (out, sums)) in out.iter_mut().zip(sums).enumerate() {
        // However many keys there are, each one's parts are added in the same order.
        for (out, sums) in out.chunks_mut(4).zip(sums.chunks(4)) {
            let mut four = [V::splat(0.0); 4];
            four[..sums.len()].copy_from_slice(sums);
            out.copy_from_slice(&V::sums_of_four(four)[..sums.len()]);
        }
        for (key, out) in out.iter_mut().enumerate() {
            for at in whole..dim {
                *out += q[head * dim + at] * keys[key * stride + at];
            }
        }
    }
    out
}

/// `sums[head] = sums[head] * factors[head] + Σ weights[head][key] · values[key]` for `H` heads and so many keys: weights are `[H, TILE_KEYS]`, sums
/// `[H, dim]`.
#[inline(always)]
fn weighted_sums<V: Lanes, const H: usize>(
    weights: &[f32],
    values: Rows<'_>,
    count: usize,
    factors: &[f32; HEADS],
    dim: usize,
    sums: &mut [f32],
) {
    let Rows { floats, stride } = values;
    assert!(floats.len() >= (count - 1) * stride + dim && count <= TILE_KEYS);
    assert!(weights.len() >= H * TILE_KEYS && sums.len() >= H * dim);
    let mut column = 0;
    // SAFETY: these columns lie within each head's sums and every row of values.
    unsafe {
        while column + 4 * V::COUNT <= dim {
            let (values, sums) = (floats.as_ptr().add(column), sums.as_mut_ptr().add(column));
            weighted_columns::<V, 4, H>(weights, values, stride, count, factors, dim, sums);
            column += 4 * V::COUNT;
        }
        while column + V::COUNT <= dim {
            let (values, sums) = (floats.as_ptr().add(column), sums.as_mut_ptr().add(column));
            weighted_columns::<V, 1, H>(weights, values, stride, count, factors, dim, sums);
            column += V::COUNT;
        }
    }
    for head in 0..H {
        for column in column..dim {
            let mut sum = sums[head * dim + column] * factors[head];
            for (index, weight) in weights[head * TILE_KEYS..][..count].iter().enumerate() {
                sum += weight * floats[index * stride + column];
            }
            sums[head * dim + column] = sum;
        }
    }
}

/// `N` vectors' width of [`weighted_sums`].
///
/// # Safety
/// As many columns must be readable at `values`, and every `stride` after it, for each of so many keys, and writable at `sums`, and every `dim`
/// after it, for each head. There must be weights for each head.
#[inline(always)]
unsafe fn weighted_columns<V: Lanes, const N: usize, const H: usize>(
    weights: &[f32],
    values: *const f32,
    stride: usize,
    count: usize,
    factors: &[f32; HEADS],
    dim: usize,
    sums: *mut f32,
) {
    let mut totals = [[V::splat(0.0); N]; H];
    // SAFETY: the caller vouches for sums, values and weights.
    unsafe {
        for (head, totals) in totals.iter_mut().enumerate() {
            for (part, total) in totals.iter_mut().enumerate() {
                let sums = V::load(sums.add(head * dim + part * V::COUNT));
                *total = sums.mul(V::splat(factors[head]));
            }
        }
        for key in 0..count {
            let mut own = [V::splat(0.0); H];
            for (head, own) in own.iter_mut().enumerate() {
                *own = V::splat(*weights.as_ptr().add(head * TILE_KEYS + key));
            }
            for part in 0..N {
                let values = V::load(values.add(key * stride + part * V::COUNT));
                for (totals, own) in totals.iter_mut().zip(own) {
                    totals[part] = own.mul_add(values, totals[part]);
                }
            }
        }
        for (head, totals) in totals.into_iter().enumerate() {
            for (part, total) in totals.into_iter().enumerate() {
                total.store(sums.add(head * dim + part * V::COUNT));
            }
        }
    }
}
