//! Bounds on a plugin instance.

use std::time::{Duration, Instant};

use monocle_tensor::recorder::RecordingLimits;

/// What an instance may use. A manifest can lower these, or raise them as far as [`Limits::MAXIMUM`].
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Linear memory of the instance.
    pub memory_bytes: usize,
    /// Time of one call.
    pub call: Duration,
    /// When the request that it works for must end: no call goes on beyond it.
    pub until: Option<Instant>,
    /// Bytes of pictures and pixels that the host holds for it.
    pub pixel_bytes: usize,
    /// Bytes of one text for the tokenizer, and of a rendered prompt.
    pub text_bytes: usize,
    /// Bounds on each recording.
    pub recording: RecordingLimits,
}

/// Bytes of a text, whatever the context: what is made of one takes some ten for each.
const LONGEST_TEXT: usize = 4 << 20;
/// Bytes of a text in any case: plugins may take more text than their model's context holds, and cut it.
const ANY_TEXT: usize = 64 << 10;
/// Bytes of text for each token that a context holds. Prose has four or five, special tokens that are written out have up to thirty.
const TEXT_OF_TOKEN: usize = 32;

impl Limits {
    /// The bytes that a text may have where a context holds so many tokens: more of them are more tokens.
    pub fn text_of(context: Option<usize>) -> usize {
        let bytes = context.map_or(LONGEST_TEXT, |tokens| tokens.saturating_mul(TEXT_OF_TOKEN));
        bytes.clamp(ANY_TEXT, LONGEST_TEXT)
    }

    /// The most that a manifest can ask for.
    pub const MAXIMUM: Self = Self {
        memory_bytes: 1 << 30,
        call: Duration::from_secs(60),
        until: None,
        pixel_bytes: 4 << 30,
        text_bytes: LONGEST_TEXT,
        recording: RecordingLimits {
            operations: 1_000_000,
            constant_bytes: 16 << 20,
            elements: 1 << 36,
        },
    };
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            memory_bytes: 256 << 20,
            call: Duration::from_secs(10),
            until: None,
            pixel_bytes: 1 << 30,
            text_bytes: LONGEST_TEXT,
            recording: RecordingLimits::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_as_long_as_contexts_may_hold() {
        // 32 bytes for each of 128 Ki tokens are 4 MiB.
        assert_eq!(Limits::text_of(Some(128 << 10)), 4 << 20);
        assert_eq!(Limits::text_of(Some(8192)), 256 << 10);
        assert_eq!(Limits::text_of(Some(1)), 64 << 10);
        assert_eq!(Limits::text_of(Some(usize::MAX)), 4 << 20);
        assert_eq!(Limits::text_of(None), 4 << 20);
    }
}
