//! Sequences that ended, kept so that a later one that begins the same way need not be computed from its first token.
//!
//! A prefix is recognised by all that its state was computed from: ids, positions, marks, what each token saw, and at a picture's tokens the picture's
//! content and the feature's number. Two pictures with the same placeholder ids are never taken for each other.

use std::sync::Arc;

use monocle_tensor::backend::{SequenceId, Visible};

use super::features::ContentKey;
use crate::request::prompt::Prompt;

/// What the state at one token depends on, besides the tokens before it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenKey {
    id: u32,
    positions: Vec<i32>,
    mark_names: Arc<[String]>,
    marks: Vec<i32>,
    visible: Visible,
    /// The picture's content, and which of its features.
    feature: Option<(ContentKey, usize)>,
}

/// The keys of a sequence's tokens; none where a picture's content is not known.
pub fn token_keys(prompt: &Prompt, tokens: &[u32], pictures: &[Option<ContentKey>]) -> Option<Vec<TokenKey>> {
    let key = |(index, id): (usize, &u32)| {
        let feature = match prompt.feature_at(index) {
            Some((picture, number)) => Some(((*pictures.get(picture)?)?, number)),
            None => None,
        };
        Some(TokenKey {
            id: *id,
            positions: (0..prompt.axes())
                .map(|axis| prompt.position(index, axis))
                .collect(),
            mark_names: Arc::clone(prompt.mark_names()),
            marks: prompt.marks(index).collect(),
            visible: prompt.visible(index),
            feature,
        })
    };
    tokens.iter().enumerate().map(key).collect()
}

/// How many tokens of a sequence equal those of another, as far as it may be cut there.
pub fn common(prompt: &Prompt, mine: &[TokenKey], other: &[TokenKey]) -> usize {
    let equal = mine.iter().zip(other).take_while(|(a, b)| a == b).count();
    // The last token's logits are wanted, so its row is computed in any case.
    let mut cut = equal.min(mine.len().saturating_sub(1));
    while cut > 0 && !prompt.can_be_cut_at(cut) {
        cut -= 1;
    }
    cut
}

/// A sequence that ended.
pub struct KeptPrefix {
    /// Its state on the engine.
    pub sequence: SequenceId,
    /// One a token that it holds.
    pub keys: Vec<TokenKey>,
    /// Bytes of its state; what it shares with others counts with each.
    pub bytes: usize,
    used: u64,
}

/// See the module.
#[derive(Default)]
pub struct PrefixCache {
    limit: usize,
    bytes: usize,
    clock: u64,
    kept: Vec<KeptPrefix>,
}

impl PrefixCache {
    /// An empty one that keeps at most so many bytes.
    pub fn new(limit: usize) -> Self {
        Self {
            limit,
            ..Self::default()
        }
    }

    /// Whether anything is ever kept.
    pub fn is_off(&self) -> bool {
        self.limit == 0
    }

    /// Bytes of what is kept.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// The kept sequences that share a beginning with this one, and how many tokens, the longest first.
    pub fn matches(&self, prompt: &Prompt, keys: &[TokenKey]) -> Vec<(SequenceId, usize)> {
        let mut matches: Vec<_> = self
            .kept
            .iter()
            .map(|kept| (kept.sequence, common(prompt, keys, &kept.keys)))
            .filter(|(_, tokens)| *tokens > 0)
            .collect();
        matches.sort_by_key(|(_, tokens)| std::cmp::Reverse(*tokens));
        matches
    }

    /// Notes that a sequence was of use.
    pub fn touch(&mut self, sequence: SequenceId) {
        self.clock += 1;
        let clock = self.clock;
        if let Some(kept) = self.kept.iter_mut().find(|kept| kept.sequence == sequence) {
            kept.used = clock;
        }
    }

    /// Takes a sequence in; gives those that are no longer kept, this one among them where it is too large or says nothing new.
    pub fn insert(&mut self, sequence: SequenceId, keys: Vec<TokenKey>, bytes: usize) -> Vec<SequenceId> {
        let known = |kept: &KeptPrefix| kept.keys.len() >= keys.len() && kept.keys[..keys.len()] == keys[..];
        if bytes > self.limit || keys.is_empty() || self.kept.iter().any(known) {
            return vec![sequence];
        }
        // Those that this one goes on from are of no more use.
        let mut gone = Vec::new();
        self.kept.retain(|kept| {
            let begins = kept.keys.len() < keys.len() && keys[..kept.keys.len()] == kept.keys[..];
            if begins {
                gone.push(kept.sequence);
                self.bytes -= kept.bytes;
            }
            !begins
        });
        gone.extend(self.shrink_to(self.limit - bytes));
        self.clock += 1;
        self.bytes += bytes;
        self.kept.push(KeptPrefix {
            sequence,
            keys,
            bytes,
            used: self.clock,
        });
        gone
    }

    /// Forgets what was not used for longest, until at most so many bytes are kept; gives the sequences to drop.
    pub fn shrink_to(&mut self, bytes: usize) -> Vec<SequenceId> {
        let mut gone = Vec::new();
        while self.bytes > bytes {
            let oldest = self.kept.iter().enumerate().min_by_key(|(_, kept)| kept.used);
            let Some((index, _)) = oldest else {
                break;
            };
            let kept = self.kept.remove(index);
            self.bytes -= kept.bytes;
            gone.push(kept.sequence);
        }
        gone
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plugin::contract::{
        AttentionScheme, FeatureUse, ImagePlan, Mark, Piece, Plan, Positions, Size, Slot,
    };

    /// Tokens 0..3 text, 3..8 picture 0, 8..10 text.
    fn prompt(attention: AttentionScheme) -> Prompt {
        prompt_at(attention, Positions::Sequential, Vec::new())
    }

    fn prompt_at(attention: AttentionScheme, positions: Positions, marks: Vec<Mark>) -> Prompt {
        let image = ImagePlan {
            used: Size { width: 4, height: 4 },
            tiles: 1,
            pixels: Vec::new(),
            layout: Vec::new(),
            features: 5,
        };
        let slot = Slot {
            image: 0,
            offset: 0,
            tokens: 5,
            token_id: 99,
        };
        Prompt::new(&Plan {
            text: String::new(),
            pieces: vec![
                Piece::Tokens(vec![10, 11, 12]),
                Piece::Features(slot),
                Piece::Tokens(vec![13, 14]),
            ],
            images: vec![image],
            encoder: None,
            positions,
            marks,
            attention,
            feature_use: FeatureUse::Splice,
            stop_tokens: Vec::new(),
            keep_tokens: Vec::new(),
        })
    }

    fn keys(prompt: &Prompt, picture: u8) -> Vec<TokenKey> {
        token_keys(prompt, prompt.ids(), &[Some([picture; 32])]).unwrap()
    }

    #[test]
    fn another_picture_ends_what_is_common() {
        let prompt = prompt(AttentionScheme::Causal);
        let (red, blue) = (keys(&prompt, 1), keys(&prompt, 2));
        assert_eq!(common(&prompt, &red, &blue), 3);
        // All but the last token, whose logits are wanted.
        assert_eq!(common(&prompt, &red, &red), 9);
        assert_eq!(token_keys(&prompt, prompt.ids(), &[None]), None);
    }

    /// The same ids and pictures, but other positions, or tokens that see others.
    #[test]
    fn what_a_token_sees_and_where_it_stands_count() {
        let causal = prompt(AttentionScheme::Causal);
        let mine = keys(&causal, 1);
        let blocks = prompt(AttentionScheme::ImageBlocks);
        assert_eq!(common(&causal, &mine, &keys(&blocks, 1)), 3);
        let moved = Positions::Explicit {
            axes: 1,
            values: vec![0, 1, 2, 3, 4, 5, 5, 5, 6, 7],
            next: 8,
        };
        let moved = prompt_at(AttentionScheme::Causal, moved, Vec::new());
        assert_eq!(common(&causal, &mine, &keys(&moved, 1)), 6);
    }

    /// The same ids and pictures, but other marks, or marks of another name.
    #[test]
    fn what_is_marked_counts() {
        let marked = |name: &str, fifth: i32| {
            let mark = Mark {
                name: name.to_owned(),
                values: vec![0, 0, 0, 0, fifth, 0, 0, 0, 0, 0],
                generated: 0,
            };
            prompt_at(AttentionScheme::Causal, Positions::Sequential, vec![mark])
        };
        let first = marked("long", 0);
        let mine = keys(&first, 1);
        assert_eq!(common(&first, &mine, &keys(&marked("long", 0), 1)), 9);
        assert_eq!(common(&first, &mine, &keys(&marked("long", 1), 1)), 4);
        assert_eq!(common(&first, &mine, &keys(&marked("short", 0), 1)), 0);
    }

    #[test]
    fn what_sees_itself_is_not_cut() {
        let prompt = prompt(AttentionScheme::ImageBlocks);
        let red = keys(&prompt, 1);
        assert_eq!(common(&prompt, &red, &red[..6]), 3);
        assert_eq!(common(&prompt, &red, &red[..8]), 8);
    }

    #[test]
    fn longer_ones_take_the_place_of_their_beginnings() {
        let prompt = prompt(AttentionScheme::Causal);
        let red = keys(&prompt, 1);
        let mut cache = PrefixCache::new(100);
        assert_eq!(cache.insert(SequenceId(1), red[..5].to_vec(), 50), []);
        assert_eq!(cache.insert(SequenceId(2), red.clone(), 60), [SequenceId(1)]);
        assert_eq!(
            cache.insert(SequenceId(3), red[..7].to_vec(), 55),
            [SequenceId(3)]
        );
        assert_eq!(cache.bytes(), 60);
        let blue = keys(&prompt, 2);
        assert_eq!(cache.matches(&prompt, &blue), [(SequenceId(2), 3)]);
        // The oldest makes room.
        assert_eq!(cache.insert(SequenceId(4), blue, 60), [SequenceId(2)]);
        assert_eq!(cache.insert(SequenceId(5), red, 101), [SequenceId(5)]);
        assert_eq!(cache.shrink_to(0), [SequenceId(4)]);
        assert_eq!(cache.bytes(), 0);
    }
}
