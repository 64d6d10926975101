//! Operations along a sequence that keep a state.

use super::operands::{dimensions, float, rows};
use super::{Facts, Kept, Rows};

pub fn short_conv(layer: u32) -> Facts<'static> {
    let facts = Facts::new("batch.short-conv", |operands| {
        let (x, kernel, bias) = operands.two_or_three()?;
        let batch = operands.batch()?;
        let [tokens, channels] = dimensions::<2>(&float(x)?.shape, "the operand")?;
        rows(tokens, batch)?;
        let [kernel_channels, taps] = dimensions::<2>(&float(kernel)?.shape, "the kernel")?;
        if kernel_channels != channels || taps == 0 || bias.is_some_and(|bias| bias.shape != [channels]) {
            return Err(format!(
                "expected a kernel of [{channels}, taps] and a bias of [{channels}]"
            ));
        }
        Ok(x.clone())
    });
    Facts {
        rows: Rows::Tokens,
        kept: Kept::LastRows,
        state: Some(layer),
        ..facts
    }
}
