//! Models whose rotary frequencies depend on how long the prompt is (LongRoPE, arXiv:2402.13753).
//!
//! A recorded program serves prompts of every length, so the plan must say which frequencies apply, and only positions reach the
//! program. Long prompts therefore have positions that begin at [`OFFSET`]; the decoder takes it off again. The choice holds for the
//! whole request: keys turned by other frequencies than the queries would be of no use.

use crate::{BinaryOperation, Context, ExplicitPositions, PositionScheme, Result, Tensor, ints};

/// Beyond every real position.
const OFFSET: i32 = 1 << 24;

/// Positions of a prompt of so many tokens, beyond the trained context or not.
pub fn positions(tokens: u32, long: bool) -> Result<PositionScheme> {
    if !long {
        return Ok(PositionScheme::Sequential);
    }
    let end = i32::try_from(tokens).ok().filter(|&tokens| tokens < OFFSET);
    let end = OFFSET + end.context(format_args!("a prompt of {tokens} tokens is too long"))?;
    Ok(PositionScheme::Explicit(ExplicitPositions {
        axes: 1,
        values: (OFFSET..end).collect(),
        next: end,
    }))
}

/// Real positions `[1, tokens]`, and 1 at rows of long prompts: `[tokens, 1, 1]`.
pub(super) fn split(positions: &Tensor) -> (Tensor, Tensor) {
    let long = positions.binary(BinaryOperation::Greater, &ints(&[1], &[OFFSET - 1]));
    let offset = long.binary(BinaryOperation::Multiply, &ints(&[1], &[OFFSET]));
    let tokens = positions.dimension(1);
    (positions - offset, long.reshape(&[tokens, 1, 1]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_prompts_begin_at_the_offset() {
        assert_eq!(positions(3, false).unwrap(), PositionScheme::Sequential);
        let PositionScheme::Explicit(long) = positions(3, true).unwrap() else {
            panic!("a long prompt needs explicit positions");
        };
        assert_eq!(long.values, [OFFSET, OFFSET + 1, OFFSET + 2]);
        assert_eq!((long.axes, long.next), (1, OFFSET + 3));
        assert!(positions(OFFSET as u32, true).is_err());
    }
}
