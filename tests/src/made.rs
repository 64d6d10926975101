//! Things made of any bytes, as a stranger might make them, and what must hold of each. Property tests and fuzz targets (`tests/fuzz`) share
//! them: what a test makes of random bytes, a fuzzer makes of bytes that it chooses.

pub mod answers;
pub mod components;
pub mod lifted;
pub mod manifests;
pub mod plans;

/// Choices by bytes; when there are no more, the first of all.
pub struct Choices<'a>(&'a [u8]);

impl<'a> Choices<'a> {
    /// All of them.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// Whether there are none left.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What is left.
    pub fn rest(&self) -> &'a [u8] {
        self.0
    }

    /// The next byte.
    pub fn byte(&mut self) -> usize {
        let Some((first, rest)) = self.0.split_first() else {
            return 0;
        };
        self.0 = rest;
        usize::from(*first)
    }

    /// Yes or no.
    pub fn is(&mut self) -> bool {
        self.byte() % 2 == 1
    }

    /// One of these.
    pub fn of<T: Copy>(&mut self, all: &[T]) -> T {
        all[self.byte() % all.len()]
    }

    /// A whole number, most often a small one, sometimes at an end of what there is.
    pub fn number(&mut self) -> u32 {
        match self.byte() {
            255 => u32::MAX,
            254 => u32::MAX - 1,
            253 => 1 << 31,
            252 => 1 << 24,
            251 => 1 << 16,
            byte => (byte % 9) as u32,
        }
    }

    /// So many at most.
    pub fn list<T>(&mut self, most: usize, mut each: impl FnMut(&mut Self) -> T) -> Vec<T> {
        let count = self.byte() % (most + 1);
        (0..count).map(|_| each(self)).collect()
    }
}
