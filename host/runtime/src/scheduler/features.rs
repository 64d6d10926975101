//! Picture features, kept by content: the same picture is encoded once.

use std::collections::HashMap;
use std::rc::{Rc, Weak};

use monocle_tensor::backend::Tensor;
use sha2::{Digest, Sha256};

use crate::plugin::state::PixelTensor;

/// What a picture's features depend on, for one model.
pub type ContentKey = [u8; 32];

/// The key of a picture: a hash of all that its encoder is given.
pub fn content_key(pixels: &[PixelTensor], layout: &[u32]) -> ContentKey {
    let mut hash = Sha256::new();
    let mut number = |value: usize| hash.update((value as u64).to_le_bytes());
    number(pixels.len());
    number(layout.len());
    for tensor in pixels {
        number(tensor.shape.len());
        tensor.shape.iter().for_each(|size| number(*size));
    }
    layout.iter().for_each(|value| number(*value as usize));
    // Small pieces at a time, so that no copy of a large picture is made.
    let mut bytes = Vec::with_capacity(4096);
    for values in pixels.iter().flat_map(|tensor| tensor.values.chunks(1024)) {
        bytes.clear();
        bytes.extend(values.iter().flat_map(|value| value.to_le_bytes()));
        hash.update(&bytes);
    }
    hash.finalize().into()
}

/// See the module.
#[derive(Default)]
pub struct FeatureCache {
    limit: usize,
    bytes: usize,
    clock: u64,
    kept: HashMap<ContentKey, Kept>,
    /// Those that a session holds, kept or not.
    alive: HashMap<ContentKey, Weak<[Tensor]>>,
}

struct Kept {
    features: Rc<[Tensor]>,
    bytes: usize,
    used: u64,
}

impl FeatureCache {
    /// An empty one that keeps at most so many bytes.
    pub fn new(limit: usize) -> Self {
        Self {
            limit,
            ..Self::default()
        }
    }

    /// The features of a picture, if they are there.
    pub fn get(&mut self, key: &ContentKey) -> Option<Rc<[Tensor]>> {
        self.clock += 1;
        if let Some(kept) = self.kept.get_mut(key) {
            kept.used = self.clock;
            return Some(Rc::clone(&kept.features));
        }
        self.alive.get(key)?.upgrade()
    }

    /// Takes the features of a picture in; those not used for longest make room.
    pub fn insert(&mut self, key: ContentKey, features: &Rc<[Tensor]>) {
        self.alive.retain(|_, features| features.strong_count() > 0);
        self.alive.insert(key, Rc::downgrade(features));
        let bytes = features.iter().map(|set| set.value_type().len() * 4).sum();
        if bytes > self.limit || self.kept.contains_key(&key) {
            return;
        }
        self.shrink_to(self.limit - bytes);
        self.clock += 1;
        self.bytes += bytes;
        let kept = Kept {
            features: Rc::clone(features),
            bytes,
            used: self.clock,
        };
        self.kept.insert(key, kept);
    }

    /// Bytes of what is kept.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Forgets what was not used for longest, until at most so many bytes are kept.
    pub fn shrink_to(&mut self, bytes: usize) {
        while self.bytes > bytes {
            let oldest = self.kept.iter().min_by_key(|(_, kept)| kept.used);
            let Some(key) = oldest.map(|(key, _)| *key) else {
                break;
            };
            if let Some(kept) = self.kept.remove(&key) {
                self.bytes -= kept.bytes;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use monocle_tensor::program::ValueType;

    use super::*;

    fn pixels(shape: &[usize], values: &[f32]) -> PixelTensor {
        PixelTensor {
            shape: shape.to_vec(),
            values: values.to_vec(),
        }
    }

    /// Features of 40 bytes.
    fn features() -> Rc<[Tensor]> {
        Rc::from([Tensor::new(ValueType::float([5, 2]), ())])
    }

    #[test]
    fn keys_tell_shapes_numbers_and_layouts_apart() {
        let base = [pixels(&[2, 3], &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0])];
        let keys = [
            content_key(&base, &[7]),
            content_key(&base, &[8]),
            content_key(&base, &[7, 0]),
            content_key(&[pixels(&[3, 2], &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0])], &[7]),
            content_key(&[pixels(&[2, 3], &[1.0, 2.0, 3.0, 4.0, 5.0, 7.0])], &[7]),
            content_key(
                &[pixels(&[3], &[1.0, 2.0, 3.0]), pixels(&[3], &[4.0, 5.0, 6.0])],
                &[7],
            ),
        ];
        for (index, key) in keys.iter().enumerate() {
            assert!(!keys[..index].contains(key), "{index}");
        }
        assert_eq!(keys[0], content_key(&base, &[7]));
    }

    #[test]
    fn the_one_not_used_for_longest_makes_room() {
        let mut cache = FeatureCache::new(100);
        let [a, b, c] = [[1; 32], [2; 32], [3; 32]];
        cache.insert(a, &features());
        cache.insert(b, &features());
        assert!(cache.get(&a).is_some());
        cache.insert(c, &features());
        assert_eq!(cache.bytes(), 80);
        assert!(cache.get(&a).is_some() && cache.get(&b).is_none() && cache.get(&c).is_some());
    }

    #[test]
    fn what_a_session_holds_is_shared_even_if_nothing_is_kept() {
        let mut cache = FeatureCache::new(0);
        let held = features();
        cache.insert([1; 32], &held);
        assert_eq!(cache.bytes(), 0);
        assert!(cache.get(&[1; 32]).is_some_and(|found| Rc::ptr_eq(&found, &held)));
        drop(held);
        assert!(cache.get(&[1; 32]).is_none());
    }
}
