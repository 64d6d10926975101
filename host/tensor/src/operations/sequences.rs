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

pub fn recurrent(layer: u32) -> Facts<'static> {
    let facts = Facts::new("batch.recurrent", |operands| {
        let ([q, k, v, gate, beta], batch) = (operands.take::<5>()?, operands.batch()?);
        let [tokens, heads, dim] = dimensions::<3>(&float(q)?.shape, "q")?;
        let [_, value_heads, value_dim] = dimensions::<3>(&float(v)?.shape, "v")?;
        rows(tokens, batch)?;
        if float(k)?.shape != q.shape || v.shape[0] != tokens {
            return Err(format!(
                "q {:?}, k {:?} and v {:?} do not fit together",
                q.shape, k.shape, v.shape
            ));
        }
        for (what, x) in [("the gate", gate), ("beta", beta)] {
            if float(x)?.shape != [tokens, value_heads] {
                return Err(format!(
                    "{what} must be [{tokens}, {value_heads}], one for each value head, found {:?}",
                    x.shape
                ));
            }
        }
        if heads == 0 || dim == 0 || value_dim == 0 || value_heads == 0 || !value_heads.is_multiple_of(heads)
        {
            return Err(format!(
                "{value_heads} value heads of {value_dim} elements cannot share {heads} key heads of {dim}"
            ));
        }
        Ok(v.clone())
    });
    Facts {
        rows: Rows::Tokens,
        kept: Kept::State,
        state: Some(layer),
        ..facts
    }
}
