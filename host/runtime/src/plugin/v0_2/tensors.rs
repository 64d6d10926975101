//! `tensors` and `batches`: every function checks, records, and returns a handle.

use std::sync::Arc;

use monocle_tensor::operation::{
    Attention, Binary, CachedAttention, Interpolation, Kind, Op, Pairing, Pooling, Reduction, Rope, Unary,
    Window,
};

use super::bindings::{batches, tensors};
use super::host_side::{BatchHandle, HostSide, Resource, Result, TensorHandle};
use crate::plugin::error::Fault;

type Tensor = Resource<TensorHandle>;
type Batch = Resource<BatchHandle>;

impl tensors::HostTensor for HostSide {
    fn shape(&mut self, x: Tensor) -> Result<Vec<u32>> {
        let value = self.value(x.rep())?;
        let shape = self.recorder()?.value(value).map(|value| value.shape.clone());
        Ok(shape
            .unwrap_or_default()
            .into_iter()
            .map(|size| size as u32)
            .collect())
    }

    fn kind(&mut self, x: Tensor) -> Result<tensors::Kind> {
        let value = self.value(x.rep())?;
        Ok(match self.recorder()?.value(value).map(|value| value.kind) {
            Some(Kind::Int) => tensors::Kind::Int,
            Some(Kind::Float) | None => tensors::Kind::Float,
        })
    }

    fn unary(&mut self, x: Tensor, operation: tensors::UnaryOperation) -> Result<Tensor> {
        self.record(Op::Unary(unary(operation)), &[&x], None)
    }

    fn binary(&mut self, x: Tensor, operation: tensors::BinaryOperation, other: Tensor) -> Result<Tensor> {
        self.record(Op::Binary(binary(operation)), &[&x, &other], None)
    }

    fn scale_shift(&mut self, x: Tensor, scale: f32, shift: f32) -> Result<Tensor> {
        self.record(Op::ScaleShift { scale, shift }, &[&x], None)
    }

    fn clamp(&mut self, x: Tensor, low: f32, high: f32) -> Result<Tensor> {
        self.record(Op::Clamp { low, high }, &[&x], None)
    }

    fn select(&mut self, condition: Tensor, a: Tensor, b: Tensor) -> Result<Tensor> {
        self.record(Op::Select, &[&condition, &a, &b], None)
    }

    fn cast(&mut self, x: Tensor, kind: tensors::Kind) -> Result<Tensor> {
        let op = match kind {
            tensors::Kind::Float => Op::ToFloat,
            tensors::Kind::Int => Op::ToInt,
        };
        self.record(op, &[&x], None)
    }

    fn matmul(&mut self, x: Tensor, right: Tensor, transpose_right: bool) -> Result<Tensor> {
        self.record(Op::MatMul { transpose_right }, &[&x, &right], None)
    }

    fn rms_norm(&mut self, x: Tensor, weight: Option<Tensor>, epsilon: f32, offset: f32) -> Result<Tensor> {
        let operands: Vec<&Tensor> = std::iter::once(&x).chain(&weight).collect();
        self.record(Op::RmsNorm { epsilon, offset }, &operands, None)
    }

    fn layer_norm(
        &mut self,
        x: Tensor,
        weight: Tensor,
        bias: Option<Tensor>,
        epsilon: f32,
    ) -> Result<Tensor> {
        let operands: Vec<&Tensor> = [&x, &weight].into_iter().chain(&bias).collect();
        self.record(Op::LayerNorm { epsilon }, &operands, None)
    }

    fn softmax(&mut self, x: Tensor) -> Result<Tensor> {
        self.record(Op::Softmax, &[&x], None)
    }

    fn top_k(&mut self, x: Tensor, k: u32) -> Result<Tensor> {
        self.record(Op::TopK { k: k as usize }, &[&x], None)
    }

    fn gather_last(&mut self, x: Tensor, indices: Tensor) -> Result<Tensor> {
        self.record(Op::GatherLast, &[&x, &indices], None)
    }

    fn reduce(
        &mut self,
        x: Tensor,
        reduction: tensors::Reduction,
        axes: Vec<u32>,
        keep: bool,
    ) -> Result<Tensor> {
        let reduction = match reduction {
            tensors::Reduction::Sum => Reduction::Sum,
            tensors::Reduction::Mean => Reduction::Mean,
            tensors::Reduction::Maximum => Reduction::Maximum,
        };
        self.record(
            Op::Reduce {
                reduction,
                axes: sizes(&axes),
                keep,
            },
            &[&x],
            None,
        )
    }

    fn reshape(&mut self, x: Tensor, shape: Vec<u32>) -> Result<Tensor> {
        self.record(Op::Reshape, &[&x], Some(&shape))
    }

    fn permute(&mut self, x: Tensor, axes: Vec<u32>) -> Result<Tensor> {
        self.record(Op::Permute(sizes(&axes)), &[&x], None)
    }

    fn slice(&mut self, x: Tensor, axis: u32, start: u32, end: u32, step: u32) -> Result<Tensor> {
        let op = Op::Slice {
            axis: axis as usize,
            start: start as usize,
            end: end as usize,
            step: step as usize,
        };
        self.record(op, &[&x], None)
    }

    fn broadcast(&mut self, x: Tensor, shape: Vec<u32>) -> Result<Tensor> {
        self.record(Op::Broadcast, &[&x], Some(&shape))
    }

    fn pad(&mut self, x: Tensor, axis: u32, before: u32, after: u32, value: f32) -> Result<Tensor> {
        let op = Op::Pad {
            axis: axis as usize,
            before: before as usize,
            after: after as usize,
            value,
        };
        self.record(op, &[&x], None)
    }

    fn take_rows(&mut self, x: Tensor, indices: Tensor) -> Result<Tensor> {
        self.record(Op::TakeRows, &[&x, &indices], None)
    }

    fn put_rows(&mut self, x: Tensor, indices: Tensor, rows: Tensor) -> Result<Tensor> {
        self.record(Op::PutRows, &[&x, &indices, &rows], None)
    }

    fn conv2d(
        &mut self,
        x: Tensor,
        kernel: Tensor,
        bias: Option<Tensor>,
        window: tensors::Window,
        groups: u32,
    ) -> Result<Tensor> {
        let operands: Vec<&Tensor> = [&x, &kernel].into_iter().chain(&bias).collect();
        self.record(
            Op::Conv2d {
                window: steps(window),
                groups: groups as usize,
            },
            &operands,
            None,
        )
    }

    fn pool2d(&mut self, x: Tensor, pooling: tensors::Pooling, window: tensors::Window) -> Result<Tensor> {
        let pooling = match pooling {
            tensors::Pooling::Average => Pooling::Average,
            tensors::Pooling::Maximum => Pooling::Maximum,
        };
        self.record(
            Op::Pool2d {
                pooling,
                window: steps(window),
            },
            &[&x],
            None,
        )
    }

    fn interpolate(
        &mut self,
        x: Tensor,
        height: u32,
        width: u32,
        method: tensors::Interpolation,
        align_corners: bool,
        antialias: bool,
    ) -> Result<Tensor> {
        let method = match method {
            tensors::Interpolation::Nearest => Interpolation::Nearest,
            tensors::Interpolation::Bilinear => Interpolation::Bilinear,
            tensors::Interpolation::Bicubic => Interpolation::Bicubic,
        };
        let size = [height as usize, width as usize];
        self.record(
            Op::Interpolate {
                size,
                method,
                align_corners,
                antialias,
            },
            &[&x],
            None,
        )
    }

    fn rope(&mut self, x: Tensor, positions: Tensor, angles: tensors::RopeAngles) -> Result<Tensor> {
        self.afford(angles.frequencies.len())?;
        let rope = self.intern_rope(Rope {
            frequencies: angles.frequencies,
            axes: angles.axes,
            pairing: match angles.pairing {
                tensors::Pairing::Halves => Pairing::Halves,
                tensors::Pairing::Neighbours => Pairing::Neighbours,
            },
            scale: angles.scale,
        });
        self.record(Op::Rope(rope), &[&x, &positions], None)
    }

    fn attention(
        &mut self,
        q: Tensor,
        k: Tensor,
        v: Tensor,
        attention: tensors::SelfAttention,
    ) -> Result<Tensor> {
        self.afford(attention.segments.len())?;
        let attention = Attention {
            scale: attention.scale,
            softcap: attention.softcap,
            causal: attention.causal,
            segments: attention.segments.into(),
        };
        self.record(Op::Attention(attention), &[&q, &k, &v], None)
    }

    fn drop(&mut self, _x: Tensor) -> Result<()> {
        Ok(())
    }
}

impl tensors::Host for HostSide {
    fn floats(&mut self, shape: Vec<u32>, values: Vec<f32>) -> Result<Tensor> {
        self.afford(values.len())?;
        self.record(Op::Floats(Arc::from(values)), &[], Some(&shape))
    }

    fn ints(&mut self, shape: Vec<u32>, values: Vec<i32>) -> Result<Tensor> {
        self.afford(values.len())?;
        self.record(Op::Ints(Arc::from(values)), &[], Some(&shape))
    }

    fn full(&mut self, shape: Vec<u32>, value: f32) -> Result<Tensor> {
        self.record(Op::Full(value), &[], Some(&shape))
    }

    fn concat(&mut self, tensors: Vec<Tensor>, axis: u32) -> Result<Tensor> {
        let operands: Vec<&Tensor> = tensors.iter().collect();
        self.record(Op::Concat { axis: axis as usize }, &operands, None)
    }
}

impl batches::HostBatch for HostSide {
    fn tokens(&mut self, _batch: Batch) -> Result<u32> {
        Ok(self.recorder()?.batch().map_or(0, |batch| batch.tokens as u32))
    }

    fn ids(&mut self, _batch: Batch) -> Result<Tensor> {
        self.record(Op::Tokens, &[], None)
    }

    fn positions(&mut self, _batch: Batch) -> Result<Tensor> {
        self.record(Op::Positions, &[], None)
    }

    fn mark(&mut self, _batch: Batch, name: String) -> Result<Tensor> {
        let marks = self.recorder()?.batch().map(|batch| batch.marks.clone());
        let marks = marks.unwrap_or_default();
        match marks.iter().position(|mark| *mark == name) {
            Some(index) => self.record(Op::Mark(index as u32), &[], None),
            None => {
                let known: Vec<String> = marks.iter().map(|mark| format!("`{mark}`")).collect();
                let known = match known.is_empty() {
                    true => "none".to_owned(),
                    false => known.join(", "),
                };
                self.fail(Fault::Misuse(format!(
                    "`batch.mark` asks for `{name}`; the plans of these sequences have {known}"
                )))
            }
        }
    }

    fn medium_mask(&mut self, _batch: Batch) -> Result<Tensor> {
        self.record(Op::ImageMask, &[], None)
    }

    fn splice_features(&mut self, _batch: Batch, x: Tensor, set: u32) -> Result<Tensor> {
        self.record(Op::SpliceFeatures { set }, &[&x], None)
    }

    fn add_features(&mut self, _batch: Batch, x: Tensor, set: u32) -> Result<Tensor> {
        self.record(Op::AddFeatures { set }, &[&x], None)
    }

    fn select_logits(&mut self, _batch: Batch, x: Tensor) -> Result<Tensor> {
        self.record(Op::SelectLogits, &[&x], None)
    }

    fn attend(
        &mut self,
        _batch: Batch,
        q: Tensor,
        k: Tensor,
        v: Option<Tensor>,
        attention: batches::CachedAttention,
    ) -> Result<Tensor> {
        let attention = cached(self, attention)?;
        let operands: Vec<&Tensor> = [&q, &k].into_iter().chain(&v).collect();
        self.record(Op::Attend(attention), &operands, None)
    }

    fn attend_shared(
        &mut self,
        _batch: Batch,
        q: Tensor,
        attention: batches::CachedAttention,
    ) -> Result<Tensor> {
        let attention = cached(self, attention)?;
        let written = self.recorder()?.cache(attention.layer);
        let written = written.map(|(writer, heads)| (writer.window, heads));
        let Some((window, heads)) = written else {
            return self.fail(Fault::Misuse(format!(
                "`batch.attend-shared` reads cache {}, to which no `attend` of this call has written",
                attention.layer
            )));
        };
        // What lies before the writer's window need not be there any more.
        if window.is_some_and(|most| attention.window.is_none_or(|wanted| wanted > most)) {
            return self.fail(Fault::Misuse(format!(
                "`batch.attend-shared` looks further back in cache {} than the `attend` that writes it: a window of {:?}, of {window:?}",
                attention.layer, attention.window
            )));
        }
        self.record(Op::AttendShared(attention, heads), &[&q], None)
    }

    fn short_conv(
        &mut self,
        _batch: Batch,
        x: Tensor,
        kernel: Tensor,
        bias: Option<Tensor>,
        layer: u32,
    ) -> Result<Tensor> {
        self.check_layer(layer)?;
        let operands: Vec<&Tensor> = [&x, &kernel].into_iter().chain(&bias).collect();
        self.record(Op::ShortConv { layer }, &operands, None)
    }

    fn recurrent(
        &mut self,
        _batch: Batch,
        q: Tensor,
        k: Tensor,
        v: Tensor,
        gate: Tensor,
        beta: Tensor,
        layer: u32,
    ) -> Result<Tensor> {
        self.check_layer(layer)?;
        self.record(Op::Recurrent { layer }, &[&q, &k, &v, &gate, &beta], None)
    }

    fn has_context(&mut self, _batch: Batch) -> Result<bool> {
        Ok(self.recorder()?.batch().is_some_and(|batch| batch.has_context))
    }

    fn new_context(&mut self, _batch: Batch) -> Result<Option<Tensor>> {
        match self.recorder()?.batch().and_then(|batch| batch.new_context) {
            Some(_) => self.record(Op::Context, &[], None).map(Some),
            None => Ok(None),
        }
    }

    fn context_mask(&mut self, _batch: Batch) -> Result<Tensor> {
        self.record(Op::ContextMask, &[], None)
    }

    fn cross_attend(
        &mut self,
        _batch: Batch,
        q: Tensor,
        k: Option<Tensor>,
        v: Option<Tensor>,
        attention: batches::CachedAttention,
    ) -> Result<Tensor> {
        let attention = cached(self, attention)?;
        let operands: Vec<&Tensor> = std::iter::once(&q).chain(&k).chain(&v).collect();
        self.record(Op::CrossAttend(attention), &operands, None)
    }

    fn drop(&mut self, _batch: Batch) -> Result<()> {
        Ok(())
    }
}

impl batches::Host for HostSide {}

fn cached(state: &mut HostSide, attention: batches::CachedAttention) -> Result<CachedAttention> {
    state.check_layer(attention.layer)?;
    Ok(CachedAttention {
        layer: attention.layer,
        scale: attention.scale,
        softcap: attention.softcap,
        window: attention.window,
        value_dim: attention.value_dim,
    })
}

fn sizes(values: &[u32]) -> Vec<usize> {
    values.iter().map(|&value| value as usize).collect()
}

fn steps(window: tensors::Window) -> Window {
    let pair = |(first, second)| [first, second];
    Window {
        size: pair(window.size),
        stride: pair(window.stride),
        padding: pair(window.padding),
    }
}

fn unary(operation: tensors::UnaryOperation) -> Unary {
    use tensors::UnaryOperation as From;
    match operation {
        From::Negate => Unary::Negate,
        From::Absolute => Unary::Absolute,
        From::Exponential => Unary::Exponential,
        From::Logarithm => Unary::Logarithm,
        From::SquareRoot => Unary::SquareRoot,
        From::ReciprocalSquareRoot => Unary::ReciprocalSquareRoot,
        From::Square => Unary::Square,
        From::Sine => Unary::Sine,
        From::Cosine => Unary::Cosine,
        From::HyperbolicTangent => Unary::HyperbolicTangent,
        From::Sigmoid => Unary::Sigmoid,
        From::Relu => Unary::Relu,
        From::Silu => Unary::Silu,
        From::Gelu => Unary::Gelu,
        From::GeluTanh => Unary::GeluTanh,
        From::QuickGelu => Unary::QuickGelu,
        From::Softplus => Unary::Softplus,
    }
}

fn binary(operation: tensors::BinaryOperation) -> Binary {
    use tensors::BinaryOperation as From;
    match operation {
        From::Add => Binary::Add,
        From::Subtract => Binary::Subtract,
        From::Multiply => Binary::Multiply,
        From::Divide => Binary::Divide,
        From::Maximum => Binary::Maximum,
        From::Minimum => Binary::Minimum,
        From::Power => Binary::Power,
        From::Equal => Binary::Equal,
        From::Less => Binary::Less,
        From::Greater => Binary::Greater,
    }
}
