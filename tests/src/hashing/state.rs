//! What the hashing engine keeps of a sequence, and what it forgets as real engines may.

use std::collections::BTreeMap;
use std::ops::Range;

use super::value::{Memory, Taken, mix};

/// See the module.
#[derive(Default)]
pub struct State {
    caches: BTreeMap<u32, Cache>,
    /// By layer.
    pub contexts: BTreeMap<u32, Vec<u64>>,
    /// By layer: what went in, for all tokens; what may be cut is what a real one keeps.
    pub convolutions: BTreeMap<u32, Vec<u64>>,
    /// Hashes of the ids up to each token.
    ids: Vec<u64>,
    /// Tokens before the last step.
    before: usize,
    /// Bytes of a token, and of contexts.
    bytes: [usize; 2],
    taken: Taken,
}

/// Keys of one layer; those that a window has passed are gone.
#[derive(Clone, Default)]
pub struct Cache {
    keys: Vec<Option<u64>>,
    window: Option<u32>,
}

impl Cache {
    /// Puts keys after the first `past` ones.
    pub fn append(&mut self, past: usize, keys: impl Iterator<Item = u64>) {
        self.keys.truncate(past);
        self.keys.extend(keys.map(Some));
    }

    /// Mixes in what is visible; the first that is not there, if any is not.
    pub fn fold(&self, start: u64, range: Range<usize>) -> Result<u64, usize> {
        range
            .into_iter()
            .try_fold(start, |hash, place| match self.keys.get(place) {
                Some(Some(key)) => Ok(mix(hash, mix(*key, place as u64))),
                _ => Err(place),
            })
    }

    /// Whether rows from `tokens` on find all that they see.
    fn reaches(&self, tokens: usize) -> bool {
        let first = match self.window {
            Some(window) => (tokens + 1).saturating_sub(window as usize),
            None => 0,
        };
        first >= tokens
            || self
                .keys
                .get(first..tokens)
                .is_some_and(|keys| keys.iter().all(Option::is_some))
    }
}

impl State {
    /// The cache of a layer.
    pub fn cache(&mut self, layer: u32, window: Option<u32>) -> &mut Cache {
        let cache = self.caches.entry(layer).or_default();
        cache.window = window;
        cache
    }

    /// A hash of all its tokens' ids.
    pub fn ids_hash(&self) -> u64 {
        self.ids.last().copied().unwrap_or(0)
    }

    /// A step over tokens with these hashes is done. `bytes` are what a token takes, and what contexts take that came with it.
    pub fn finish(&mut self, past: usize, ids: &[u64], bytes: [usize; 2], memory: &Memory) {
        self.before = past;
        self.ids.extend(ids);
        self.bytes = [bytes[0], self.bytes[1] + bytes[1]];
        if self.before == 0 {
            self.taken = memory.take(0);
        }
        self.taken.resize(self.ids.len() * self.bytes[0] + self.bytes[1]);
        for cache in self.caches.values_mut() {
            if let Some(window) = cache.window {
                let gone = (past + 1).saturating_sub(window as usize).min(cache.keys.len());
                cache.keys[..gone].fill(None);
            }
        }
    }

    /// A step failed midway: what it has written is wrong.
    pub fn spoil(&mut self, past: usize) {
        for cache in self.caches.values_mut() {
            for key in cache.keys.iter_mut().skip(past) {
                *key = key.map(|key| mix(key, 0xBAD));
            }
        }
        for rows in self.convolutions.values_mut() {
            for row in rows.iter_mut().skip(past) {
                *row = mix(*row, 0xBAD);
            }
        }
    }

    /// What it was after its first tokens; none where that is gone.
    pub fn part(&self, tokens: usize) -> Option<Self> {
        let mut part = Self {
            caches: self.caches.clone(),
            contexts: self.contexts.clone(),
            convolutions: self.convolutions.clone(),
            ids: self.ids.clone(),
            before: self.before,
            bytes: self.bytes,
            // Bytes of the part alone, as it has them once it is cut.
            taken: self.taken.nothing(),
        };
        part.cut(tokens).then_some(part)
    }

    /// Goes back to what it was after its first tokens; false where that is gone.
    pub fn cut(&mut self, tokens: usize) -> bool {
        let known = self.ids.len();
        let moved_on = tokens != known && tokens != self.before;
        if !self.convolutions.is_empty() && moved_on {
            return false;
        }
        if !self.caches.values().all(|cache| cache.reaches(tokens)) {
            return false;
        }
        for cache in self.caches.values_mut() {
            cache.keys.truncate(tokens);
        }
        for rows in self.convolutions.values_mut() {
            rows.truncate(tokens);
        }
        self.ids.truncate(tokens);
        self.before = self.before.min(tokens);
        self.taken.resize(tokens * self.bytes[0] + self.bytes[1]);
        true
    }
}
