//! The gated delta rule (arXiv:2412.06464, equation 10), token by token: however a sequence is cut into steps, the same numbers are added
//! in the same order.

use crate::lanes::{Kernel, Lanes, Processor};
use crate::output::Shared;
use crate::threads::Threads;

/// Rows of a state that one task works on.
const TASK_ROWS: usize = 16;

/// Sizes of a layer's inputs.
#[derive(Clone, Copy)]
pub struct Shape {
    /// Heads of queries and keys.
    pub heads: usize,
    /// Elements of each.
    pub dim: usize,
    /// Heads of values: a multiple of those of keys.
    pub value_heads: usize,
    /// Elements of each.
    pub value_dim: usize,
}

impl Shape {
    /// Elements of a state: `[value_heads, value_dim, dim]`
    pub fn state(self) -> usize {
        self.value_heads * self.value_dim * self.dim
    }
}

/// The rule for some tokens of one sequence.
pub struct GatedDelta<'a> {
    /// Sizes of its inputs.
    pub shape: Shape,
    /// Queries and keys `[tokens, heads, dim]`, values `[tokens, value_heads, value_dim]`, logarithms of decays and betas
    /// `[tokens, value_heads]`.
    pub operands: [&'a [f32]; 5],
    /// The first token, and how many.
    pub tokens: [usize; 2],
}

impl GatedDelta<'_> {
    /// Takes the state through all tokens, and writes their results: `[tokens, value_heads, value_dim]`.
    pub fn run(&self, processor: Processor, threads: &Threads, state: &mut [f32], out: &Shared<'_, f32>) {
        let state = Shared::new(state);
        let blocks = self.shape.value_dim.div_ceil(TASK_ROWS);
        threads.parallel(self.shape.value_heads * blocks, |index| {
            processor.run(Task {
                rule: self,
                head: index / blocks,
                row: index % blocks * TASK_ROWS,
                state: &state,
                out,
            });
        });
    }
}

/// Some rows of one value head's state, through all tokens.
struct Task<'a> {
    rule: &'a GatedDelta<'a>,
    head: usize,
    row: usize,
    state: &'a Shared<'a, f32>,
    out: &'a Shared<'a, f32>,
}

impl Kernel for Task<'_> {
    type Output = ();

    #[inline(always)]
    fn run<V: Lanes>(self) {
        let Shape {
            heads,
            dim,
            value_heads,
            value_dim,
        } = self.rule.shape;
        let [q, k, v, gate, beta] = self.rule.operands;
        let rows = TASK_ROWS.min(value_dim - self.row);
        let key_head = self.head / (value_heads / heads);
        // SAFETY: each task has rows of its own.
        let state = unsafe {
            self.state
                .part((self.head * value_dim + self.row) * dim, rows * dim)
        };
        let [first, count] = self.rule.tokens;
        for token in first..first + count {
            let at = (token * heads + key_head) * dim;
            let (q, k) = (&q[at..at + dim], &k[at..at + dim]);
            let place = token * value_heads + self.head;
            let (decay, beta) = (gate[place].exp(), beta[place]);
            let values = &v[place * value_dim + self.row..][..rows];
            // SAFETY: each task writes its own rows of its own head.
            let out = unsafe { self.out.part(place * value_dim + self.row, rows) };
            for ((state, value), out) in state.chunks_exact_mut(dim).zip(values).zip(out) {
                let change = beta * (value - decay * dot::<V>(state, k));
                *out = update::<V>(state, decay, change, k, q);
            }
        }
    }
}

/// `a · b`
#[inline(always)]
fn dot<V: Lanes>(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len());
    let whole = a.len() / V::COUNT * V::COUNT;
    let mut sum = V::splat(0.0);
    for at in (0..whole).step_by(V::COUNT) {
        // SAFETY: `at + COUNT` is at most the length of both.
        sum = unsafe { V::load(a.as_ptr().add(at)).mul_add(V::load(b.as_ptr().add(at)), sum) };
    }
    let rest = a[whole..].iter().zip(&b[whole..]);
    sum.sum() + rest.map(|(a, b)| a * b).sum::<f32>()
}

/// `state = decay · state + change · k`; gives `state · q`.
#[inline(always)]
fn update<V: Lanes>(state: &mut [f32], decay: f32, change: f32, k: &[f32], q: &[f32]) -> f32 {
    assert!(state.len() == k.len() && k.len() == q.len());
    let whole = state.len() / V::COUNT * V::COUNT;
    let mut sum = V::splat(0.0);
    for at in (0..whole).step_by(V::COUNT) {
        // SAFETY: `at + COUNT` is at most the length of all three.
        unsafe {
            let place = state.as_mut_ptr().add(at);
            let added = V::load(k.as_ptr().add(at)).mul(V::splat(change));
            let next = V::load(place).mul_add(V::splat(decay), added);
            next.store(place);
            sum = next.mul_add(V::load(q.as_ptr().add(at)), sum);
        }
    }
    let mut total = sum.sum();
    for ((state, k), q) in state[whole..].iter_mut().zip(&k[whole..]).zip(&q[whole..]) {
        *state = *state * decay + change * k;
        total += *state * q;
    }
    total
}
