//! Elements looked up by indices, and indices of elements.

use super::operands::{by_rows, dimension, dimensions, float, int, last, same_kind};
use super::{Facts, Placement};
use crate::operation::WeightId;
use crate::program::ValueType;
use crate::stored::Weight;

pub fn embed(id: WeightId) -> Facts<'static> {
    let facts = Facts::new("embed", move |operands| {
        let ids = int(operands.one()?)?;
        let Weight::Embedding(matrix) = operands.weight(id)? else {
            return Err("the weight was not asked for as an embedding".to_owned());
        };
        let [_, hidden] = dimensions::<2>(&matrix.shape(), "the embedding table")?;
        Ok(ValueType::float([ids.shape.as_slice(), &[hidden]].concat()))
    });
    Facts {
        weight: Some(id),
        ..facts
    }
}

pub fn top_k(k: usize) -> Facts<'static> {
    let facts = Facts::new("top-k", move |operands| {
        let x = float(operands.one()?)?;
        let size = last(x)?;
        if k == 0 || k > size {
            return Err(format!("cannot take the {k} largest of {size}"));
        }
        let mut shape = x.shape.clone();
        *shape.last_mut().expect("checked by `last`") = k;
        Ok(ValueType::int(shape))
    });
    facts.parted_by(|_, output| by_rows(output))
}

pub fn gather_last() -> Facts<'static> {
    Facts::new("gather-last", |operands| {
        let [x, indices] = operands.take::<2>()?;
        int(indices)?;
        let leading = |x: &ValueType| x.shape.split_last().map(|(_, leading)| leading.to_vec());
        if x.shape.is_empty() || leading(x) != leading(indices) {
            return Err("all dimensions but the last must be equal".to_owned());
        }
        Ok(ValueType {
            shape: indices.shape.clone(),
            kind: x.kind,
        })
    })
}

pub fn take_rows() -> Facts<'static> {
    Facts::new("take-rows", |operands| {
        let [x, indices] = operands.take::<2>()?;
        int(indices)?;
        dimension(x, 0)?;
        Ok(ValueType {
            shape: [indices.shape.as_slice(), &x.shape[1..]].concat(),
            kind: x.kind,
        })
    })
}

pub fn put_rows() -> Facts<'static> {
    let facts = Facts::new("put-rows", |operands| {
        let [x, indices, rows] = operands.take::<3>()?;
        int(indices)?;
        same_kind(x, rows)?;
        let [count] = dimensions::<1>(&indices.shape, "the indices")?;
        if rows.shape.first() != Some(&count) || x.shape.is_empty() || x.shape[1..] != rows.shape[1..] {
            return Err(format!(
                "expected {count} rows of {:?}",
                x.shape.get(1..).unwrap_or_default()
            ));
        }
        Ok(x.clone())
    });
    facts.placed(Placement::InPlace)
}
