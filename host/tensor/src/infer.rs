//! What each operation gives, from what it is given: shapes and kinds only. The one place where operations are
//! checked, for every plugin and every engine.

use crate::operation::{Attention, Binary, CachedAttention, Kind, Op, Rope, Unary, WeightId, Window};
use crate::program::ValueType;
use crate::recorder::BatchShape;
use crate::stored::Weight;

type Inferred = Result<ValueType, String>;

/// The type of an operation's result, or what is wrong with its operands.
pub fn output(
    op: &Op,
    inputs: &[&ValueType],
    shape: Option<&[usize]>,
    weights: &[Weight],
    batch: Option<&BatchShape>,
) -> Inferred {
    let with_batch = || batch.ok_or_else(|| "only a forward pass has a batch".to_owned());
    match op {
        Op::Input(_) => Err("inputs are given by the host".to_owned()),
        Op::Tokens => Ok(ValueType::int([with_batch()?.tokens])),
        Op::Positions => {
            let batch = with_batch()?;
            Ok(ValueType::int([batch.axes, batch.tokens]))
        }
        Op::ImageMask => Ok(ValueType::int([with_batch()?.tokens])),
        Op::ContextMask => Ok(ValueType::int([with_batch()?.tokens])),
        Op::Context => match with_batch()?.new_context {
            Some(context) => Ok(ValueType::float(context)),
            None => Err("this step brings no new context: ask `batch.new-context` first".to_owned()),
        },
        Op::Floats(values) => constant(values.len(), shape, Kind::Float),
        Op::Ints(values) => constant(values.len(), shape, Kind::Int),
        Op::Full(_) => Ok(ValueType::float(wanted_shape(shape)?)),
        Op::Weight(id) => match weight(weights, *id)? {
            Weight::Tensor(tensor) => Ok(ValueType::float(tensor.shape.clone())),
            other => Err(format!("weight `{}` was not asked for as a tensor", other.name())),
        },

        Op::Unary(kind) => unary(*kind, one(inputs)?),
        Op::Binary(kind) => binary(*kind, inputs),
        Op::ScaleShift { .. } | Op::Clamp { .. } => Ok(float(one(inputs)?)?.clone()),
        Op::Select => {
            let [condition, a, b] = take::<3>(inputs)?;
            int(condition)?;
            same_kind(a, b)?;
            let shape = broadcast(&broadcast(&condition.shape, &a.shape)?, &b.shape)?;
            Ok(ValueType { shape, kind: a.kind })
        }
        Op::ToFloat => Ok(ValueType::float(one(inputs)?.shape.clone())),
        Op::ToInt => Ok(ValueType::int(one(inputs)?.shape.clone())),

        Op::Linear(id) => linear(one(inputs)?, weight(weights, *id)?),
        Op::MatMul { transpose_right } => matmul(inputs, *transpose_right),
        Op::Embed(id) => {
            let ids = int(one(inputs)?)?;
            let Weight::Embedding(matrix) = weight(weights, *id)? else {
                return Err("the weight was not asked for as an embedding".to_owned());
            };
            let [_, hidden] = dimensions::<2>(&matrix.shape(), "the embedding table")?;
            Ok(ValueType::float([ids.shape.as_slice(), &[hidden]].concat()))
        }
        Op::ExpertLinear(id) => expert_linear(inputs, weight(weights, *id)?),

        Op::RmsNorm { .. } => norm(inputs, 1, 2),
        Op::LayerNorm { .. } => norm(inputs, 2, 3),
        Op::Softmax => {
            last(float(one(inputs)?)?)?;
            Ok(inputs[0].clone())
        }
        Op::Reduce { axes, keep, .. } => reduce(float(one(inputs)?)?, axes, *keep),
        Op::TopK { k } => {
            let x = float(one(inputs)?)?;
            let size = last(x)?;
            if *k == 0 || *k > size {
                return Err(format!("cannot take the {k} largest of {size}"));
            }
            let mut shape = x.shape.clone();
            *shape.last_mut().expect("checked by `last`") = *k;
            Ok(ValueType::int(shape))
        }
        Op::GatherLast => {
            let [x, indices] = take::<2>(inputs)?;
            int(indices)?;
            let rank = x.shape.len();
            if rank == 0 || indices.shape.len() != rank || x.shape[..rank - 1] != indices.shape[..rank - 1] {
                return Err("all dimensions but the last must be equal".to_owned());
            }
            Ok(ValueType {
                shape: indices.shape.clone(),
                kind: x.kind,
            })
        }

        Op::Reshape => {
            let x = one(inputs)?;
            let wanted = wanted_shape(shape)?;
            let elements = product(&wanted)?;
            if elements != x.len() {
                return Err(format!(
                    "{} elements do not fill {wanted:?}, which has {elements}",
                    x.len()
                ));
            }
            Ok(ValueType {
                shape: wanted,
                kind: x.kind,
            })
        }
        Op::Permute(axes) => permute(one(inputs)?, axes),
        Op::Slice {
            axis,
            start,
            end,
            step,
        } => {
            let x = one(inputs)?;
            let size = dimension(x, *axis)?;
            if start >= end || *end > size || *step == 0 {
                return Err(format!(
                    "slice {start}..{end} by {step} of dimension {axis}, which has {size}"
                ));
            }
            let mut shape = x.shape.clone();
            shape[*axis] = (end - start).div_ceil(*step);
            Ok(ValueType { shape, kind: x.kind })
        }
        Op::Concat { axis } => concat(inputs, *axis),
        Op::Broadcast => {
            let x = one(inputs)?;
            let wanted = wanted_shape(shape)?;
            if broadcast(&x.shape, &wanted)? != wanted {
                return Err(format!("{:?} cannot be repeated to {wanted:?}", x.shape));
            }
            Ok(ValueType {
                shape: wanted,
                kind: x.kind,
            })
        }
        Op::Pad {
            axis, before, after, ..
        } => {
            let x = one(inputs)?;
            let size = dimension(x, *axis)?;
            let mut shape = x.shape.clone();
            shape[*axis] = size
                .checked_add(*before)
                .and_then(|size| size.checked_add(*after))
                .ok_or("the padded dimension is too large")?;
            Ok(ValueType { shape, kind: x.kind })
        }
        Op::TakeRows => {
            let [x, indices] = take::<2>(inputs)?;
            int(indices)?;
            dimension(x, 0)?;
            Ok(ValueType {
                shape: [indices.shape.as_slice(), &x.shape[1..]].concat(),
                kind: x.kind,
            })
        }
        Op::PutRows => {
            let [x, indices, rows] = take::<3>(inputs)?;
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
        }

        Op::Conv2d { window, groups } => conv2d(inputs, window, *groups),
        Op::Pool2d { window, .. } => {
            let x = float(one(inputs)?)?;
            let [batch, height, width, channels] = dimensions::<4>(&x.shape, "the operand")?;
            let [height, width] = windows(height, width, window.size, window)?;
            Ok(ValueType::float([batch, height, width, channels]))
        }
        Op::Interpolate { size, .. } => {
            let x = float(one(inputs)?)?;
            let [batch, height, width, channels] = dimensions::<4>(&x.shape, "the operand")?;
            if height == 0 || width == 0 || size.contains(&0) {
                return Err(format!(
                    "cannot interpolate {height} x {width} to {} x {}",
                    size[0], size[1]
                ));
            }
            Ok(ValueType::float([batch, size[0], size[1], channels]))
        }

        Op::Attention(attention) => self_attention(inputs, attention),
        Op::Rope(rope) => rotary(inputs, rope),

        Op::SpliceFeatures { set } | Op::AddFeatures { set } => {
            let x = float(one(inputs)?)?;
            let batch = with_batch()?;
            let [tokens, hidden] = dimensions::<2>(&x.shape, "the operand")?;
            rows(tokens, batch)?;
            let widths = batch.features.as_deref().unwrap_or_default();
            match widths.get(*set as usize) {
                Some(width) if *width == hidden => Ok(x.clone()),
                Some(width) => Err(format!(
                    "features of set {set} are {width} wide, the rows {hidden}"
                )),
                None => Err(format!(
                    "`encode` gave {} feature sets; there is no set {set}",
                    widths.len()
                )),
            }
        }
        Op::SelectLogits => {
            let x = one(inputs)?;
            let batch = with_batch()?;
            rows(dimension(x, 0)?, batch)?;
            Ok(ValueType {
                shape: [&[batch.wanted], &x.shape[1..]].concat(),
                kind: x.kind,
            })
        }
        Op::Attend(attention) => cached_attention(inputs, attention, with_batch()?),
        Op::CrossAttend(attention) => cross_attention(inputs, attention, with_batch()?),
        Op::ShortConv { .. } => short_conv(inputs, with_batch()?),
    }
}

fn take<'a, const N: usize>(inputs: &[&'a ValueType]) -> Result<[&'a ValueType; N], String> {
    inputs
        .try_into()
        .map_err(|_| format!("takes {N} operands, not {}", inputs.len()))
}

fn one<'a>(inputs: &[&'a ValueType]) -> Result<&'a ValueType, String> {
    take::<1>(inputs).map(|[x]| x)
}

fn float(x: &ValueType) -> Result<&ValueType, String> {
    (x.kind == Kind::Float)
        .then_some(x)
        .ok_or_else(|| format!("expected floats, found {x}"))
}

fn int(x: &ValueType) -> Result<&ValueType, String> {
    (x.kind == Kind::Int)
        .then_some(x)
        .ok_or_else(|| format!("expected integers, found {x}"))
}

fn same_kind(a: &ValueType, b: &ValueType) -> Result<(), String> {
    (a.kind == b.kind)
        .then_some(())
        .ok_or_else(|| format!("expected operands of one kind, found {a} and {b}"))
}

fn last(x: &ValueType) -> Result<usize, String> {
    match x.shape.last() {
        Some(&size) if size > 0 => Ok(size),
        _ => Err(format!("{x} has no elements along its last dimension")),
    }
}

fn dimension(x: &ValueType, axis: usize) -> Result<usize, String> {
    x.shape
        .get(axis)
        .copied()
        .ok_or_else(|| format!("{x} has no dimension {axis}"))
}

fn dimensions<const N: usize>(shape: &[usize], what: &str) -> Result<[usize; N], String> {
    shape
        .try_into()
        .map_err(|_| format!("{what} must have {N} dimensions, found {shape:?}"))
}

fn product(shape: &[usize]) -> Result<usize, String> {
    shape
        .iter()
        .try_fold(1_usize, |product, &size| product.checked_mul(size))
        .ok_or_else(|| format!("{shape:?} is too large"))
}

fn wanted_shape(shape: Option<&[usize]>) -> Result<Vec<usize>, String> {
    shape
        .map(<[usize]>::to_vec)
        .ok_or_else(|| "a shape must be given".to_owned())
}

fn constant(values: usize, shape: Option<&[usize]>, kind: Kind) -> Inferred {
    let shape = wanted_shape(shape)?;
    let elements = product(&shape)?;
    if values != elements {
        return Err(format!(
            "{values} values do not fill {shape:?}, which has {elements}"
        ));
    }
    Ok(ValueType { shape, kind })
}

fn weight(weights: &[Weight], id: WeightId) -> Result<&Weight, String> {
    weights
        .get(id.0 as usize)
        .ok_or_else(|| "no such weight".to_owned())
}

fn unary(kind: Unary, x: &ValueType) -> Inferred {
    match kind {
        Unary::Negate | Unary::Absolute | Unary::Square => Ok(x.clone()),
        _ => Ok(float(x)?.clone()),
    }
}

fn binary(kind: Binary, inputs: &[&ValueType]) -> Inferred {
    let [a, b] = take::<2>(inputs)?;
    same_kind(a, b)?;
    let shape = broadcast(&a.shape, &b.shape)?;
    match kind {
        Binary::Equal | Binary::Less | Binary::Greater => Ok(ValueType::int(shape)),
        Binary::Divide | Binary::Power => {
            float(a)?;
            Ok(ValueType::float(shape))
        }
        _ => Ok(ValueType { shape, kind: a.kind }),
    }
}

/// NumPy's rule: aligned at the last dimension, sizes are equal or one of them is 1.
pub fn broadcast(a: &[usize], b: &[usize]) -> Result<Vec<usize>, String> {
    let rank = a.len().max(b.len());
    let size = |shape: &[usize], axis: usize| {
        let missing = rank - shape.len();
        if axis < missing { 1 } else { shape[axis - missing] }
    };
    (0..rank)
        .map(|axis| match (size(a, axis), size(b, axis)) {
            (x, y) if x == y => Ok(x),
            (1, y) => Ok(y),
            (x, 1) => Ok(x),
            (x, y) => Err(format!(
                "shapes {a:?} and {b:?} do not broadcast: {x} and {y} at dimension {axis}"
            )),
        })
        .collect()
}

fn linear(x: &ValueType, weight: &Weight) -> Inferred {
    let Weight::Linear { matrix, .. } = weight else {
        return Err(format!(
            "weight `{}` was not asked for as a linear layer",
            weight.name()
        ));
    };
    let [out, inner] = dimensions::<2>(&matrix.shape(), "the matrix")?;
    let size = last(float(x)?)?;
    if size != inner {
        return Err(format!(
            "weight `{}` is [{out}, {inner}]: expected [.., {inner}]",
            weight.name()
        ));
    }
    let mut shape = x.shape.clone();
    *shape.last_mut().expect("checked by `last`") = out;
    Ok(ValueType::float(shape))
}

fn matmul(inputs: &[&ValueType], transpose_right: bool) -> Inferred {
    let [a, b] = take::<2>(inputs)?;
    let (rank_a, rank_b) = (float(a)?.shape.len(), float(b)?.shape.len());
    if rank_a < 2 || rank_b < 2 {
        return Err("both operands must have two dimensions at least".to_owned());
    }
    let (rows, inner) = (a.shape[rank_a - 2], a.shape[rank_a - 1]);
    let [first, second] = [b.shape[rank_b - 2], b.shape[rank_b - 1]];
    let (other, columns) = if transpose_right {
        (second, first)
    } else {
        (first, second)
    };
    if inner != other {
        return Err(format!("inner dimensions {inner} and {other} differ"));
    }
    let mut shape = broadcast(&a.shape[..rank_a - 2], &b.shape[..rank_b - 2])?;
    shape.extend([rows, columns]);
    Ok(ValueType::float(shape))
}

fn expert_linear(inputs: &[&ValueType], weight: &Weight) -> Inferred {
    let [x, indices] = take::<2>(inputs)?;
    let Weight::Experts { matrix, .. } = weight else {
        return Err(format!("weight `{}` was not asked for as experts", weight.name()));
    };
    let [_, out, inner] = dimensions::<3>(&matrix.shape(), "the experts' matrices")?;
    let [tokens, k] = dimensions::<2>(&int(indices)?.shape, "the indices")?;
    let fits = match float(x)?.shape[..] {
        [rows, size] => rows == tokens && size == inner,
        [rows, chosen, size] => rows == tokens && chosen == k && size == inner,
        _ => false,
    };
    if !fits {
        return Err(format!(
            "expected [{tokens}, {inner}] or [{tokens}, {k}, {inner}] for the experts of `{}`",
            weight.name()
        ));
    }
    Ok(ValueType::float([tokens, k, out]))
}

fn norm(inputs: &[&ValueType], least: usize, most: usize) -> Inferred {
    if inputs.len() < least || inputs.len() > most {
        return Err(format!("takes {least} to {most} operands, not {}", inputs.len()));
    }
    let size = last(float(inputs[0])?)?;
    for parameter in &inputs[1..] {
        if float(parameter)?.shape != [size] {
            return Err(format!(
                "expected a weight of [{size}], found {:?}",
                parameter.shape
            ));
        }
    }
    Ok(inputs[0].clone())
}

fn reduce(x: &ValueType, axes: &[usize], keep: bool) -> Inferred {
    if axes.is_empty() || !axes.is_sorted_by(|a, b| a < b) {
        return Err(format!("dimensions {axes:?} must be some, ascending"));
    }
    for &axis in axes {
        if dimension(x, axis)? == 0 {
            return Err(format!("nothing to reduce along dimension {axis}"));
        }
    }
    let shape = x
        .shape
        .iter()
        .enumerate()
        .filter_map(|(axis, &size)| match (axes.contains(&axis), keep) {
            (false, _) => Some(size),
            (true, true) => Some(1),
            (true, false) => None,
        });
    Ok(ValueType::float(shape.collect::<Vec<_>>()))
}

fn permute(x: &ValueType, axes: &[usize]) -> Inferred {
    let mut sorted = axes.to_vec();
    sorted.sort_unstable();
    if sorted != (0..x.shape.len()).collect::<Vec<_>>() {
        return Err(format!("{axes:?} is no order of {} dimensions", x.shape.len()));
    }
    Ok(ValueType {
        shape: axes.iter().map(|&axis| x.shape[axis]).collect(),
        kind: x.kind,
    })
}

fn concat(inputs: &[&ValueType], axis: usize) -> Inferred {
    let Some(first) = inputs.first() else {
        return Err("there is nothing to concatenate".to_owned());
    };
    let mut total = 0_usize;
    for x in inputs {
        same_kind(first, x)?;
        let size = dimension(x, axis)?;
        let mut others = x.shape.clone();
        others[axis] = dimension(first, axis)?;
        if others != first.shape {
            return Err(format!(
                "{:?} and {:?} differ beside dimension {axis}",
                first.shape, x.shape
            ));
        }
        total = total.checked_add(size).ok_or("the result is too large")?;
    }
    let mut shape = first.shape.clone();
    shape[axis] = total;
    Ok(ValueType {
        shape,
        kind: first.kind,
    })
}

fn windows(height: usize, width: usize, size: [u32; 2], window: &Window) -> Result<[usize; 2], String> {
    let count = |extent: usize, axis: usize| {
        let (size, stride) = (size[axis] as usize, window.stride[axis] as usize);
        let padding = window.padding[axis] as usize;
        let padded = extent.checked_add(padding.checked_mul(2)?)?;
        (size > 0 && stride > 0 && padding < size && padded >= size).then(|| (padded - size) / stride + 1)
    };
    match (count(height, 0), count(width, 1)) {
        (Some(height), Some(width)) => Ok([height, width]),
        _ => Err(format!(
            "windows of {size:?}, stride {:?}, padding {:?} do not fit in {height} x {width}",
            window.stride, window.padding
        )),
    }
}

fn conv2d(inputs: &[&ValueType], window: &Window, groups: usize) -> Inferred {
    let (x, kernel, bias) = match inputs {
        [x, kernel] => (x, kernel, None),
        [x, kernel, bias] => (x, kernel, Some(bias)),
        _ => return Err(format!("takes 2 or 3 operands, not {}", inputs.len())),
    };
    let [batch, height, width, channels] = dimensions::<4>(&float(x)?.shape, "the operand")?;
    let [out, inner, kernel_height, kernel_width] = dimensions::<4>(&float(kernel)?.shape, "the kernel")?;
    if groups == 0 || inner.checked_mul(groups) != Some(channels) || out % groups != 0 {
        return Err(format!(
            "a kernel of {:?} in {groups} groups does not take {channels} channels",
            kernel.shape
        ));
    }
    if bias.is_some_and(|bias| bias.shape != [out]) {
        return Err(format!("expected a bias of [{out}]"));
    }
    let size = [kernel_height as u32, kernel_width as u32];
    let [height, width] = windows(height, width, size, window)?;
    Ok(ValueType::float([batch, height, width, out]))
}

/// Checks q, k and v (without leading dimensions) and gives the result's last two sizes.
fn heads(q: &[usize], k: &[usize], v: &[usize]) -> Result<[usize; 2], String> {
    let [_, heads, dim] = dimensions::<3>(q, "q")?;
    let [keys, kv_heads, key_dim] = dimensions::<3>(k, "k")?;
    let [values, value_heads, value_dim] = dimensions::<3>(v, "v")?;
    if key_dim != dim || kv_heads != value_heads || keys != values {
        return Err(format!("q {q:?}, k {k:?} and v {v:?} do not fit together"));
    }
    if kv_heads == 0 || heads % kv_heads != 0 {
        return Err(format!(
            "{heads} query heads cannot share {kv_heads} key-value heads"
        ));
    }
    Ok([heads, value_dim])
}

fn self_attention(inputs: &[&ValueType], attention: &Attention) -> Inferred {
    let [q, k, v] = take::<3>(inputs)?;
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
    let [heads, value_dim] = heads(&q.shape[leading..], &k.shape[leading..], &v.shape[leading..])?;
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
}

fn rotary(inputs: &[&ValueType], rope: &Rope) -> Inferred {
    let [x, positions] = take::<2>(inputs)?;
    let rank = float(x)?.shape.len();
    let [axes, tokens] = dimensions::<2>(&int(positions)?.shape, "the positions")?;
    if !(3..=4).contains(&rank) || x.shape[rank - 3] != tokens {
        return Err(format!(
            "expected [{tokens}, heads, dim] for positions of {tokens} tokens"
        ));
    }
    if rope.frequencies.len() * 2 > x.shape[rank - 1] {
        return Err(format!(
            "{} frequencies rotate more than {} elements",
            rope.frequencies.len(),
            x.shape[rank - 1]
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
}

fn rows(found: usize, batch: &BatchShape) -> Result<(), String> {
    (found == batch.tokens).then_some(()).ok_or_else(|| {
        format!(
            "expected one row for each of the batch's {} tokens, found {found}",
            batch.tokens
        )
    })
}

fn cached_attention(inputs: &[&ValueType], attention: &CachedAttention, batch: &BatchShape) -> Inferred {
    let [q, k, v] = take::<3>(inputs)?;
    let [heads, value_dim] = heads(&float(q)?.shape, &float(k)?.shape, &float(v)?.shape)?;
    for x in [q, k] {
        rows(x.shape[0], batch)?;
    }
    if attention.window == Some(0) {
        return Err("a window of 0 sees nothing".to_owned());
    }
    Ok(ValueType::float([batch.tokens, heads, value_dim]))
}

fn cross_attention(inputs: &[&ValueType], attention: &CachedAttention, batch: &BatchShape) -> Inferred {
    if !batch.has_context {
        return Err("these sequences have no context: ask `batch.has-context` first".to_owned());
    }
    if attention.window.is_some() {
        return Err("cross attention has no window".to_owned());
    }
    match (inputs, batch.new_context) {
        ([q, k, v], Some([context, _])) => {
            let [heads, value_dim] = heads(&float(q)?.shape, &float(k)?.shape, &float(v)?.shape)?;
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
}

fn short_conv(inputs: &[&ValueType], batch: &BatchShape) -> Inferred {
    let (x, kernel, bias) = match inputs {
        [x, kernel] => (x, kernel, None),
        [x, kernel, bias] => (x, kernel, Some(bias)),
        _ => return Err(format!("takes 2 or 3 operands, not {}", inputs.len())),
    };
    let [tokens, channels] = dimensions::<2>(&float(x)?.shape, "the operand")?;
    rows(tokens, batch)?;
    let [kernel_channels, taps] = dimensions::<2>(&float(kernel)?.shape, "the kernel")?;
    if kernel_channels != channels || taps == 0 || bias.is_some_and(|bias| bias.shape != [channels]) {
        return Err(format!(
            "expected a kernel of [{channels}, taps] and a bias of [{channels}]"
        ));
    }
    Ok((*x).clone())
}
