//! What a batch knows of its rows.

use super::movement::part;
use super::operands::{dimension, dimensions, float, rows};
use super::{Facts, Placement, Rows};
use crate::program::ValueType;

pub fn tokens() -> Facts<'static> {
    one_for_each_token("batch.ids")
}

pub fn image_mask() -> Facts<'static> {
    one_for_each_token("batch.image-mask")
}

pub fn context_mask() -> Facts<'static> {
    one_for_each_token("batch.context-mask")
}

fn one_for_each_token(name: &'static str) -> Facts<'static> {
    Facts {
        rows: Rows::Tokens,
        ..Facts::new(name, |operands| Ok(ValueType::int([operands.batch()?.tokens])))
    }
}

pub fn positions() -> Facts<'static> {
    let rule = |operands: &super::Operands<'_>| {
        let batch = operands.batch()?;
        Ok(ValueType::int([batch.axes, batch.tokens]))
    };
    Facts {
        rows: Rows::AxesAndTokens,
        ..Facts::new("batch.positions", rule)
    }
}

pub fn context() -> Facts<'static> {
    let facts = Facts::new("batch.new-context", |operands| {
        match operands.batch()?.new_context {
            Some(context) => Ok(ValueType::float(context)),
            None => Err("this step brings no new context: ask `batch.new-context` first".to_owned()),
        }
    });
    Facts {
        rows: Rows::Context,
        ..facts
    }
}

/// Rows of slots replaced by features of a set, or features added to them.
pub fn features(name: &'static str, set: u32) -> Facts<'static> {
    let facts = Facts::new(name, move |operands| {
        let x = float(operands.one()?)?;
        let batch = operands.batch()?;
        let [tokens, hidden] = dimensions::<2>(&x.shape, "the operand")?;
        rows(tokens, batch)?;
        let widths = batch.features.as_deref().unwrap_or_default();
        match widths.get(set as usize) {
            Some(width) if *width == hidden => Ok(x.clone()),
            Some(width) => Err(format!(
                "features of set {set} are {width} wide, the rows {hidden}"
            )),
            None => Err(format!(
                "`encode` gave {} feature sets; there is no set {set}",
                widths.len()
            )),
        }
    });
    Facts {
        rows: Rows::Tokens,
        needs_features: true,
        ..facts.placed(Placement::InPlace)
    }
}

pub fn select_logits() -> Facts<'static> {
    let facts = Facts::new("batch.select-logits", |operands| {
        let x = operands.one()?;
        let batch = operands.batch()?;
        rows(dimension(x, 0)?, batch)?;
        Ok(ValueType {
            shape: [&[batch.wanted], &x.shape[1..]].concat(),
            kind: x.kind,
        })
    });
    // One row is a part of what it is taken from.
    let facts =
        facts.placed_by(|inputs, output| part(output.shape[0] == 1 || inputs[0].shape == output.shape));
    Facts {
        rows: Rows::Wanted,
        ..facts
    }
}
