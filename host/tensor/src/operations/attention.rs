//! Attention and rotary embeddings.

use super::operands::{dimensions, float, int, rows};
use super::{Facts, Kept, Parts, Placement, Rows};
use crate::operation::{Attention, CachedAttention, CachedHeads, Rope};
use crate::program::ValueType;

pub fn attention(attention: &Attention) -> Facts<'_> {
    let facts = Facts::new("attention", |operands| {
        let [q, k, v] = operands.take::<3>()?;
        for x in [q, k, v] {
            float(x)?;
        }
        let leading = q.shape.len().saturating_sub(3);
        if leading > 1 || [k, v].iter().any(|x| x.shape.len() != q.shape.len()) {
            return Err("q, k and v must all have 3 dimensions, or all 4".to_owned());
        }
        if [k, v].iter().any(|x| x.shape[..leading] != q.shape[..leading]) {
            return Err("q, k and v must have the same batch dimension".to_owned());
        }
        let [heads, value_dim] =
            heads_and_values(&q.shape[leading..], &k.shape[leading..], &v.shape[leading..])?;
        let (queries, keys) = (q.shape[leading], k.shape[leading]);
        if attention.causal && queries != keys {
            return Err(format!(
                "causal attention needs as many queries as keys, found {queries} and {keys}"
            ));
        }
        if let Some((&last, _)) = attention.segments.split_last()
            && (queries != keys
                || attention.segments[0] != 0
                || last as usize != queries
                || !attention.segments.is_sorted())
        {
            return Err(format!(
                "segments must ascend from 0 to {queries}, found {} bounds from {} to {last}",
                attention.segments.len(),
                attention.segments[0]
            ));
        }
        Ok(ValueType::float(
            [&q.shape[..=leading], &[heads, value_dim]].concat(),
        ))
    });
    let facts = facts.parted_by(|inputs, _| leading(inputs[0], Parts::Each));
    // Each query with each key of its segment, and as much again with the values.
    let facts = facts.works(|inputs| {
        let keys = inputs[0]
            .shape
            .len()
            .checked_sub(3)
            .map_or(1, |axis| inputs[1].shape[axis]);
        // One segment fewer than there are bounds; without bounds, one.
        let segments = attention.segments.len().saturating_sub(1).max(1);
        keys.div_ceil(segments).saturating_mul(2)
    });
    Facts {
        numbers: attention.segments.len(),
        ..facts
    }
}

/// What holds where `[tokens, heads, dim]` has a leading dimension; without it, the first counts tokens, and what belongs to those is not cut.
fn leading(x: &ValueType, parts: Parts) -> Parts {
    match x.shape.len() {
        4 => parts,
        _ => Parts::Together,
    }
}

pub fn rope(rope: &Rope) -> Facts<'_> {
    let facts = Facts::new("rope", |operands| {
        let [x, positions] = operands.take::<2>()?;
        let shape = &float(x)?.shape;
        let [axes, tokens] = dimensions::<2>(&int(positions)?.shape, "the positions")?;
        let dim = match shape[..] {
            [found, _, dim] | [_, found, _, dim] if found == tokens => dim,
            _ => {
                return Err(format!(
                    "expected [{tokens}, heads, dim] for positions of {tokens} tokens"
                ));
            }
        };
        if rope.frequencies.len() > dim / 2 {
            return Err(format!(
                "{} frequencies rotate more than {} elements",
                rope.frequencies.len(),
                dim
            ));
        }
        if !rope.axes.is_empty() && rope.axes.len() != rope.frequencies.len() {
            return Err(format!(
                "{} axes for {} frequencies",
                rope.axes.len(),
                rope.frequencies.len()
            ));
        }
        if rope.axes.iter().any(|&axis| usize::from(axis) >= axes) || axes == 0 {
            return Err(format!(
                "the positions have {axes} axes, the embedding asks for others"
            ));
        }
        Ok(x.clone())
    });
    Facts {
        numbers: rope.frequencies.len(),
        ..facts
            .placed(Placement::InPlace)
            .parted_by(|inputs, _| leading(inputs[0], Parts::First))
    }
}

pub fn attend(attention: &CachedAttention) -> Facts<'_> {
    let facts = Facts::new("batch.attend", |operands| {
        let (q, k, v) = operands.two_or_three()?;
        let batch = operands.batch()?;
        let mut values = float(v.unwrap_or(k))?.shape.clone();
        match (v, attention.value_dim) {
            (Some(_), None) => {}
            (None, Some(dim)) => first_elements(&mut values, dim as usize)?,
            (Some(_), Some(_)) => {
                return Err("values are given, and a part of the keys is to be values".to_owned());
            }
            (None, None) => {
                return Err(
                    "no values are given: `value-dim` must say which part of the keys they are".to_owned(),
                );
            }
        }
        let [heads, value_dim] = heads_and_values(&float(q)?.shape, &float(k)?.shape, &values)?;
        for x in [q, k] {
            rows(x.shape[0], batch)?;
        }
        if attention.window == Some(0) {
            return Err("a window of 0 sees nothing".to_owned());
        }
        Ok(ValueType::float([batch.tokens, heads, value_dim]))
    });
    Facts {
        rows: Rows::Tokens,
        kept: Kept::EachToken,
        state: Some(attention.layer),
        ..facts
    }
}

/// Makes the shape of keys that of their first elements.
fn first_elements(shape: &mut [usize], count: usize) -> Result<(), String> {
    match shape.last_mut() {
        Some(last) if (1..=*last).contains(&count) => {
            *last = count;
            Ok(())
        }
        _ => Err(format!(
            "`value-dim` is {count}: keys of shape {shape:?} have no such part"
        )),
    }
}

pub fn attend_shared<'a>(attention: &'a CachedAttention, cached: &'a CachedHeads) -> Facts<'a> {
    let facts = Facts::new("batch.attend-shared", |operands| {
        let (q, batch) = (operands.one()?, operands.batch()?);
        let [tokens, heads, dim] = dimensions::<3>(&float(q)?.shape, "q")?;
        rows(tokens, batch)?;
        if dim != cached.dim || cached.kv_heads == 0 || !heads.is_multiple_of(cached.kv_heads) {
            return Err(format!(
                "cache {} holds keys of {} heads of {} elements",
                attention.layer, cached.kv_heads, cached.dim
            ));
        }
        if attention.window == Some(0) {
            return Err("a window of 0 sees nothing".to_owned());
        }
        if attention.value_dim.is_some() {
            return Err("`value-dim` is for the `attend` that writes the cache".to_owned());
        }
        Ok(ValueType::float([tokens, heads, cached.value_dim]))
    });
    Facts {
        rows: Rows::Tokens,
        ..facts
    }
}

pub fn cross_attend(attention: &CachedAttention) -> Facts<'_> {
    let facts = Facts::new("batch.cross-attend", |operands| {
        let batch = operands.batch()?;
        if !batch.has_context {
            return Err("these sequences have no context: ask `batch.has-context` first".to_owned());
        }
        if attention.window.is_some() {
            return Err("cross attention has no window".to_owned());
        }
        if attention.value_dim.is_some() {
            return Err("cross attention has no `value-dim`: its values are given".to_owned());
        }
        match (operands.inputs, batch.new_context) {
            ([q, k, v], Some([context, _])) => {
                let [heads, value_dim] =
                    heads_and_values(&float(q)?.shape, &float(k)?.shape, &float(v)?.shape)?;
                rows(q.shape[0], batch)?;
                if k.shape[0] != context {
                    return Err(format!(
                        "expected keys for {context} rows of context, found {}",
                        k.shape[0]
                    ));
                }
                Ok(ValueType::float([batch.tokens, heads, value_dim]))
            }
            ([q], None) => {
                let [tokens, heads, dim] = dimensions::<3>(&float(q)?.shape, "q")?;
                rows(tokens, batch)?;
                Ok(ValueType::float([tokens, heads, dim]))
            }
            (_, Some(_)) => Err("this step brings new context: keys and values must be given".to_owned()),
            (_, None) => Err("this step brings no new context: keys and values must not be given".to_owned()),
        }
    });
    Facts {
        rows: Rows::Tokens,
        kept: Kept::Context,
        state: Some(attention.layer),
        ..facts
    }
}

/// Checks q, k and v (without leading dimensions) and gives the result's last two sizes.
fn heads_and_values(q: &[usize], k: &[usize], v: &[usize]) -> Result<[usize; 2], String> {
    let [_, heads, dim] = dimensions::<3>(q, "q")?;
    let [keys, kv_heads, key_dim] = dimensions::<3>(k, "k")?;
    let [values, value_heads, value_dim] = dimensions::<3>(v, "v")?;
    if key_dim != dim || kv_heads != value_heads || keys != values {
        return Err(format!("q {q:?}, k {k:?} and v {v:?} do not fit together"));
    }
    if kv_heads == 0 || !heads.is_multiple_of(kv_heads) {
        return Err(format!(
            "{heads} query heads cannot share {kv_heads} key-value heads"
        ));
    }
    Ok([heads, value_dim])
}
