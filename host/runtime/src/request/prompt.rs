//! A prompt ready to be computed: ids, positions and who sees whom, for any range of its tokens.
//!
//! Everything is looked up by absolute position, so a prompt can be cut into chunks anywhere that its attention scheme
//! allows, in the middle of a picture too.

use std::collections::BTreeSet;
use std::ops::Range;
use std::rc::Rc;
use std::sync::Arc;

use monocle_tensor::backend::{Splice, Tensor, Visible, VisibleContext};

use crate::plugin::contract::{
    AttentionScheme, ContextRange, EncoderPlan, FeatureUse, Mark, Piece, Plan, Positions, Slot, token_ids,
};

/// See the module.
#[derive(Debug, Clone)]
pub struct Prompt {
    ids: Vec<u32>,
    axes: usize,
    /// Row-major `[axes, tokens]`; empty when positions are sequential.
    positions: Vec<i32>,
    next_position: i32,
    /// By name, so that prompts whose plans have the same marks go together.
    marks: Vec<Mark>,
    mark_names: Arc<[String]>,
    attention: AttentionScheme,
    /// Ascending, and disjoint.
    slots: Vec<PlacedSlot>,
    /// `None` when features are spliced; else [`settled`].
    context: Option<Vec<ContextRange>>,
}

/// What a forward pass needs to know of tokens that follow one another in one sequence.
#[derive(Debug, Clone)]
pub struct Rows {
    /// Tokens of the sequence before these.
    pub past: usize,
    /// Their ids.
    pub tokens: Vec<i32>,
    /// Their positions, row-major: `[axes, tokens]`
    pub positions: Vec<i32>,
    /// Their marks, row-major: `[marks, tokens]`
    pub marks: Vec<i32>,
    /// What each sees.
    pub visible: Vec<Visible>,
    /// Where image features go.
    pub splices: Vec<Splice>,
    /// What each sees of the context.
    pub visible_context: Vec<VisibleContext>,
}

/// A slot and where it stands.
#[derive(Debug, Clone, Copy)]
struct PlacedSlot {
    start: usize,
    slot: Slot,
}

impl PlacedSlot {
    fn end(&self) -> usize {
        self.start + self.slot.tokens as usize
    }
}

impl Prompt {
    /// The prompt of a checked plan; with an encoder, its decoder's.
    pub fn new(plan: &Plan) -> Self {
        let context = match (&plan.feature_use, &plan.encoder) {
            (FeatureUse::Splice, None) => None,
            (FeatureUse::Context(ranges), _) if plan.encoder.is_none() || !ranges.is_empty() => {
                Some(ranges.clone())
            }
            // Each token sees all that the encoder gives.
            (_, encoder) => encoder.as_ref().map(|encoder| {
                let range = ContextRange {
                    from_token: 0,
                    to_token: u32::MAX,
                    from_row: 0,
                    to_row: token_ids(&encoder.pieces).len() as u32,
                };
                vec![range]
            }),
        };
        Self::of(
            &plan.pieces,
            &plan.positions,
            &plan.marks,
            plan.attention,
            context,
        )
    }

    /// The prompt of a checked plan's encoder, computed in one piece.
    pub fn of_encoder(plan: &EncoderPlan) -> Self {
        let EncoderPlan {
            pieces,
            positions,
            marks,
        } = plan;
        Self::of(pieces, positions, marks, AttentionScheme::Causal, None)
    }

    fn of(
        pieces: &[Piece],
        positions: &Positions,
        marks: &[Mark],
        attention: AttentionScheme,
        context: Option<Vec<ContextRange>>,
    ) -> Self {
        let ids = token_ids(pieces);
        let mut slots = Vec::new();
        let mut start = 0;
        for piece in pieces {
            match piece {
                Piece::Tokens(tokens) => start += tokens.len(),
                Piece::Features(slot) => {
                    slots.push(PlacedSlot { start, slot: *slot });
                    start += slot.tokens as usize;
                }
            }
        }
        let (axes, positions, next_position) = match positions {
            Positions::Sequential => (1, Vec::new(), ids.len() as i32),
            Positions::Explicit { axes, values, next } => (*axes, values.clone(), *next),
        };
        let mut marks = marks.to_vec();
        marks.sort_by(|a, b| a.name.cmp(&b.name));
        Self {
            ids,
            axes,
            positions,
            next_position,
            mark_names: marks.iter().map(|mark| mark.name.clone()).collect(),
            marks,
            attention,
            slots,
            context: context.map(|ranges| settled(&ranges)),
        }
    }

    /// The slots that have a token in this range. A plan may have very many: they are looked up, not searched.
    fn slots_in(&self, range: &Range<usize>) -> &[PlacedSlot] {
        let first = self.slots.partition_point(|placed| placed.end() <= range.start);
        let after = &self.slots[first..];
        &after[..after.partition_point(|placed| placed.start < range.end)]
    }

    /// The slot that a token stands in.
    fn slot_at(&self, index: usize) -> Option<&PlacedSlot> {
        self.slots_in(&(index..index + 1)).first()
    }

    /// The slot that a cut before this token would go through.
    fn slot_across(&self, at: usize) -> Option<&PlacedSlot> {
        self.slot_at(at).filter(|placed| placed.start < at)
    }

    /// Token ids.
    pub fn ids(&self) -> &[u32] {
        &self.ids
    }

    /// How many tokens.
    pub fn len(&self) -> usize {
        self.ids.len()
    }

    /// Whether there is no token.
    pub fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }

    /// Rows of the positions.
    pub fn axes(&self) -> usize {
        self.axes
    }

    /// Names of the marks, ascending.
    pub fn mark_names(&self) -> &Arc<[String]> {
        &self.mark_names
    }

    /// The marks of a token, in the order of their names.
    pub fn marks(&self, index: usize) -> impl Iterator<Item = i32> {
        let value = move |mark: &Mark| mark.values.get(index).copied().unwrap_or(mark.generated);
        self.marks.iter().map(value)
    }

    /// How many tokens hold picture features.
    pub fn image_tokens(&self) -> usize {
        self.slots.iter().map(|placed| placed.slot.tokens as usize).sum()
    }

    /// Whether features are read by cross attention.
    pub fn uses_context(&self) -> bool {
        self.context.is_some()
    }

    /// Where a chunk that starts at `start` and should have `size` tokens must end, so that tokens which see each other
    /// both ways stay together.
    pub fn chunk_end(&self, start: usize, size: usize) -> usize {
        let mut end = (start + size.max(1)).min(self.len());
        match self.attention {
            AttentionScheme::Causal => {}
            AttentionScheme::Prefix(prefix) => {
                let prefix = prefix as usize;
                if start < prefix {
                    end = end.max(prefix);
                }
            }
            AttentionScheme::ImageBlocks => {
                if let Some(cut) = self.slot_across(end) {
                    // End before the picture, or, when it starts the chunk, after it.
                    end = if cut.start > start { cut.start } else { cut.end() };
                }
            }
        }
        end
    }

    /// Whether any of these tokens holds a picture's feature.
    pub fn has_features(&self, range: &Range<usize>) -> bool {
        self.context.is_none() && !self.slots_in(range).is_empty()
    }

    /// Whether the sequence may be cut before this token: no earlier one sees it or what comes after it.
    pub fn can_be_cut_at(&self, at: usize) -> bool {
        match self.attention {
            AttentionScheme::Causal => true,
            AttentionScheme::Prefix(prefix) => at == 0 || at >= prefix as usize,
            AttentionScheme::ImageBlocks => self.slot_across(at).is_none(),
        }
    }

    /// Which pictures' features these tokens need, in order.
    pub fn pictures_of(&self, range: Range<usize>) -> Vec<usize> {
        if self.context.is_some() {
            return Vec::new();
        }
        let slots = self.slots_in(&range).iter();
        let mut pictures: Vec<usize> = slots.map(|placed| placed.slot.image as usize).collect();
        pictures.dedup();
        pictures
    }

    /// The feature that stands at a token: its picture and its number there.
    pub fn feature_at(&self, index: usize) -> Option<(usize, usize)> {
        let placed = self.slot_at(index)?;
        let offset = placed.slot.offset as usize + (index - placed.start);
        Some((placed.slot.image as usize, offset))
    }

    /// The position of a token on each axis; tokens after the prompt follow one another.
    pub fn position(&self, index: usize, axis: usize) -> i32 {
        match index.checked_sub(self.len()) {
            Some(after) => self.next_position.saturating_add(after as i32),
            None if self.positions.is_empty() => index as i32,
            None => self.positions[axis * self.len() + index],
        }
    }

    /// What a forward pass needs to know of these tokens; those after the prompt are `generated`. `features` has an entry a picture:
    /// its feature sets, where they are needed.
    pub fn rows(&self, range: Range<usize>, generated: &[u32], features: &[Option<Rc<[Tensor]>>]) -> Rows {
        let id = |index: usize| match index.checked_sub(self.len()) {
            Some(after) => generated[after],
            None => self.ids[index],
        };
        let axes = 0..self.axes;
        Rows {
            past: range.start,
            tokens: range.clone().map(|index| id(index) as i32).collect(),
            positions: axes
                .flat_map(|axis| range.clone().map(move |index| self.position(index, axis)))
                .collect(),
            marks: self
                .marks
                .iter()
                .flat_map(|mark| {
                    let value = |index| mark.values.get(index).copied().unwrap_or(mark.generated);
                    range.clone().map(value)
                })
                .collect(),
            visible: range.clone().map(|index| self.visible(index)).collect(),
            splices: match self.context {
                Some(_) => Vec::new(),
                None => self.splices(&range, features),
            },
            visible_context: range.map(|index| self.visible_context(index)).collect(),
        }
    }

    fn splices(&self, range: &Range<usize>, features: &[Option<Rc<[Tensor]>>]) -> Vec<Splice> {
        let mut splices = Vec::new();
        for placed in self.slots_in(range) {
            let (start, end) = (placed.start.max(range.start), placed.end().min(range.end));
            let features = features[placed.slot.image as usize].as_ref();
            splices.push(Splice {
                row: start - range.start,
                count: end - start,
                features: Rc::clone(features.expect("pictures are encoded before their tokens are computed")),
                offset: placed.slot.offset as usize + (start - placed.start),
            });
        }
        splices
    }

    /// Which tokens a token sees.
    pub fn visible(&self, index: usize) -> Visible {
        let causal = Visible {
            block_start: index as u32,
            end: index as u32 + 1,
        };
        match self.attention {
            AttentionScheme::Causal => causal,
            AttentionScheme::Prefix(prefix) if index < prefix as usize => Visible {
                block_start: 0,
                end: prefix,
            },
            AttentionScheme::Prefix(_) => causal,
            AttentionScheme::ImageBlocks => match self.slot_at(index) {
                Some(placed) => Visible {
                    block_start: placed.start as u32,
                    end: placed.end() as u32,
                },
                None => causal,
            },
        }
    }

    fn visible_context(&self, index: usize) -> VisibleContext {
        let ranges = self.context.as_deref().unwrap_or_default();
        // What is generated sees what the prompt's last token sees.
        let index = index.min(self.len().saturating_sub(1)) as u32;
        let first = ranges.partition_point(|range| range.to_token <= index);
        match ranges.get(first).filter(|range| range.from_token <= index) {
            Some(range) => VisibleContext {
                start: range.from_row,
                end: range.to_row,
            },
            None => VisibleContext { start: 0, end: 0 },
        }
    }
}

/// The same ranges, ascending and disjoint: of those that hold a token, the first that was given counts.
fn settled(ranges: &[ContextRange]) -> Vec<ContextRange> {
    let of_some = ranges.iter().enumerate();
    let of_some = of_some.filter(|(_, range)| range.from_token < range.to_token);
    let mut edges: Vec<(u32, usize)> = of_some
        .flat_map(|(index, range)| [(range.from_token, index), (range.to_token, index)])
        .collect();
    edges.sort_unstable();
    let (mut settled, mut open) = (Vec::new(), BTreeSet::new());
    for (at, &(token, index)) in edges.iter().enumerate() {
        // Its first edge opens a range, its second one closes it.
        if !open.remove(&index) {
            open.insert(index);
        }
        let next = edges.get(at + 1).map_or(token, |(next, _)| *next);
        if let Some(&first) = open.first()
            && token < next
        {
            settled.push(ContextRange {
                from_token: token,
                to_token: next,
                ..ranges[first]
            });
        }
    }
    settled
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;
    use crate::plugin::contract::{ImagePlan, Size};

    /// Tokens 0..3 text, 3..8 picture 0, 8..10 text.
    fn plan(attention: AttentionScheme) -> Plan {
        let image = ImagePlan {
            used: Size { width: 4, height: 4 },
            tiles: 1,
            pixels: vec![vec![1, 4, 4, 3]],
            layout: Vec::new(),
            features: 5,
        };
        Plan {
            text: String::new(),
            pieces: vec![
                Piece::Tokens(vec![10, 11, 12]),
                Piece::Features(Slot {
                    image: 0,
                    offset: 0,
                    tokens: 5,
                    token_id: 99,
                }),
                Piece::Tokens(vec![13, 14]),
            ],
            images: vec![image],
            encoder: None,
            positions: Positions::Sequential,
            marks: Vec::new(),
            attention,
            feature_use: FeatureUse::Splice,
            stop_tokens: Vec::new(),
            keep_tokens: Vec::new(),
        }
    }

    fn features() -> Vec<Option<Rc<[Tensor]>>> {
        vec![Some(Rc::from([]))]
    }

    fn interval(visible: Visible) -> (u32, u32) {
        (visible.block_start, visible.end)
    }

    #[test]
    fn features_are_spliced_by_absolute_position() {
        let prompt = Prompt::new(&plan(AttentionScheme::Causal));
        assert_eq!(prompt.ids(), [10, 11, 12, 99, 99, 99, 99, 99, 13, 14]);
        let step = prompt.rows(4..7, &[], &features());
        let placed: Vec<_> = step
            .splices
            .iter()
            .map(|splice| (splice.row, splice.count, splice.offset))
            .collect();
        assert_eq!(placed, [(0, 3, 1)]);
        let step = prompt.rows(2..5, &[], &features());
        let placed: Vec<_> = step
            .splices
            .iter()
            .map(|splice| (splice.row, splice.count, splice.offset))
            .collect();
        assert_eq!(placed, [(1, 2, 0)]);
        assert!(prompt.has_features(&(7..9)));
        assert!(!prompt.has_features(&(8..10)));
        assert!(!prompt.has_features(&(0..3)));
    }

    #[test]
    fn causal_chunks_end_anywhere() {
        let prompt = Prompt::new(&plan(AttentionScheme::Causal));
        assert_eq!(prompt.chunk_end(0, 4), 4);
        assert_eq!(prompt.chunk_end(8, 7), 10);
        assert_eq!(prompt.chunk_end(3, 0), 4);
    }

    #[test]
    fn a_prefix_stays_together() {
        let prompt = Prompt::new(&plan(AttentionScheme::Prefix(9)));
        assert_eq!(prompt.chunk_end(0, 2), 9);
        assert_eq!(prompt.chunk_end(9, 2), 10);
        let step = prompt.rows(0..10, &[], &features());
        assert_eq!(interval(step.visible[0]), (0, 9));
        assert_eq!(interval(step.visible[8]), (0, 9));
        assert_eq!(interval(step.visible[9]), (9, 10));
    }

    #[test]
    fn a_picture_stays_together_when_it_sees_itself() {
        let prompt = Prompt::new(&plan(AttentionScheme::ImageBlocks));
        assert_eq!(prompt.chunk_end(0, 5), 3);
        assert_eq!(prompt.chunk_end(3, 2), 8);
        assert_eq!(prompt.chunk_end(0, 8), 8);
        let step = prompt.rows(3..8, &[], &features());
        assert!(step.visible.iter().all(|visible| interval(*visible) == (3, 8)));
    }

    #[test]
    fn positions_are_cut_with_the_tokens() {
        let mut plan = plan(AttentionScheme::Causal);
        let values = (0..20).collect();
        plan.positions = Positions::Explicit {
            axes: 2,
            values,
            next: 7,
        };
        let prompt = Prompt::new(&plan);
        let step = prompt.rows(2..4, &[], &features());
        assert_eq!(step.positions, [2, 3, 12, 13]);
        let step = prompt.rows(13..14, &[1, 2, 3, 42], &features());
        assert_eq!(step.positions, [10, 10]);
        assert_eq!((step.past, interval(step.visible[0])), (13, (13, 14)));
    }

    #[test]
    fn marks_are_cut_with_the_tokens_and_go_by_name() {
        let mut plan = plan(AttentionScheme::Causal);
        let mark = |name: &str, first: i32, generated: i32| Mark {
            name: name.to_owned(),
            values: (first..first + 10).collect(),
            generated,
        };
        plan.marks = vec![mark("kind", 100, -1), mark("age", 0, 7)];
        plan.check(1).unwrap();
        let prompt = Prompt::new(&plan);
        assert_eq!(prompt.mark_names()[..], ["age", "kind"]);
        let step = prompt.rows(8..12, &[1, 2], &features());
        assert_eq!(step.marks, [8, 9, 7, 7, 108, 109, -1, -1]);
        assert_eq!(prompt.marks(9).collect::<Vec<_>>(), [9, 109]);
        assert_eq!(prompt.marks(10).collect::<Vec<_>>(), [7, -1]);

        plan.marks[1].name = "kind".to_owned();
        assert_eq!(plan.check(1).unwrap_err(), "two marks are called `kind`");
        plan.marks[1] = mark("", 0, 0);
        assert_eq!(
            plan.check(1).unwrap_err(),
            "a mark's name has 0 bytes, expected 1 to 64"
        );
        plan.marks[1] = mark("age", 0, 0);
        plan.marks[1].values.pop();
        assert_eq!(
            plan.check(1).unwrap_err(),
            "mark `age` has 9 values for 10 tokens"
        );
    }

    #[test]
    fn context_is_seen_by_range_and_by_what_is_generated() {
        let mut plan = plan(AttentionScheme::Causal);
        plan.pieces.remove(1);
        let range = ContextRange {
            from_token: 2,
            to_token: 5,
            from_row: 0,
            to_row: 5,
        };
        plan.feature_use = FeatureUse::Context(vec![range]);
        let prompt = Prompt::new(&plan);
        let step = prompt.rows(0..5, &[], &features());
        let ends: Vec<_> = step.visible_context.iter().map(|visible| visible.end).collect();
        assert_eq!(ends, [0, 0, 5, 5, 5]);
        assert_eq!(prompt.rows(5..6, &[1], &features()).visible_context[0].end, 5);
    }

    #[test]
    fn the_first_of_several_ranges_counts() {
        let mut plan = plan(AttentionScheme::Causal);
        plan.pieces.remove(1);
        let range = |[from_token, to_token, to_row]: [u32; 3]| ContextRange {
            from_token,
            to_token,
            from_row: 0,
            to_row,
        };
        let ranges = [[1, 3, 1], [0, 4, 2], [4, 4, 3], [2, 5, 4]].map(range);
        plan.feature_use = FeatureUse::Context(ranges.into());
        let step = Prompt::new(&plan).rows(0..5, &[], &features());
        let ends: Vec<_> = step.visible_context.iter().map(|visible| visible.end).collect();
        assert_eq!(ends, [2, 1, 1, 2, 4]);
    }

    /// A plan may have as many slots, or ranges of context, as its prompt has tokens: what there is to know of all tokens takes time in
    /// proportion to them. A search through all slots at each token would take minutes.
    #[test]
    fn very_many_slots_and_ranges_take_no_time() {
        let many = 100_000;
        let started = Instant::now();
        let mut plan = plan(AttentionScheme::ImageBlocks);
        let slot = |offset| {
            Piece::Features(Slot {
                image: 0,
                offset,
                tokens: 1,
                token_id: 99,
            })
        };
        plan.pieces = (0..many).map(slot).collect();
        plan.images[0].features = many;
        assert_eq!(plan.check(1), Ok(()));
        let prompt = Prompt::new(&plan);
        let (mut start, mut splices) = (0, 0);
        while start < prompt.len() {
            let end = prompt.chunk_end(start, 8);
            assert!(prompt.can_be_cut_at(end) && prompt.has_features(&(start..end)));
            assert_eq!(prompt.pictures_of(start..end), [0]);
            let step = prompt.rows(start..end, &[], &features());
            assert_eq!(interval(step.visible[0]), (start as u32, start as u32 + 1));
            assert_eq!(prompt.feature_at(start), Some((0, start)));
            splices += step.splices.len();
            start = end;
        }
        assert_eq!(splices, many as usize);

        plan.pieces = vec![Piece::Tokens(vec![1; many as usize])];
        let ranges = (0..many).map(|token| ContextRange {
            from_token: token,
            to_token: token + 1,
            from_row: 0,
            to_row: token + 1,
        });
        plan.feature_use = FeatureUse::Context(ranges.collect());
        assert_eq!(plan.check(1), Ok(()));
        let step = Prompt::new(&plan).rows(0..many as usize, &[], &features());
        let ends: Vec<u32> = step.visible_context.iter().map(|visible| visible.end).collect();
        assert!(ends.into_iter().eq(1..=many));
        // A tenth of it on any machine.
        assert!(
            started.elapsed() < Duration::from_secs(5),
            "{:?}",
            started.elapsed()
        );
    }
}
