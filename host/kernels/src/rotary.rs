//! Rotary position embeddings: sines and cosines once for each step, then a turn of each pair.

use monocle_tensor::operation::{Pairing, Rope};

/// Cosines, then sines, of the angles of some tokens, `first` and those after it: `[tokens][2][pairs]`.
pub fn table(rope: &Rope, positions: &[i32], [first, tokens]: [usize; 2], out: &mut [f32]) {
    let pairs = rope.frequencies.len();
    if pairs == 0 {
        return;
    }
    for (index, row) in out.chunks_exact_mut(2 * pairs).enumerate() {
        let (cosines, sines) = row.split_at_mut(pairs);
        for (pair, frequency) in rope.frequencies.iter().enumerate() {
            let axis = rope.axes.get(pair).map_or(0, |axis| usize::from(*axis));
            // The angle is rounded to a float, as the reference implementations have it; its sine is exact.
            let angle = f64::from(positions[axis * tokens + first + index] as f32 * frequency);
            cosines[pair] = angle.cos() as f32 * rope.scale;
            sines[pair] = angle.sin() as f32 * rope.scale;
        }
    }
}

/// Turns the heads of one token, in place: `values` is `[heads, dim]`, `row` the token's row of the table.
pub fn turn(pairing: Pairing, pairs: usize, row: &[f32], dim: usize, values: &mut [f32]) {
    let (cosines, sines) = row.split_at(pairs);
    for head in values.chunks_exact_mut(dim) {
        match pairing {
            Pairing::Halves => {
                let (first, rest) = head.split_at_mut(pairs);
                let angles = cosines.iter().zip(sines);
                for ((a, b), (cos, sin)) in first.iter_mut().zip(&mut rest[..pairs]).zip(angles) {
                    (*a, *b) = (*a * cos - *b * sin, *b * cos + *a * sin);
                }
            }
            Pairing::Neighbours => {
                let angles = cosines.iter().zip(sines);
                for (pair, (cos, sin)) in head[..2 * pairs].chunks_exact_mut(2).zip(angles) {
                    let (a, b) = (pair[0], pair[1]);
                    (pair[0], pair[1]) = (a * cos - b * sin, b * cos + a * sin);
                }
            }
        }
    }
}
