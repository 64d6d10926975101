//! Models whose rotary frequencies depend on how long the prompt is (LongRoPE, arXiv:2402.13753).
//!
//! A recorded program serves prompts of every length, so the plan says by a mark which frequencies apply. The choice holds for the whole
//! request: keys turned by other frequencies than the queries would be of no use.

use monocle_plugin::Mark;
use monocle_plugin::prelude::*;

/// The mark's name.
const NAME: &str = "long-context";

/// The mark of a prompt of so many tokens, beyond the trained context or not. Every plan of such a model needs it.
pub fn mark(tokens: u32, long: bool) -> Mark {
    let value = i32::from(long);
    Mark {
        name: NAME.to_owned(),
        values: vec![value; tokens as usize],
        generated: value,
    }
}

/// 1 at rows of long prompts: `[tokens, 1, 1]`.
pub fn rows(batch: &Batch) -> Tensor {
    batch.mark(NAME).reshape(&[batch.tokens(), 1, 1])
}
