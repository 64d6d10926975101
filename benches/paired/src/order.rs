//! Which command of a pair goes first.

use serde::Serialize;

/// One of the two commands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Side {
    /// The first command: what the other is held against.
    A,
    /// The second command.
    B,
}

impl Side {
    /// The other command.
    pub fn other(self) -> Self {
        match self {
            Self::A => Self::B,
            Self::B => Self::A,
        }
    }
}

/// Who goes first in each pair. Two pairs in turn are ABBA or BAAB, so that a steady drift cancels and going first is no advantage;
/// which of the two is drawn, so that nothing on the machine keeps step with it.
pub fn firsts(pairs: usize, seed: u64) -> Vec<Side> {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut firsts = Vec::with_capacity(pairs);
    while firsts.len() < pairs {
        let first = if random.bool() { Side::A } else { Side::B };
        firsts.extend([first, first.other()]);
    }
    firsts.truncate(pairs);
    firsts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_pairs_in_turn_begin_differently() {
        let firsts = firsts(41, 1);
        assert_eq!(firsts.len(), 41);
        for two in firsts.as_chunks::<2>().0 {
            assert_ne!(two[0], two[1]);
        }
    }

    #[test]
    fn the_seed_decides() {
        assert_eq!(firsts(40, 7), firsts(40, 7));
        let different = (0..8).filter(|&seed| firsts(40, seed) != firsts(40, 7)).count();
        assert_eq!(different, 7);
        // Not the same block over and over.
        let blocks = firsts(40, 7);
        assert!(
            blocks
                .as_chunks::<2>()
                .0
                .iter()
                .any(|block| block[0] != blocks[0])
        );
    }
}
