//! Operations that work element by element.

use super::lanes::{Kernel, Lanes, Processor};
use super::math;
use super::output::{Shared, WORTH_SHARING};
use super::threads::Threads;
use crate::operation::{Binary, Unary};

/// A function of one float.
#[derive(Debug, Clone, Copy)]
pub enum Function {
    /// One of the contract's.
    Unary(Unary),
    /// `x · scale + shift`
    ScaleShift(f32, f32),
    /// Between two bounds.
    Clamp(f32, f32),
}

/// Applies a function to each element. `x` may be `None`: `out` holds the operand then.
pub fn apply(
    processor: Processor,
    threads: &Threads,
    function: Function,
    x: Option<&[f32]>,
    out: &mut [f32],
) {
    let len = out.len();
    let shared = Shared::new(out);
    let work = |start: usize, count: usize| {
        // SAFETY: parts do not overlap.
        let part = unsafe { shared.part(start, count) };
        if let Some(x) = x {
            part.copy_from_slice(&x[start..start + count]);
        }
        processor.run(Apply {
            function,
            values: part,
        });
    };
    in_parts(threads, len, 4, work);
}

/// Splits `len` elements among threads; `cost` is the relative work for one.
pub fn in_parts(threads: &Threads, len: usize, cost: usize, work: impl Fn(usize, usize) + Sync) {
    let chunk = WORTH_SHARING / 2;
    if len * cost <= 2 * WORTH_SHARING {
        work(0, len);
        return;
    }
    threads.parallel(len.div_ceil(chunk), |index| {
        let start = index * chunk;
        work(start, chunk.min(len - start));
    });
}

struct Apply<'a> {
    function: Function,
    values: &'a mut [f32],
}

impl Kernel for Apply<'_> {
    type Output = ();

    #[inline(always)]
    fn run<V: Lanes>(self) {
        let values = self.values;
        let zero = V::splat(0.0);
        match self.function {
            Function::ScaleShift(scale, shift) => {
                let (scale, shift) = (V::splat(scale), V::splat(shift));
                map::<V>(values, |x| x.mul(scale).add(shift));
            }
            Function::Clamp(low, high) => {
                let (low, high) = (V::splat(low), V::splat(high));
                map::<V>(values, |x| high.min(low.max(x)));
            }
            Function::Unary(unary) => match unary {
                Unary::Negate => map::<V>(values, |x| zero.sub(x)),
                Unary::Absolute => values.iter_mut().for_each(|x| *x = x.abs()),
                Unary::Exponential => map::<V>(values, |x| math::exp(x)),
                Unary::Logarithm => values.iter_mut().for_each(|x| *x = x.ln()),
                Unary::SquareRoot => map::<V>(values, |x| x.sqrt()),
                Unary::ReciprocalSquareRoot => map::<V>(values, |x| V::splat(1.0).div(x.sqrt())),
                Unary::Square => map::<V>(values, |x| x.mul(x)),
                Unary::Sine => values.iter_mut().for_each(|x| *x = x.sin()),
                Unary::Cosine => values.iter_mut().for_each(|x| *x = x.cos()),
                Unary::HyperbolicTangent => map::<V>(values, |x| math::tanh(x)),
                Unary::Sigmoid => map::<V>(values, |x| math::sigmoid(x)),
                Unary::Relu => map::<V>(values, |x| zero.max(x)),
                Unary::Silu => map::<V>(values, |x| x.mul(math::sigmoid(x))),
                Unary::Gelu => map::<V>(values, |x| math::gelu(x)),
                Unary::GeluTanh => map::<V>(values, |x| math::gelu_tanh(x)),
                Unary::QuickGelu => {
                    map::<V>(values, |x| x.mul(math::sigmoid(x.mul(V::splat(1.702)))));
                }
                // ln(1 + eˣ) = max(x, 0) + ln(1 + e^-|x|)
                Unary::Softplus => values
                    .iter_mut()
                    .for_each(|x| *x = x.max(0.0) + (-x.abs()).exp().ln_1p()),
            },
        }
    }
}

#[inline(always)]
fn map<V: Lanes>(values: &mut [f32], f: impl Fn(V) -> V) {
    let mut chunks = values.chunks_exact_mut(V::COUNT);
    for chunk in &mut chunks {
        // SAFETY: the chunk has as many elements as there are lanes.
        unsafe { f(V::load(chunk.as_ptr())).store(chunk.as_mut_ptr()) };
    }
    let rest = chunks.into_remainder();
    if !rest.is_empty() {
        let mut last = [0.0_f32; 32];
        last[..rest.len()].copy_from_slice(rest);
        // SAFETY: `last` holds any vector.
        unsafe { f(V::load(last.as_ptr())).store(last.as_mut_ptr()) };
        rest.copy_from_slice(&last[..rest.len()]);
    }
}

/// Integers: negation, absolute value and square, wrapping.
pub fn apply_ints(unary: Unary, x: &[i32], out: &mut [i32]) {
    for (to, &x) in out.iter_mut().zip(x) {
        *to = match unary {
            Unary::Negate => x.wrapping_neg(),
            Unary::Absolute => x.wrapping_abs(),
            _ => x.wrapping_mul(x),
        };
    }
}

/// How operands of a broadcast lie under the result: strides of each, 0 where an element repeats.
pub struct Broadcast<const N: usize> {
    /// The result's dimensions, neighbours merged where all operands allow.
    shape: Vec<usize>,
    strides: Vec<[usize; N]>,
}

impl<const N: usize> Broadcast<N> {
    /// Of operands of these shapes to `out`.
    pub fn new(out: &[usize], operands: [&[usize]; N]) -> Self {
        let mut shape: Vec<usize> = Vec::new();
        let mut strides: Vec<[usize; N]> = Vec::new();
        let mut next = [1_usize; N];
        for axis in (0..out.len()).rev() {
            let mut stride = [0; N];
            for (index, operand) in operands.iter().enumerate() {
                let missing = out.len() - operand.len();
                let size = if axis < missing {
                    1
                } else {
                    operand[axis - missing]
                };
                if size != 1 {
                    stride[index] = next[index];
                    next[index] *= size;
                }
            }
            if out[axis] == 1 {
                continue;
            }
            // Merge with the dimension inside of this one, where stepping over it is one step here.
            match (shape.last_mut(), strides.last()) {
                (Some(size), Some(inner)) if (0..N).all(|index| stride[index] == inner[index] * *size) => {
                    *size *= out[axis];
                }
                _ => {
                    shape.push(out[axis]);
                    strides.push(stride);
                }
            }
        }
        if shape.is_empty() {
            shape.push(1);
            strides.push([0; N]);
        }
        shape.reverse();
        strides.reverse();
        Self { shape, strides }
    }

    /// Length of the innermost runs.
    pub fn run_len(&self) -> usize {
        self.shape[self.shape.len() - 1]
    }

    /// Strides inside a run: 0 or 1 each.
    pub fn run_strides(&self) -> [usize; N] {
        self.strides[self.strides.len() - 1]
    }

    /// Where each operand's elements of a run start.
    pub fn offsets(&self, run: usize) -> [usize; N] {
        let mut offsets = [0; N];
        let mut rest = run;
        for axis in (0..self.shape.len() - 1).rev() {
            let index = rest % self.shape[axis];
            rest /= self.shape[axis];
            for (offset, stride) in offsets.iter_mut().zip(&self.strides[axis]) {
                *offset += index * stride;
            }
        }
        offsets
    }
}

/// Runs of a result, shared among threads: `work(offsets of the operands, part of out)`.
pub fn by_runs<const N: usize, T: Send>(
    threads: &Threads,
    layout: &Broadcast<N>,
    out: &mut [T],
    work: impl Fn([usize; N], &mut [T]) + Sync,
) {
    let run = layout.run_len();
    if out.is_empty() {
        return;
    }
    let strides = layout.run_strides();
    let runs = out.len() / run;
    if runs == 1 && run > 2 * WORTH_SHARING {
        let shared = Shared::new(out);
        in_parts(threads, run, 1, |start, count| {
            // SAFETY: parts do not overlap.
            let part = unsafe { shared.part(start, count) };
            work(strides.map(|stride| stride * start), part);
        });
        return;
    }
    super::output::by_rows(threads, out, run, run, |first, part| {
        for (index, part) in part.chunks_mut(run).enumerate() {
            work(layout.offsets(first + index), part);
        }
    });
}

/// One run of a binary operation on floats.
pub struct BinaryRun<'a> {
    /// Which, with floats as its result.
    pub binary: Binary,
    /// At least as many elements as `out`, or one that repeats.
    pub a: &'a [f32],
    /// 0 or 1.
    pub a_stride: usize,
    /// As `a`.
    pub b: &'a [f32],
    /// 0 or 1.
    pub b_stride: usize,
    /// The result.
    pub out: &'a mut [f32],
}

impl Kernel for BinaryRun<'_> {
    type Output = ();

    #[inline(always)]
    fn run<V: Lanes>(self) {
        match self.binary {
            Binary::Add => self.each::<V>(|a, b| a.add(b), |a, b| a + b),
            Binary::Subtract => self.each::<V>(|a, b| a.sub(b), |a, b| a - b),
            Binary::Multiply => self.each::<V>(|a, b| a.mul(b), |a, b| a * b),
            Binary::Divide => self.each::<V>(|a, b| a.div(b), |a, b| a / b),
            Binary::Maximum => self.each::<V>(|a, b| a.max(b), |a, b| if a > b { a } else { b }),
            Binary::Minimum => self.each::<V>(|a, b| a.min(b), |a, b| if a < b { a } else { b }),
            Binary::Power | Binary::Equal | Binary::Less | Binary::Greater => {
                for index in 0..self.out.len() {
                    let a = self.a[index * self.a_stride];
                    self.out[index] = a.powf(self.b[index * self.b_stride]);
                }
            }
        }
    }
}

impl BinaryRun<'_> {
    #[inline(always)]
    fn each<V: Lanes>(self, f: impl Fn(V, V) -> V, one: impl Fn(f32, f32) -> f32) {
        let len = self.out.len();
        let (a_stride, b_stride) = (self.a_stride, self.b_stride);
        if len == 0 {
            return;
        }
        assert!(a_stride <= 1 && b_stride <= 1);
        assert!(self.a.len() > (len - 1) * a_stride && self.b.len() > (len - 1) * b_stride);
        let whole = len / V::COUNT * V::COUNT;
        for index in (0..whole).step_by(V::COUNT) {
            // SAFETY: `whole` is within all slices whose stride is 1.
            unsafe {
                let a = match a_stride {
                    0 => V::splat(self.a[0]),
                    _ => V::load(self.a.as_ptr().add(index)),
                };
                let b = match b_stride {
                    0 => V::splat(self.b[0]),
                    _ => V::load(self.b.as_ptr().add(index)),
                };
                f(a, b).store(self.out.as_mut_ptr().add(index));
            }
        }
        for index in whole..len {
            self.out[index] = one(self.a[index * a_stride], self.b[index * b_stride]);
        }
    }
}

/// An arithmetic operation on integers, wrapping.
pub fn arithmetic(binary: Binary, a: i32, b: i32) -> i32 {
    match binary {
        Binary::Add => a.wrapping_add(b),
        Binary::Subtract => a.wrapping_sub(b),
        Binary::Multiply => a.wrapping_mul(b),
        Binary::Maximum => a.max(b),
        Binary::Minimum => a.min(b),
        Binary::Equal | Binary::Less | Binary::Greater => compare(binary, a, b),
        // Floats only, as the recorder checks.
        Binary::Divide | Binary::Power => 0,
    }
}

/// A comparison, as 1 or 0.
pub fn compare<T: PartialOrd>(binary: Binary, a: T, b: T) -> i32 {
    i32::from(match binary {
        Binary::Less => a < b,
        Binary::Greater => a > b,
        _ => a == b,
    })
}
