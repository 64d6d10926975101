//! What rows of a step hold of places, and where they stand.
//!
//! The original reads a rectangle's width and height from one row, and gives both to the next. An answer here has a token a row: the row of the
//! width's token is a second row of the place down, at the same position, which nobody sees; the height is read from it. So all others see what
//! they see in the original.

use monocle_plugin::prelude::*;
use monocle_plugin::rope;

use crate::places::PARTS;

/// The mark that says where the answer begins whose rows stand at others' positions, as rectangles do.
pub const START: &str = "start";
/// Its value where no rows do.
pub const NOWHERE: i32 = i32::MAX / 2;

/// Kinds of rows.
pub const ACROSS: i32 = 1;
pub const DOWN: i32 = 2;
pub const WIDTH: i32 = 3;
pub const HEIGHT: i32 = 4;

/// Channels of a head that finds the row before.
const FINDER: u32 = 16;
/// Multiplies its scores: the best is then all that counts.
const SHARPNESS: f32 = 1000.0;
/// A part is remembered as two digits, which caches of 8 bits hold, too.
const DIGIT: u32 = 32;

/// How rows are read.
pub struct Rows {
    /// The id of the first token of places.
    pub first: u32,
    /// The cache of what finds the row before: one that no layer has.
    pub cache: u32,
    /// Positions of the longest answer.
    pub longest: u32,
}

/// What rows hold: each int `[tokens]`.
pub struct Held {
    /// 0 at words.
    pub kind: Tensor,
    /// 0 to 1,023; 0 at words.
    pub part: Tensor,
    /// The part that the row before holds.
    pub before: Tensor,
}

impl Rows {
    /// Of ids, int `[tokens]`.
    pub fn read(&self, ids: &Tensor, batch: &Batch) -> Held {
        let own = ids - one(self.first as i32);
        let at_least = |kind: u32| own.greater(&one((kind * PARTS) as i32 - 1));
        let kind = at_least(0) + at_least(1) + at_least(2) + at_least(3);
        let below = (&kind - one(1)) * one(PARTS as i32);
        let part = kind.select(&(own - below), &one(0));
        Held {
            before: self.before(&part, batch),
            kind,
            part,
        }
    }

    /// Attention that sees the row before and no other: keys are turned by their rows' positions, queries by those before.
    fn before(&self, part: &Tensor, batch: &Batch) -> Tensor {
        let tokens = part.dimension(0);
        let digits: Vec<f32> = (0..PARTS)
            .flat_map(|part| [part / DIGIT, part % DIGIT])
            .map(|digit| digit as f32)
            .collect();
        let values = floats(&[PARTS, 2], &digits)
            .take_rows(part)
            .reshape(&[tokens, 1, 2]);
        let angles = RopeAngles {
            frequencies: rope::frequencies(10_000.0, FINDER),
            axes: vec![],
            pairing: monocle_plugin::Pairing::Halves,
            scale: 1.0,
        };
        let (ones, positions) = (full(&[tokens, 1, FINDER], 1.0), batch.positions());
        let (q, k) = (
            ones.rope(&(&positions - one(1)), &angles),
            ones.rope(&positions, &angles),
        );
        let kind = CachedAttention {
            scale: SHARPNESS,
            ..CachedAttention::of_heads(FINDER, self.cache)
        };
        let found = batch.attend(&q, &k, Some(&values), kind).reshape(&[tokens, 2]);
        let found = (found + 0.5).cast(Kind::Int);
        let [high, low] = found.split([1, 1], 1).map(|digit| digit.flatten(0, 1));
        high * one(DIGIT as i32) + low
    }

    /// Positions as the original has them, int `[1, tokens]`: a rectangle takes three.
    pub fn positions(&self, batch: &Batch) -> Tensor {
        let positions = batch.positions();
        // Of each four rows of an answer the third is at the second's place.
        let passed = &positions - batch.mark(START).unsqueeze(0) + one(2);
        let (least, most) = (one(0), one(self.longest as i32));
        let passed = passed.less(&least).select(&least, &passed);
        let passed = passed.greater(&most).select(&most, &passed);
        let hidden: Vec<i32> = (0..=self.longest as i32).map(|passed| passed / 4).collect();
        positions - ints(&[self.longest + 1], &hidden).take_rows(&passed)
    }
}

/// One number for all.
pub fn one(value: i32) -> Tensor {
    ints(&[1], &[value])
}
