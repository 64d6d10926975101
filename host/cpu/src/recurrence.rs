//! The gated delta rule (arXiv:2412.06464, equation 10), token by token: however a sequence is cut into steps, the same numbers are added
//! in the same order.

use super::lanes::{Kernel, Lanes};
use super::output::Shared;
use super::run::ProgramRun;
use super::sequence_state::State;
use super::value::Value;
use monocle_tensor::backend::BackendError;

/// Rows of a state that one task works on.
const TASK_ROWS: usize = 16;

pub fn recurrent(run: &mut ProgramRun<'_>, layer: u32) -> Result<Value, BackendError> {
    let (q_shape, v_shape) = (run.input_shape(0), run.input_shape(2));
    let shape = Shape {
        heads: q_shape[1],
        dim: q_shape[2],
        value_heads: v_shape[1],
        value_dim: v_shape[2],
    };
    let inputs: Vec<Value> = (0..5)
        .map(|index| run.input(index).cloned())
        .collect::<Result<_, _>>()?;
    let len = run.node().output.len();
    let mut buffer = run.memory.take(len);
    let out = Shared::new(&mut buffer.floats_mut()[..len]);
    let mut first = 0;
    for rows in &run.step.sequences {
        let memory = run.memory;
        let sequence = run.sequences.get(rows.sequence)?;
        let state = sequence.states.entry(layer).or_insert_with(|| State {
            values: Value::zeros(memory, shape.state()),
            tokens: 0,
            before: None,
        });
        if state.tokens != rows.past || state.values.len() != shape.state() {
            return Err(BackendError::Sequence(format!(
                "the state of layer {layer} of sequence {} has seen {} tokens and has {} elements, not {} and {}",
                rows.sequence.0,
                state.tokens,
                state.values.len(),
                rows.past,
                shape.state()
            )));
        }
        // Only the last step can be undone, and that is this one: what was before the one before makes room.
        state.before = None;
        let mut next = memory.take(shape.state());
        let next_values = &mut next.floats_mut()[..shape.state()];
        next_values.copy_from_slice(state.values.floats());
        let shared = Shared::new(next_values);
        let blocks = shape.value_dim.div_ceil(TASK_ROWS);
        let processor = run.processor;
        let operands = std::array::from_fn(|index| inputs[index].floats());
        run.threads.parallel(shape.value_heads * blocks, |index| {
            processor.run(Task {
                shape,
                operands,
                tokens: [first, rows.rows],
                head: index / blocks,
                row: index % blocks * TASK_ROWS,
                state: &shared,
                out: &out,
            });
        });
        let next = Value::new(next, shape.state());
        state.before = Some((std::mem::replace(&mut state.values, next), state.tokens));
        state.tokens += rows.rows;
        first += rows.rows;
    }
    Ok(Value::new(buffer, len))
}

#[derive(Clone, Copy)]
struct Shape {
    heads: usize,
    dim: usize,
    value_heads: usize,
    value_dim: usize,
}

impl Shape {
    /// Elements of a state: `[value_heads, value_dim, dim]`
    fn state(self) -> usize {
        self.value_heads * self.value_dim * self.dim
    }
}

/// Some rows of one value head's state, through all tokens of a step.
struct Task<'a> {
    shape: Shape,
    operands: [&'a [f32]; 5],
    /// The first token, and how many.
    tokens: [usize; 2],
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
        } = self.shape;
        let [q, k, v, gate, beta] = self.operands;
        let rows = TASK_ROWS.min(value_dim - self.row);
        let key_head = self.head / (value_heads / heads);
        // SAFETY: each task has rows of its own.
        let state = unsafe {
            self.state
                .part((self.head * value_dim + self.row) * dim, rows * dim)
        };
        let [first, count] = self.tokens;
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
