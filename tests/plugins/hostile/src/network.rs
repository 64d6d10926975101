//! Deeds in the network.

use std::cell::RefCell;
use std::sync::atomic::{AtomicU32, Ordering};

use monocle_plugin::prelude::*;
use monocle_plugin::{Interpolation, Pairing, Pooling, Reduction, UnaryOperation, Window};

use crate::processor::{BLOCK, SIZES};
use crate::{be_told, deed, told_elsewhere};

/// What the checkpoint's decoder has.
const HIDDEN: u32 = 64;
const HEADS: u32 = 4;
const LARGE: u32 = 1 << 16;

thread_local! {
    /// A tensor that outlives its recording.
    static KEPT: RefCell<Option<Tensor>> = const { RefCell::new(None) };
}

/// Counts recordings.
static RECORDINGS: AtomicU32 = AtomicU32::new(0);

pub struct HostileNetwork {
    embedding: Embedding,
    head: Linear,
}

impl Network for HostileNetwork {
    fn load(files: &ModelFiles) -> Result<Self> {
        be_told(files)?;
        match deed("load") {
            "refuse" => return Err(Error::new("I was told to refuse")),
            "a weight that is not there" => {
                drop(Weights::root().linear("model.text_model.layers.0.self_attn.q_porj"))
            }
            "a name without end" => drop(Weights::root().linear(&"x".repeat(8 << 20))),
            "a vector as a layer" => {
                drop(Weights::root().linear("model.text_model.layers.0.input_layernorm"))
            }
            "a stack of nothing" => drop(Weights::root().stack_experts([""; 0], "")),
            "a stack of two shapes" => {
                let layer = Weights::root().at("model.text_model.layers.0");
                drop(layer.stack_experts(["self_attn.q_proj", "mlp.gate_proj"], ""));
            }
            "experts that are none" => drop(Weights::root().experts("lm_head")),
            _ => {}
        }
        Ok(Self {
            embedding: Weights::root().embedding("model.text_model.embed_tokens"),
            head: Weights::root().linear("lm_head"),
        })
    }

    fn encode(&self, pixels: &[Tensor], _layout: &[u32]) -> Result<Vec<Tensor>> {
        let deed = deed("encode");
        let features = pixels[0].reshape(&[4, 48]).pad(1, 0, HIDDEN - 48, 0.0); // [features, hidden]
        Ok(match deed {
            "refuse" => return Err(Error::new("I was told to refuse")),
            "nothing" => vec![],
            _ if told_elsewhere("plan: constants for each size") => {
                vec![full(&[SIZES * BLOCK, HIDDEN], 0.0)]
            }
            "too few features" => vec![features.narrow(0, 0, 3)],
            "flat features" => vec![features.reshape(&[4 * HIDDEN])],
            "whole numbers" => vec![features.cast(Kind::Int)],
            "features of another width" => vec![features.narrow(1, 0, 48)],
            "the batch" => vec![features, kept_batch_ids()],
            "a wrong reshape" => vec![features.reshape(&[5, HIDDEN])],
            "a wrong convolution" => {
                let window = Window {
                    size: (0, 0),
                    stride: (0, 1),
                    padding: (9, 9),
                };
                vec![pixels[0].conv2d(&full(&[8, 3, 2, 2], 1.0), None, window, 1)]
            }
            "attention of nothing" => {
                let q = full(&[u32::MAX, 0, 0], 0.0);
                let k = full(&[u32::MAX, 1, 0], 0.0);
                drop(q.attention(&k, &k, &SelfAttention::of_heads(1)));
                vec![features]
            }
            "one pixel made many" => {
                // More than any machine has: 8 GiB, and the lists of a window for each.
                let one = full(&[1, 1, 1, 1], 0.0);
                let many = one.interpolate(1 << 31, 1, Interpolation::Bicubic, false, false);
                vec![features + many.sum(&[0, 1, 2, 3])]
            }
            "an estimate that wraps" => {
                // A kernel of nothing, whose row of patches would have 2^62 numbers: four bytes each are 2^64.
                let nothing = full(&[0, 1 << 20, 1 << 20, 1 << 22], 0.0);
                let kernel = full(&[0, 1 << 22, 1 << 20, 1 << 20], 0.0);
                let window = Window {
                    size: (1 << 20, 1 << 20),
                    stride: (1, 1),
                    padding: (0, 0),
                };
                drop(nothing.conv2d(&kernel, None, window, 1));
                let large: Vec<Tensor> = (0..8)
                    .map(|number| full(&[LARGE, LARGE / 2], number as f32))
                    .collect();
                let sums: Vec<Tensor> = large.iter().map(|large| large.sum(&[0, 1])).collect();
                vec![sums.iter().fold(features, |x, sum| x + sum)]
            }
            "products for days" => {
                let factor = full(&[2048, 2048], 0.5);
                let product = (0..20_000).fold(factor.clone(), |x, _| x.matmul(&factor, false));
                vec![features + product.sum(&[0, 1]) * 0.0]
            }
            "a wrong pool" => {
                let window = Window {
                    size: (9, 9),
                    stride: (1, 1),
                    padding: (0, 0),
                };
                vec![pixels[0].pool2d(Pooling::Average, window)]
            }
            _ => vec![features],
        })
    }

    fn encode_prompt(&self, batch: &Batch) -> Result<Tensor> {
        let deed = deed("encode-prompt");
        let x = batch.splice_features(&self.embedding.forward(&batch.ids()), 0); // [tokens, hidden]
        let rows = batch.tokens();
        let heads = || x.reshape(&[rows, HEADS, HIDDEN / HEADS]);
        let attention = CachedAttention {
            layer: 0,
            scale: 0.25,
            softcap: None,
            window: None,
            value_dim: None,
        };
        match deed {
            "refuse" => return Err(Error::new("I was told to refuse")),
            "a cache" => drop(batch.attend(&heads(), &heads(), Some(&heads()), attention)),
            "a cache read" => drop(batch.attend_shared(&heads(), attention)),
            "a convolution" => drop(batch.short_conv(&x, &full(&[HIDDEN, 3], 1.0), None, 0)),
            "context" => drop(batch.cross_attend(&heads(), None, None, attention)),
            "wanted rows" => return Ok(batch.select_logits(&x)),
            "too few rows" => return Ok(x.narrow(0, 1, rows)),
            "heads" => return Ok(heads()),
            "another number" => return Ok(x * RECORDINGS.fetch_add(1, Ordering::Relaxed) as f32),
            _ => {}
        }
        Ok(x)
    }

    fn forward(&self, batch: &Batch) -> Result<Tensor> {
        let deed = deed("forward");
        let recording = RECORDINGS.fetch_add(1, Ordering::Relaxed);
        let decoding = batch.tokens() == 1;
        let x = match deed {
            "pictures passed over" => self.embedding.forward(&batch.ids()),
            _ => batch.splice_features(&self.embedding.forward(&batch.ids()), 0),
        }; // [tokens, hidden]
        if deed == "refuse" {
            return Err(Error::new("I was told to refuse"));
        }
        let heads = |count| {
            self.head
                .forward_heads(&x.reshape(&[batch.tokens(), HEADS, 16]), count, false)
        };
        match deed {
            "heads that do not divide" => return Ok(heads(7)),
            "heads of another width" => return Ok(heads(HEADS)),
            _ => {}
        }
        if told_elsewhere("plan: constants for each size") {
            let mut values = vec![0.0; 1 << 20];
            values[0] = batch.tokens() as f32;
            drop(floats(&[1 << 20], &values));
        }
        let x = misuse(deed, batch, x, recording);
        let rows = batch.tokens();
        let narrow = decoding && deed == "narrower heads when decoding";
        let dim = if narrow {
            HIDDEN / HEADS / 2
        } else {
            HIDDEN / HEADS
        };
        let q = x.narrow(1, 0, HEADS * dim).reshape(&[rows, HEADS, dim]);
        let k = match deed {
            "a wrong attend" => q.narrow(2, 0, 3),
            _ => q.narrow(2, 0, dim),
        };
        let layer = match deed {
            "a layer out of bounds" => 4096,
            "another layer when decoding" if decoding => 1,
            _ => 0,
        };
        let attention = |window| CachedAttention {
            layer,
            scale: 0.25,
            softcap: None,
            window,
            value_dim: None,
        };
        let latent = |value_dim| CachedAttention {
            value_dim: Some(value_dim),
            ..attention(None)
        };
        let window = (deed == "a window of nothing").then_some(0);
        let mut seen = match deed {
            "values twice" => batch.attend(&q, &k, Some(&q), latent(dim)),
            "no values" => batch.attend(&q, &k, None, attention(None)),
            "values wider than keys" => batch.attend(&q, &k, None, latent(dim + 1)),
            "values of nothing" => batch.attend(&q, &k, None, latent(0)),
            _ => batch.attend(&q, &k, Some(&q), attention(window)),
        };
        match deed {
            "a cache that nobody wrote" => {
                let nowhere = CachedAttention {
                    layer: 9,
                    ..attention(None)
                };
                seen = batch.attend_shared(&q, nowhere);
            }
            "a cache seen further than it was written" => {
                let other = |window| CachedAttention {
                    layer: 1,
                    ..attention(window)
                };
                batch.attend(&q, &k, Some(&q), other(Some(4)));
                seen = batch.attend_shared(&q, other(Some(5)));
            }
            "a cache of other heads" => seen = batch.attend_shared(&q.narrow(2, 0, 3), attention(None)),
            "a part of a cache that was written" => seen = batch.attend_shared(&q, latent(dim)),
            "a recurrence of heads that do not fit" => {
                let [v, gate] = [q.narrow(1, 0, 3), full(&[rows, 3], 0.0)];
                drop(batch.recurrent(&q, &k, &v, &gate, &gate, 0));
            }
            "a gate of another shape" => {
                let [gate, beta] = [full(&[rows, 1], 0.0), full(&[rows, HEADS], 0.5)];
                drop(batch.recurrent(&q, &k, &q, &gate, &beta, 0));
            }
            "recur twice" => {
                let gate = full(&[rows, HEADS], 0.0);
                let once = batch.recurrent(&q, &k, &q, &gate, &gate, 0);
                drop(batch.recurrent(&q, &k, &once, &gate, &gate, 0));
            }
            "a mark that is not there" => drop(batch.mark("nowhere")),
            _ => {}
        }
        if deed == "attend twice" {
            seen = batch.attend(&q, &k, Some(&seen), attention(None));
        }
        let x = x + seen
            .reshape(&[rows, HEADS * dim])
            .pad(1, 0, HIDDEN - HEADS * dim, 0.0);
        if deed == "a wrong linear" {
            return Ok(self.head.forward(&x.narrow(1, 0, 63)));
        }
        let logits = self.head.forward(&batch.select_logits(&x)); // [wanted, vocabulary]
        Ok(match deed {
            "logits for every token" => self.head.forward(&x),
            "no logits" => logits.narrow(1, 0, 1).reshape(&[1]),
            "whole logits" => logits.cast(Kind::Int),
            "logits that are no numbers" => (logits + f32::INFINITY) * 0.0,
            _ => logits,
        })
    }
}

/// Deeds with tensors; x stays as it is where the host lets them pass.
fn misuse(deed: &str, batch: &Batch, x: Tensor, recording: u32) -> Tensor {
    let rows = batch.tokens();
    let angles = |frequencies: usize, axes: Vec<u8>| RopeAngles {
        frequencies: vec![1.0; frequencies],
        axes,
        pairing: Pairing::Halves,
        scale: 1.0,
    };
    match deed {
        "operations for ever" => {
            let mut x = x;
            loop {
                x = x + 1.0;
            }
        }
        "handles for ever" => {
            let mut kept = vec![];
            loop {
                kept.push(&x + 1.0);
            }
        }
        "a dead handle" => KEPT.with_borrow_mut(|kept| match kept {
            Some(dead) => &x + &*dead,
            None => {
                *kept = Some(&x + 0.0);
                x
            }
        }),
        "another operation each time" => match recording % 2 {
            0 => x.silu(),
            _ => x.sigmoid(),
        },
        "one operation more each time" => (0..recording % 2).fold(x, |x, _| x + 1.0),
        "another number each time" => x + recording as f32,
        "another operand each time" => {
            let (a, b) = (&x + 1.0, &x + 2.0);
            if recording.is_multiple_of(2) {
                &a + &a
            } else {
                &a + &b
            }
        }
        "a wrong matmul" => x.matmul(&full(&[HIDDEN + 1, 8], 0.0), false),
        "a wrong sum" => x + full(&[3, 5], 0.0),
        "a wrong concat" => concat(&[&x, &full(&[1, 63], 0.0)], 0),
        "a concat of nothing" => concat(&[], 0),
        "a wrong slice" => x.slice(1, 5, 900, 1),
        "a step of nothing" => x.slice(1, 0, 5, 0),
        "a dimension that is none" => x.softmax().reduce(Reduction::Sum, &[9], false),
        "a wrong permutation" => x.permute(&[0, 0]),
        "a wrong rope" => x
            .reshape(&[rows, HEADS, 16])
            .rope(&batch.positions(), &angles(9, vec![])),
        "a rope of axes that are not there" => x
            .reshape(&[rows, HEADS, 16])
            .rope(&batch.positions(), &angles(2, vec![0, 7])),
        "whole numbers for floats" => x.cast(Kind::Int).unary(UnaryOperation::Silu),
        "the largest of too few" => x.top_k(1000),
        "features that are not there" => batch.splice_features(&x, 5),
        "context that is not there" => batch.cross_attend(
            &x.reshape(&[rows, HEADS, 16]),
            None,
            None,
            CachedAttention {
                layer: 0,
                scale: 1.0,
                softcap: None,
                window: None,
                value_dim: None,
            },
        ),
        "constants for ever" => {
            let values = vec![0.0; 1 << 20];
            loop {
                drop(floats(&[1 << 20], &values));
            }
        }
        "wrong constants" => x + floats(&[HIDDEN], &[1.0, 2.0]),
        "angles for ever" => {
            let wide = full(&[rows, 1, 1 << 21], 0.0);
            let positions = batch.positions();
            let mut number = 0.0;
            loop {
                number += 1.0;
                let mut angles = angles(1 << 20, vec![]);
                angles.frequencies[0] = number;
                drop(wide.rope(&positions, &angles));
            }
        }
        "angles of its own each" => {
            // Each is a table of its own for the engine.
            let one = full(&[rows, 1, 2], 0.0);
            let positions = batch.positions();
            for number in 0..45_000 {
                let mut angles = angles(1, vec![]);
                angles.frequencies[0] = number as f32;
                drop(one.rope(&positions, &angles));
            }
            x
        }
        "what is not a number" => {
            drop(full(&[1], f32::NAN) + floats(&[1], &[f32::NAN]));
            drop(&x * f32::NAN);
            x
        }
        "dimensions for ever" => full(&vec![1; 1 << 20], 0.0),
        "a shape that overflows" => full(&[u32::MAX; 4], 0.0),
        "a broadcast that overflows" => full(&[1, 1, 1, 1], 0.0).broadcast(&[LARGE; 4]),
        "padding that overflows" => x.pad(0, u32::MAX, u32::MAX, 0.0).pad(1, u32::MAX, u32::MAX, 0.0),
        "more than this machine has" => {
            // 16 times 16 GiB, each within the bound on one tensor, all alive at once.
            let parts: Vec<Tensor> = (0..16).map(|_| full(&[1 << 16, 1 << 16], 0.0)).collect();
            let sums: Vec<Tensor> = parts.iter().map(|part| part.sum(&[0, 1])).collect();
            sums.iter().fold(x, |x, sum| x + sum)
        }
        "a row out of bounds" => x.take_rows(&ints(&[rows], &vec![9999; rows as usize])),
        "a row before the first" => x.put_rows(&ints(&[1], &[-1]), &full(&[1, HIDDEN], 0.0)),
        "an element out of bounds" => {
            x.gather_last(&ints(&[rows, HIDDEN], &vec![-5; (rows * HIDDEN) as usize]))
        }
        _ => x,
    }
}

/// Something that only a forward pass has.
fn kept_batch_ids() -> Tensor {
    // SAFETY: no batch was given to this call; the host must notice.
    unsafe { Batch::from_handle(1) }.ids()
}
