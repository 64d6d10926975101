//! Rows of several sequences as one step.

use std::rc::Rc;

use monocle_tensor::backend::{SequenceId, SequenceRows, Splice, Step, Tensor, Visible, VisibleContext};

use crate::request::prompt::Rows;

/// One sequence's rows.
pub struct Part {
    /// Whose.
    pub sequence: SequenceId,
    /// What they are.
    pub rows: Rows,
    /// The context that comes with them.
    pub new_context: Option<Tensor>,
    /// Whether the logits after the last of them are wanted.
    pub wants_logits: bool,
}

/// Puts parts one after another. `axes` and `marks` are the numbers of positions and of marks that each token has.
pub fn join(parts: Vec<Part>, axes: usize, marks: usize) -> Step {
    let mut step = Step {
        axes,
        ..Step::default()
    };
    let mut positions = vec![Vec::new(); axes];
    let mut all_marks = vec![Vec::new(); marks];
    for part in parts {
        let Rows {
            past,
            tokens,
            positions: part_positions,
            marks: part_marks,
            visible,
            splices,
            visible_context,
        } = part.rows;
        let (first, rows) = (step.tokens.len(), tokens.len());
        step.tokens.extend(tokens);
        // [axes, rows] of this part to [axes, tokens] of all.
        for (all, own) in positions.iter_mut().zip(part_positions.chunks(rows)) {
            all.extend_from_slice(own);
        }
        for (all, own) in all_marks.iter_mut().zip(part_marks.chunks(rows)) {
            all.extend_from_slice(own);
        }
        step.sequences.push(SequenceRows {
            sequence: part.sequence,
            past,
            rows,
        });
        step.visible.extend(visible);
        step.splices.extend(splices.into_iter().map(|splice| Splice {
            row: splice.row + first,
            ..splice
        }));
        step.visible_context.extend(visible_context);
        step.new_context.push(part.new_context);
        if part.wants_logits {
            step.wanted.push((first + rows - 1) as u32);
        }
    }
    step.positions = positions.concat();
    step.marks = all_marks;
    step
}

/// Rows that belong to nobody, so that a step has one of few sizes.
pub fn padding(sequence: SequenceId, rows: usize, axes: usize, marks: usize) -> Part {
    Part {
        sequence,
        rows: Rows {
            past: 0,
            tokens: vec![0; rows],
            positions: vec![0; axes * rows],
            marks: vec![0; marks * rows],
            visible: (0..rows as u32)
                .map(|row| Visible {
                    block_start: row,
                    end: row + 1,
                })
                .collect(),
            splices: Vec::new(),
            visible_context: vec![VisibleContext { start: 0, end: 0 }; rows],
        },
        new_context: None,
        wants_logits: false,
    }
}

/// Asks for logits of further rows, the last ones first, until so many are asked for.
pub fn fill_wanted(step: &mut Step, count: usize) {
    let mut row = step.tokens.len() as u32;
    while step.wanted.len() < count && row > 0 {
        row -= 1;
        if let Err(place) = step.wanted.binary_search(&row) {
            step.wanted.insert(place, row);
        }
    }
}

/// The first feature sets of all pictures.
pub fn first_sets(features: &[Option<Rc<[Tensor]>>]) -> Vec<Tensor> {
    let sets = features.iter().flatten();
    sets.map(|sets| sets[0].clone()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(sequence: u64, past: usize, tokens: &[i32], wants_logits: bool) -> Part {
        let rows = tokens.len();
        let at = |row: usize| (past + row) as u32;
        Part {
            sequence: SequenceId(sequence),
            rows: Rows {
                past,
                tokens: tokens.to_vec(),
                // Two axes: the position, and a hundred more.
                positions: (0..rows)
                    .map(|row| at(row) as i32)
                    .chain((0..rows).map(|row| at(row) as i32 + 100))
                    .collect(),
                marks: (0..rows).map(|row| at(row) as i32 - 50).collect(),
                visible: (0..rows)
                    .map(|row| Visible {
                        block_start: at(row),
                        end: at(row) + 1,
                    })
                    .collect(),
                splices: vec![Splice {
                    row: rows - 1,
                    count: 1,
                    features: Rc::from([]),
                    offset: 5,
                }],
                visible_context: vec![VisibleContext { start: 0, end: 0 }; rows],
            },
            new_context: None,
            wants_logits,
        }
    }

    #[test]
    fn rows_keep_what_is_theirs() {
        let step = join(
            vec![part(7, 3, &[10, 11], true), part(8, 0, &[20, 21, 22], false)],
            2,
            1,
        );
        assert_eq!(step.tokens, [10, 11, 20, 21, 22]);
        assert_eq!(step.positions, [3, 4, 0, 1, 2, 103, 104, 100, 101, 102]);
        assert_eq!(step.marks, [[-47, -46, -50, -49, -48]]);
        let owners: Vec<_> = step
            .sequences
            .iter()
            .map(|rows| (rows.sequence.0, rows.past, rows.rows))
            .collect();
        assert_eq!(owners, [(7, 3, 2), (8, 0, 3)]);
        let ends: Vec<_> = step.visible.iter().map(|visible| visible.end).collect();
        assert_eq!(ends, [4, 5, 1, 2, 3]);
        let splices: Vec<_> = step
            .splices
            .iter()
            .map(|splice| (splice.row, splice.offset))
            .collect();
        assert_eq!(splices, [(1, 5), (4, 5)]);
        assert_eq!(step.wanted, [1]);
    }

    #[test]
    fn further_rows_are_wanted_from_the_end() {
        let mut step = join(
            vec![
                part(7, 3, &[10, 11], true),
                part(8, 0, &[20], true),
                padding(SequenceId(9), 2, 2, 1),
            ],
            2,
            1,
        );
        assert_eq!(step.wanted, [1, 2]);
        fill_wanted(&mut step, 4);
        assert_eq!(step.wanted, [1, 2, 3, 4]);
        fill_wanted(&mut step, 9);
        assert_eq!(step.wanted, [0, 1, 2, 3, 4]);
    }
}
