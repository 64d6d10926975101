//! Operations that work element by element.

use crate::lanes::{Kernel, Lanes, Processor};
use crate::math;
use crate::output::{Shared, WORTH_SHARING};
use crate::rows::{load_part, store_part};
use crate::threads::Threads;
use monocle_tensor::operation::{Binary, Unary};

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
        // Functions that are rare enough to go one by one.
        let one_by_one: Option<fn(f32) -> f32> = match self.function {
            Function::Unary(Unary::Logarithm) => Some(f32::ln),
            Function::Unary(Unary::Sine) => Some(f32::sin),
            Function::Unary(Unary::Cosine) => Some(f32::cos),
            // ln(1 + eˣ) = max(x, 0) + ln(1 + e^-|x|)
            Function::Unary(Unary::Softplus) => Some(|x| x.max(0.0) + (-x.abs()).exp().ln_1p()),
            Function::Unary(
                Unary::Negate
                | Unary::Absolute
                | Unary::Exponential
                | Unary::SquareRoot
                | Unary::ReciprocalSquareRoot
                | Unary::Square
                | Unary::HyperbolicTangent
                | Unary::Sigmoid
                | Unary::Relu
                | Unary::Silu
                | Unary::Gelu
                | Unary::GeluTanh
                | Unary::QuickGelu,
            )
            | Function::ScaleShift(..)
            | Function::Clamp(..) => None,
        };
        if let Some(f) = one_by_one {
            self.values.iter_mut().for_each(|x| *x = f(*x));
            return;
        }
        for start in (0..self.values.len()).step_by(V::COUNT) {
            let x = load_part::<V>(self.values, start, 0.0);
            store_part(evaluate(self.function, x), self.values, start);
        }
    }
}

#[inline(always)]
fn evaluate<V: Lanes>(function: Function, x: V) -> V {
    let (zero, one) = (V::splat(0.0), V::splat(1.0));
    let unary = match function {
        Function::ScaleShift(scale, shift) => return x.mul(V::splat(scale)).add(V::splat(shift)),
        Function::Clamp(low, high) => return V::splat(high).min(V::splat(low).max(x)),
        Function::Unary(unary) => unary,
    };
    match unary {
        Unary::Negate => zero.sub(x),
        Unary::Absolute => x.max(zero.sub(x)),
        Unary::Exponential => math::exp(x),
        Unary::SquareRoot => x.sqrt(),
        Unary::ReciprocalSquareRoot => one.div(x.sqrt()),
        Unary::Square => x.mul(x),
        Unary::HyperbolicTangent => math::tanh(x),
        Unary::Sigmoid => math::sigmoid(x),
        Unary::Relu => zero.max(x),
        Unary::Silu => x.mul(math::sigmoid(x)),
        Unary::Gelu => math::gelu(x),
        Unary::GeluTanh => math::gelu_tanh(x),
        Unary::QuickGelu => x.mul(math::sigmoid(x.mul(V::splat(1.702)))),
        Unary::Logarithm | Unary::Sine | Unary::Cosine | Unary::Softplus => x,
    }
}

/// Integers: negation, absolute value and square, wrapping.
pub fn apply_ints(unary: Unary, x: &[i32], out: &mut [i32]) {
    for (to, &x) in out.iter_mut().zip(x) {
        *to = match unary {
            Unary::Negate => x.wrapping_neg(),
            Unary::Absolute => x.wrapping_abs(),
            Unary::Square => x.wrapping_mul(x),
            // Floats only, as the recorder checks.
            Unary::Exponential
            | Unary::Logarithm
            | Unary::SquareRoot
            | Unary::ReciprocalSquareRoot
            | Unary::Sine
            | Unary::Cosine
            | Unary::HyperbolicTangent
            | Unary::Sigmoid
            | Unary::Relu
            | Unary::Silu
            | Unary::Gelu
            | Unary::GeluTanh
            | Unary::QuickGelu
            | Unary::Softplus => x,
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
        let len = self.out.len();
        let (a_stride, b_stride) = (self.a_stride, self.b_stride);
        if len == 0 {
            return;
        }
        assert!(a_stride <= 1 && b_stride <= 1);
        assert!(self.a.len() > (len - 1) * a_stride && self.b.len() > (len - 1) * b_stride);
        if self.binary == Binary::Power {
            for (index, out) in self.out.iter_mut().enumerate() {
                *out = self.a[index * a_stride].powf(self.b[index * b_stride]);
            }
            return;
        }
        for start in (0..len).step_by(V::COUNT) {
            let a = match a_stride {
                0 => V::splat(self.a[0]),
                _ => load_part::<V>(&self.a[..len], start, 1.0),
            };
            let b = match b_stride {
                0 => V::splat(self.b[0]),
                _ => load_part::<V>(&self.b[..len], start, 1.0),
            };
            store_part(combine(self.binary, a, b), self.out, start);
        }
    }
}

#[inline(always)]
fn combine<V: Lanes>(binary: Binary, a: V, b: V) -> V {
    match binary {
        Binary::Add => a.add(b),
        Binary::Subtract => a.sub(b),
        Binary::Multiply => a.mul(b),
        Binary::Divide => a.div(b),
        Binary::Maximum => a.max(b),
        Binary::Minimum => a.min(b),
        // Done one by one, or with integers as their results.
        Binary::Power | Binary::Equal | Binary::Less | Binary::Greater => a,
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
        Binary::Equal
        | Binary::Add
        | Binary::Subtract
        | Binary::Multiply
        | Binary::Divide
        | Binary::Maximum
        | Binary::Minimum
        | Binary::Power => a == b,
    })
}
