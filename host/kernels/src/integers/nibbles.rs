//! Numbers of 4 bits that are multiplied with bytes, four at a time.

use bytemuck::{cast_slice, cast_slice_mut};

use crate::lanes::{Integers, Lanes};

use super::OUTPUTS;
use super::stored_rows::{EIGHT, Nibbles, StoredRows};

impl Nibbles {
    /// The activations of a group, as bytes: those that lower halves are multiplied with, and the others.
    #[inline(always)]
    pub fn split(self, group: &[i16]) -> [[i8; 16]; 2] {
        assert!(group.len() == 32);
        let [first, step, other] = match self {
            Self::Even => [0, 2, 1],
            Self::First => [0, 1, 16],
        };
        [first, other].map(|first| std::array::from_fn(|at| group[first + at * step] as i8))
    }
}

/// Unpacks group `index` of sixteen rows: `[8][16][4]` bytes, of lower halves and then of upper ones. `numbers` is room for it.
///
/// # Safety
/// Sixteen rows of so many bytes must be stored, and the group exist.
#[inline(always)]
pub unsafe fn fours<I: Integers, S: StoredRows>(
    rows: &S,
    stored: *const u8,
    row_bytes: usize,
    index: usize,
    numbers: &mut [f32],
    fours: &mut [f32],
) {
    // Rows by twos, the first and the ninth and so on: four times four bytes of each.
    let (gathered, turned) = numbers[..2 * EIGHT * EIGHT].split_at_mut(EIGHT * EIGHT);
    for (row, both) in cast_slice_mut::<f32, u8>(gathered)
        .as_chunks_mut::<32>()
        .0
        .iter_mut()
        .enumerate()
    {
        for (half, to) in both.as_chunks_mut::<16>().0.iter_mut().enumerate() {
            // SAFETY: the caller vouches for the row's group, which has sixteen bytes.
            *to = unsafe {
                let from = stored.add((row + half * EIGHT) * row_bytes);
                rows.nibbles(from, index).cast::<[u8; 16]>().read()
            };
        }
    }
    // SAFETY: both are eight rows of eight.
    unsafe { I::Floats::transpose(gathered.as_ptr(), EIGHT, turned.as_mut_ptr(), EIGHT) };
    let fours = cast_slice_mut::<f32, i16>(&mut fours[..EIGHT * OUTPUTS]);
    let turned = cast_slice::<f32, i16>(turned);
    for (at, bytes) in turned.chunks_exact(2 * EIGHT).enumerate() {
        let [half, four] = [at / 4, at % 4];
        for upper in 0..2 {
            let to = &mut fours[((4 * upper + four) * OUTPUTS + half * EIGHT) * 2..][..2 * EIGHT];
            // SAFETY: there are sixteen, and room for them.
            unsafe {
                let bytes = I::load_integers(bytes.as_ptr());
                I::store_integers(I::field(bytes, 4 * upper as u32, 0x0f0f), to.as_mut_ptr());
            }
        }
    }
}
