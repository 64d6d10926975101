//! A picture's encoder program in slices, so that others' answers go on between them.
//!
//! Where a program treats the tiles of a picture alike and apart ([`tiles`]), it becomes one for a few tiles, run again and again, and a rest that
//! puts their results together. Each of these is cut between operations ([`cuts`]) into pieces of about equal work. A piece is a program like
//! any other: no engine knows of slices. What is computed is the same; tiles that are computed apart need less memory at once.

mod cuts;
mod tiles;
pub mod work;

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::ops::Range;
use std::sync::Arc;

use monocle_tensor::backend::Backend;
use monocle_tensor::program::{Program, ProgramId};
use monocle_tensor::recorder::{Recorder, RecordingLimits};
use monocle_tensor::stored::Weight;

/// Work of one slice: multiplications by as many numbers as so many rows of a forward pass multiply by.
const ROWS: u64 = 8;

/// Bytes of a number.
const FLOAT: usize = 4;

/// Where a piece's input comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// A pixel tensor, or some of its tiles.
    Pixels {
        /// Which tensor.
        tensor: usize,
        /// Which part of its first dimension.
        tiles: Range<usize>,
    },
    /// What an earlier piece left.
    Slot(usize),
}

/// A piece of an encoder's work.
#[derive(Debug, Clone)]
pub struct Piece {
    /// What is run.
    pub program: Arc<Program>,
    /// On what.
    pub inputs: Vec<Source>,
    /// Where its results go.
    pub outputs: Vec<usize>,
    /// Slots that nothing needs after it.
    pub frees: Vec<usize>,
}

/// What encodes a picture.
#[derive(Debug)]
pub struct Encoder {
    /// All of it, as it was recorded.
    pub program: Arc<Program>,
    /// The same in pieces.
    pub pieces: Vec<Piece>,
    /// How many slots they use.
    pub slots: usize,
    /// Where the feature sets are in the end.
    pub results: Vec<usize>,
}

/// What running an encoder takes at most, in bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct EncoderBytes {
    /// While a piece runs: pixels, what is kept between pieces, what the piece allocates.
    pub peak: usize,
    /// Between two pieces, beside the forward passes that run there.
    pub between: usize,
}

impl Encoder {
    /// The slices of a program. `weights` are those that it may use.
    pub fn new(program: Arc<Program>, weights: &Arc<Vec<Weight>>) -> Self {
        let numbers: usize = weights
            .iter()
            .map(|weight| weight.shape().iter().product::<usize>())
            .sum();
        Self::within(program, weights, (numbers as u64).saturating_mul(ROWS).max(1))
    }

    /// Slices of about so much work each.
    fn within(program: Arc<Program>, weights: &Arc<Vec<Weight>>, budget: u64) -> Self {
        let mut encoder = match Self::sliced(&program, weights, budget) {
            Some(encoder) => encoder,
            None => Self::whole(&program),
        };
        encoder.note_last_uses();
        encoder
    }

    /// One piece: all of it.
    fn whole(program: &Arc<Program>) -> Self {
        let all = |tensor: usize| Source::Pixels {
            tensor,
            tiles: 0..program.inputs[tensor].shape.first().copied().unwrap_or(0),
        };
        let results: Vec<usize> = (0..program.outputs.len()).collect();
        Self {
            program: Arc::clone(program),
            pieces: vec![Piece {
                program: Arc::clone(program),
                inputs: (0..program.inputs.len()).map(all).collect(),
                outputs: results.clone(),
                frees: Vec::new(),
            }],
            slots: results.len(),
            results,
        }
    }

    /// None where the program has an unusual form, or is small.
    fn sliced(program: &Arc<Program>, weights: &Arc<Vec<Weight>>, budget: u64) -> Option<Self> {
        if work::of(program) <= budget {
            return None;
        }
        let coarse = match tiles::split(program, weights, budget) {
            Some(split) => split,
            None => Self::whole(program),
        };
        let mut encoder = Self {
            program: Arc::clone(program),
            pieces: Vec::new(),
            ..coarse
        };
        // Tiles share programs, and so their pieces.
        let mut cut: HashMap<ProgramId, cuts::Cut> = HashMap::new();
        for piece in coarse.pieces {
            let known = match cut.entry(piece.program.id) {
                Entry::Occupied(known) => known.into_mut(),
                Entry::Vacant(unknown) => unknown.insert(cuts::cut(&piece.program, weights, budget)?),
            };
            encoder.slots += known.append(&piece, encoder.slots, &mut encoder.pieces);
        }
        Some(encoder)
    }

    fn note_last_uses(&mut self) {
        let mut needed = vec![false; self.slots];
        for slot in &self.results {
            needed[*slot] = true;
        }
        for piece in self.pieces.iter_mut().rev() {
            piece.frees.clear();
            let inputs = piece.inputs.iter().filter_map(|source| match source {
                Source::Slot(slot) => Some(*slot),
                Source::Pixels { .. } => None,
            });
            for slot in inputs.chain(piece.outputs.iter().copied()) {
                if !std::mem::replace(&mut needed[slot], true) {
                    piece.frees.push(slot);
                }
            }
        }
    }

    /// What it takes on an engine.
    pub fn bytes(&self, backend: &dyn Backend) -> EncoderBytes {
        // Programs may have very many pieces and results: what is kept is counted along.
        let (mut slots, mut kept) = (vec![0; self.slots], 0_usize);
        let mut fill = |slot: usize, bytes: usize| {
            kept = kept - std::mem::replace(&mut slots[slot], bytes) + bytes;
            kept
        };
        let mut most = EncoderBytes::default();
        let mut between = 0;
        let mut known: HashMap<ProgramId, usize> = HashMap::new();
        for piece in &self.pieces {
            let pixels: usize = piece.inputs.iter().map(|source| self.pixel_bytes(source)).sum();
            let run = known.entry(piece.program.id);
            let run = *run.or_insert_with(|| backend.program_bytes(&piece.program, 0));
            most.peak = most.peak.max(between + pixels + run);
            for (slot, value) in piece.outputs.iter().zip(&piece.program.outputs) {
                between = fill(*slot, piece.program.value(*value).len() * FLOAT);
            }
            for slot in &piece.frees {
                between = fill(*slot, 0);
            }
            most.between = most.between.max(between);
        }
        most
    }

    fn pixel_bytes(&self, source: &Source) -> usize {
        match source {
            Source::Pixels { tensor, tiles } => {
                let shape = &self.program.inputs[*tensor].shape;
                tiles.len() * shape[1..].iter().product::<usize>() * FLOAT
            }
            Source::Slot(_) => 0,
        }
    }
}

/// A recording of what was recorded before: its limits were kept then.
fn recorder(weights: &Arc<Vec<Weight>>, inputs: Vec<monocle_tensor::program::ValueType>) -> Recorder {
    let limits = RecordingLimits {
        operations: usize::MAX,
        constant_bytes: usize::MAX,
        elements: usize::MAX,
    };
    Recorder::new(Arc::clone(weights), inputs, None, limits)
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use monocle_cpu::CpuBackend;
    use monocle_tensor::backend::Tensor;
    use monocle_tensor::operation::{Attention, Binary, Op, Pooling, Reduction, Unary, Window};
    use monocle_tensor::program::{ValueId, ValueType};
    use proptest::prelude::*;

    use super::*;

    /// Records operations on pictures of so many tiles of 4 by 4 pixels.
    struct Tower {
        recorder: Recorder,
        tiles: usize,
        value: ValueId,
    }

    impl Tower {
        fn new(tiles: usize) -> Self {
            let recorder = recorder(&Arc::default(), vec![ValueType::float([tiles, 4, 4, 3])]);
            let value = recorder.input_values()[0];
            Self {
                recorder,
                tiles,
                value,
            }
        }

        fn push(&mut self, op: Op, inputs: &[ValueId], shape: Option<&[usize]>) -> ValueId {
            self.recorder.push(op, inputs, shape).unwrap()
        }

        fn constant(&mut self, shape: &[usize]) -> ValueId {
            let values =
                (0..shape.iter().product()).map(|index: usize| ((index * 37 + 11) % 29) as f32 / 29.0 - 0.4);
            self.push(Op::Floats(values.collect()), &[], Some(shape))
        }

        fn then(&mut self, op: Op, others: &[ValueId], shape: Option<&[usize]>) {
            let inputs = [&[self.value], others].concat();
            self.value = self.push(op, &inputs, shape);
        }

        /// Patches of 2 by 2 pixels with their places: `[tiles, 4, 8]`.
        fn patches(&mut self) {
            let kernel = self.constant(&[8, 3, 2, 2]);
            let window = Window {
                size: [2, 2],
                stride: [2, 2],
                padding: [0, 0],
            };
            self.then(Op::Conv2d { window, groups: 1 }, &[kernel], None);
            self.then(Op::Reshape, &[], Some(&[self.tiles, 4, 8]));
            let places = self.constant(&[4, 8]);
            self.then(Op::Binary(Binary::Add), &[places], None);
            // A first token that is the same for all.
            let class = self.constant(&[1, 1, 8]);
            let class = self.push(Op::Broadcast, &[class], Some(&[self.tiles, 1, 8]));
            self.value = self.push(Op::Concat { axis: 1 }, &[class, self.value], None);
        }

        /// One layer: `[tiles, 5, 8]`.
        fn layer(&mut self) {
            let before = self.value;
            let weight = self.constant(&[8]);
            self.then(
                Op::RmsNorm {
                    epsilon: 1e-5,
                    offset: 1.0,
                },
                &[weight],
                None,
            );
            let normed = self.value;
            let mut heads = Vec::new();
            for _ in 0..3 {
                let matrix = self.constant(&[8, 8]);
                let value = self.push(
                    Op::MatMul {
                        transpose_right: false,
                    },
                    &[normed, matrix],
                    None,
                );
                heads.push(self.push(Op::Reshape, &[value], Some(&[self.tiles, 5, 2, 4])));
            }
            let attention = Attention {
                scale: 0.5,
                softcap: None,
                causal: false,
                segments: Arc::from([]),
            };
            self.value = self.push(Op::Attention(attention), &heads, None);
            self.then(Op::Reshape, &[], Some(&[self.tiles, 5, 8]));
            self.then(Op::Binary(Binary::Add), &[before], None);
            self.then(Op::Unary(Unary::GeluTanh), &[], None);
        }

        fn finish(self) -> Arc<Program> {
            Arc::new(self.recorder.finish(vec![self.value]))
        }
    }

    /// The results of the whole program, and of its pieces.
    fn both(program: &Arc<Program>, budget: u64) -> (Encoder, Vec<f32>, Vec<f32>) {
        let mut engine = CpuBackend::new(Some(1));
        let shape = program.inputs[0].shape.clone();
        let count: usize = shape.iter().product();
        let pixels: Vec<f32> = (0..count)
            .map(|index| ((index * 53 + 7) % 101) as f32 / 101.0)
            .collect();
        let whole = engine.upload(&shape, pixels.clone()).unwrap();
        let whole = engine.run(program, &[whole], None).unwrap().remove(0);
        let whole = engine.download(&whole).unwrap();

        let encoder = Encoder::within(Arc::clone(program), &Arc::default(), budget);
        let mut slots: Vec<Option<Tensor>> = vec![None; encoder.slots];
        let stride = count / shape[0];
        for piece in &encoder.pieces {
            let mut inputs = Vec::new();
            for source in &piece.inputs {
                inputs.push(match source {
                    Source::Pixels { tiles, .. } => {
                        let shape = [&[tiles.len()], &shape[1..]].concat();
                        let values = pixels[tiles.start * stride..tiles.end * stride].to_vec();
                        engine.upload(&shape, values).unwrap()
                    }
                    Source::Slot(slot) => slots[*slot].clone().expect("it is filled and not freed"),
                });
            }
            let results = engine.run(&piece.program, &inputs, None).unwrap();
            for (slot, result) in piece.outputs.iter().zip(results) {
                slots[*slot] = Some(result);
            }
            for slot in &piece.frees {
                slots[*slot] = None;
            }
        }
        let left = slots.iter().flatten().count();
        assert_eq!(left, encoder.results.len(), "all else is freed");
        let result = slots[encoder.results[0]].clone().unwrap();
        let pieces = engine.download(&result).unwrap();
        (encoder, whole, pieces)
    }

    fn close(a: &[f32], b: &[f32]) -> bool {
        a.len() == b.len()
            && a.iter()
                .zip(b)
                .all(|(a, b)| (a - b).abs() <= 1e-5 * a.abs().max(1.0))
    }

    /// The part that treats tiles apart is run for each of them.
    fn runs_of_tiles(encoder: &Encoder) -> Vec<[usize; 2]> {
        let inputs = encoder.pieces.iter().flat_map(|piece| &piece.inputs);
        let tiles = inputs.filter_map(|source| match source {
            Source::Pixels { tiles, .. } => Some([tiles.start, tiles.end]),
            Source::Slot(_) => None,
        });
        tiles.collect()
    }

    #[test]
    fn tiles_are_computed_apart_and_put_together() {
        let mut tower = Tower::new(5);
        tower.patches();
        tower.layer();
        tower.then(
            Op::Slice {
                axis: 1,
                start: 1,
                end: 5,
                step: 1,
            },
            &[],
            None,
        );
        tower.then(Op::Reshape, &[], Some(&[20, 8]));
        let program = tower.finish();
        // All, two tiles and then the fifth alone, one by one.
        let each = work::of(&program) / 5;
        for (budget, expected) in [
            (u64::MAX, vec![[0, 5]]),
            (2 * each + each / 2, vec![[0, 2], [2, 4], [4, 5]]),
            (each / 20, vec![[0, 1], [1, 2], [2, 3], [3, 4], [4, 5]]),
        ] {
            let (encoder, whole, pieces) = both(&program, budget);
            assert_eq!(runs_of_tiles(&encoder), expected);
            assert!(close(&whole, &pieces), "{budget}: {whole:?} {pieces:?}");
        }
    }

    #[test]
    fn what_looks_at_several_tiles_waits_for_all() {
        let mut tower = Tower::new(3);
        tower.patches();
        tower.layer();
        tower.layer();
        // The mean of all tiles is taken from each.
        let each = tower.value;
        let reduce = Op::Reduce {
            reduction: Reduction::Mean,
            axes: vec![0],
            keep: true,
        };
        tower.then(reduce, &[], None);
        let mean = tower.value;
        tower.value = tower.push(Op::Binary(Binary::Subtract), &[each, mean], None);
        tower.then(Op::Permute(vec![1, 0, 2]), &[], None);
        tower.then(Op::Reshape, &[], Some(&[15, 8]));
        let program = tower.finish();
        let (encoder, whole, pieces) = both(&program, work::of(&program) / 10);
        assert_eq!(runs_of_tiles(&encoder), [[0, 1], [1, 2], [2, 3]]);
        assert!(close(&whole, &pieces));
    }

    #[test]
    fn tiles_that_all_see_each_other_are_not_taken_apart() {
        let mut tower = Tower::new(3);
        tower.then(Op::Permute(vec![1, 0, 2, 3]), &[], None);
        let window = Window {
            size: [1, 3],
            stride: [1, 1],
            padding: [0, 1],
        };
        let kernel = tower.constant(&[16, 12, 1, 3]);
        tower.then(Op::Reshape, &[], Some(&[4, 3, 1, 12]));
        tower.then(Op::Permute(vec![0, 2, 1, 3]), &[], None);
        tower.then(Op::Conv2d { window, groups: 1 }, &[kernel], None);
        let window = Window {
            size: [1, 3],
            stride: [1, 1],
            padding: [0, 0],
        };
        let pool = Op::Pool2d {
            pooling: Pooling::Maximum,
            window,
        };
        tower.then(pool, &[], None);
        tower.then(Op::Reshape, &[], Some(&[4, 16]));
        let program = tower.finish();
        let (encoder, whole, pieces) = both(&program, 1);
        assert_eq!(runs_of_tiles(&encoder), [[0, 3]]);
        assert!(encoder.pieces.len() > 1);
        assert_eq!(whole, pieces);
    }

    #[test]
    fn a_piece_is_no_more_work_than_asked_for_where_operations_are_small() {
        let mut tower = Tower::new(1);
        tower.patches();
        (0..6).for_each(|_| tower.layer());
        tower.then(Op::Reshape, &[], Some(&[5, 8]));
        let program = tower.finish();
        let largest = program
            .nodes
            .iter()
            .map(|node| work::of_node(&program, node))
            .max()
            .unwrap();
        let budget = 3 * largest;
        let (encoder, whole, pieces) = both(&program, budget);
        assert!(encoder.pieces.len() >= 6, "{}", encoder.pieces.len());
        for piece in &encoder.pieces {
            assert!(work::of(&piece.program) <= budget);
        }
        assert_eq!(whole, pieces);
        let all: u64 = encoder.pieces.iter().map(|piece| work::of(&piece.program)).sum();
        assert_eq!(all, work::of(&program), "nothing is computed twice");
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 40, ..ProptestConfig::default() })]
        #[test]
        fn no_budget_changes_a_result(tiles in 1_usize..6, layers in 1_usize..4, part in 1_u64..60) {
            let mut tower = Tower::new(tiles);
            tower.patches();
            (0..layers).for_each(|_| tower.layer());
            tower.then(Op::Reshape, &[], Some(&[tiles * 5, 8]));
            let program = tower.finish();
            let (_, whole, pieces) = both(&program, work::of(&program) / part);
            prop_assert!(close(&whole, &pieces));
        }
    }

    /// Of a hundred thousand results, each its own piece: a search through all of them for each would take minutes.
    #[test]
    fn very_many_results_take_no_time() {
        const MANY: usize = 100_000;
        let started = Instant::now();
        let mut recorder = recorder(&Arc::default(), vec![ValueType::float([1, 1])]);
        let x = recorder.input_values()[0];
        let each = |_| recorder.push(Op::Unary(Unary::Negate), &[x], None).unwrap();
        let results: Vec<ValueId> = (0..MANY).map(each).collect();
        let program = Arc::new(recorder.finish(results));
        let encoder = Encoder::within(Arc::clone(&program), &Arc::default(), 1);
        assert_eq!((encoder.pieces.len(), encoder.results.len()), (MANY, MANY));
        let mut engine = CpuBackend::new(Some(1));
        assert_eq!(encoder.bytes(&engine).between, MANY * FLOAT);
        let input = engine.upload(&[1, 1], vec![2.0]).unwrap();
        let found = engine.run(&program, &[input], None).unwrap();
        assert_eq!(found.len(), MANY);
        assert_eq!(engine.download(&found[MANY - 1]).unwrap(), [-2.0]);
        // A tenth of it on any machine.
        assert!(
            started.elapsed() < Duration::from_secs(10),
            "{:?}",
            started.elapsed()
        );
    }
}
