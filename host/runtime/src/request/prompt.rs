//! A prompt ready to be computed: ids, positions and who sees whom, for any range of its tokens.
//!
//! Everything is looked up by absolute position, so a prompt can be cut into chunks anywhere that its attention scheme
//! allows, in the middle of a picture too.

use std::ops::Range;
use std::rc::Rc;

use monocle_tensor::backend::{SequenceId, SequenceRows, Splice, Step, Tensor, Visible, VisibleContext};

use crate::plugin::contract::{AttentionScheme, ContextRange, FeatureUse, Piece, Plan, Positions, Slot};

/// See the module.
#[derive(Debug, Clone)]
pub struct Prompt {
    ids: Vec<u32>,
    axes: usize,
    /// Row-major `[axes, tokens]`; empty when positions are sequential.
    positions: Vec<i32>,
    next_position: i32,
    attention: AttentionScheme,
    slots: Vec<PlacedSlot>,
    /// `None` when features are spliced.
    context: Option<Vec<ContextRange>>,
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
    /// The prompt of a checked plan.
    pub fn new(plan: &Plan) -> Self {
        let ids = plan.token_ids();
        let mut slots = Vec::new();
        let mut start = 0;
        for piece in &plan.pieces {
            match piece {
                Piece::Tokens(tokens) => start += tokens.len(),
                Piece::Features(slot) => {
                    slots.push(PlacedSlot { start, slot: *slot });
                    start += slot.tokens as usize;
                }
            }
        }
        let (axes, positions, next_position) = match &plan.positions {
            Positions::Sequential => (1, Vec::new(), ids.len() as i32),
            Positions::Explicit { axes, values, next } => (*axes, values.clone(), *next),
        };
        let context = match &plan.feature_use {
            FeatureUse::Splice => None,
            FeatureUse::Context(ranges) => Some(ranges.clone()),
        };
        Self {
            ids,
            axes,
            positions,
            next_position,
            attention: plan.attention,
            slots,
            context,
        }
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
                if let Some(cut) = self
                    .slots
                    .iter()
                    .find(|placed| placed.start < end && end < placed.end())
                {
                    // End before the picture, or, when it starts the chunk, after it.
                    end = if cut.start > start { cut.start } else { cut.end() };
                }
            }
        }
        end
    }

    /// Whether any of these tokens holds a picture's feature.
    pub fn has_features(&self, range: &Range<usize>) -> bool {
        self.context.is_none()
            && self
                .slots
                .iter()
                .any(|placed| placed.start < range.end && range.start < placed.end())
    }

    /// What a forward pass over these prompt tokens runs on. `features` has an entry a picture: its feature sets.
    pub fn step(
        &self,
        sequence: SequenceId,
        range: Range<usize>,
        features: &[Rc<[Tensor]>],
        new_context: Option<Tensor>,
        wanted: Vec<u32>,
    ) -> Step {
        let rows = range.len();
        let positions = if self.positions.is_empty() {
            range.clone().map(|position| position as i32).collect()
        } else {
            self.positions
                .chunks(self.len())
                .flat_map(|axis| axis[range.clone()].iter().copied())
                .collect()
        };
        let splices = match self.context {
            Some(_) => Vec::new(),
            None => self.splices(&range, features),
        };
        Step {
            tokens: self.ids[range.clone()].iter().map(|&id| id as i32).collect(),
            device_tokens: None,
            axes: self.axes,
            positions,
            sequences: vec![SequenceRows {
                sequence,
                past: range.start,
                rows,
            }],
            visible: range.clone().map(|index| self.visible(index)).collect(),
            splices,
            wanted,
            new_context: vec![new_context],
            visible_context: range.map(|index| self.visible_context(index)).collect(),
        }
    }

    /// What the forward pass over the generated token number `index` (the first is 0) runs on.
    pub fn decode_step(&self, sequence: SequenceId, index: usize, token: u32) -> Step {
        let at = self.len() + index;
        Step {
            tokens: vec![token as i32],
            device_tokens: None,
            axes: self.axes,
            positions: vec![self.next_position.saturating_add(index as i32); self.axes],
            sequences: vec![SequenceRows {
                sequence,
                past: at,
                rows: 1,
            }],
            visible: vec![Visible {
                block_start: at as u32,
                end: at as u32 + 1,
            }],
            splices: Vec::new(),
            wanted: vec![0],
            new_context: vec![None],
            visible_context: vec![self.visible_context(self.len() - 1)],
        }
    }

    fn splices(&self, range: &Range<usize>, features: &[Rc<[Tensor]>]) -> Vec<Splice> {
        let mut splices = Vec::new();
        for placed in &self.slots {
            let (start, end) = (placed.start.max(range.start), placed.end().min(range.end));
            if start < end {
                splices.push(Splice {
                    row: start - range.start,
                    count: end - start,
                    features: Rc::clone(&features[placed.slot.image as usize]),
                    offset: placed.slot.offset as usize + (start - placed.start),
                });
            }
        }
        splices
    }

    fn visible(&self, index: usize) -> Visible {
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
            AttentionScheme::ImageBlocks => {
                match self
                    .slots
                    .iter()
                    .find(|placed| placed.start <= index && index < placed.end())
                {
                    Some(placed) => Visible {
                        block_start: placed.start as u32,
                        end: placed.end() as u32,
                    },
                    None => causal,
                }
            }
        }
    }

    fn visible_context(&self, index: usize) -> VisibleContext {
        let ranges = self.context.as_deref().unwrap_or_default();
        let index = index as u32;
        match ranges
            .iter()
            .find(|range| range.from_token <= index && index < range.to_token)
        {
            Some(range) => VisibleContext {
                start: range.from_row,
                end: range.to_row,
            },
            None => VisibleContext { start: 0, end: 0 },
        }
    }
}

#[cfg(test)]
mod tests {
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
            positions: Positions::Sequential,
            attention,
            feature_use: FeatureUse::Splice,
            stop_tokens: Vec::new(),
        }
    }

    fn features() -> Vec<Rc<[Tensor]>> {
        vec![Rc::from([])]
    }

    fn interval(visible: Visible) -> (u32, u32) {
        (visible.block_start, visible.end)
    }

    #[test]
    fn features_are_spliced_by_absolute_position() {
        let prompt = Prompt::new(&plan(AttentionScheme::Causal));
        assert_eq!(prompt.ids(), [10, 11, 12, 99, 99, 99, 99, 99, 13, 14]);
        let step = prompt.step(SequenceId(0), 4..7, &features(), None, vec![2]);
        let placed: Vec<_> = step
            .splices
            .iter()
            .map(|splice| (splice.row, splice.count, splice.offset))
            .collect();
        assert_eq!(placed, [(0, 3, 1)]);
        let step = prompt.step(SequenceId(0), 2..5, &features(), None, vec![2]);
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
        let step = prompt.step(SequenceId(0), 0..10, &features(), None, vec![9]);
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
        let step = prompt.step(SequenceId(0), 3..8, &features(), None, vec![4]);
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
        let step = prompt.step(SequenceId(0), 2..4, &features(), None, vec![1]);
        assert_eq!(step.positions, [2, 3, 12, 13]);
        let step = prompt.decode_step(SequenceId(0), 3, 42);
        assert_eq!(step.positions, [10, 10]);
        assert_eq!(
            (step.sequences[0].past, interval(step.visible[0])),
            (13, (13, 14))
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
        let step = prompt.step(SequenceId(0), 0..5, &features(), None, vec![4]);
        let ends: Vec<_> = step.visible_context.iter().map(|visible| visible.end).collect();
        assert_eq!(ends, [0, 0, 5, 5, 5]);
        assert_eq!(prompt.decode_step(SequenceId(0), 0, 1).visible_context[0].end, 5);
    }
}
