//! Places as rows of the decoder, and back: `region.py` of the original.

use std::f32::consts::TAU;

use monocle_plugin::prelude::*;
use monocle_plugin::{Reduction, UnaryOperation};

use crate::places::{self, PARTS};
use crate::rows::{ACROSS, DOWN, HEIGHT, Held, WIDTH, one};

/// Below every logit.
const NEVER: f32 = -1e30;

/// What is asked for, as the mark has it.
pub const POINTS: i32 = 1;
pub const RECTANGLES: i32 = 2;

/// See the module.
pub struct Region {
    coordinates: Numbers,
    sizes: Numbers,
    /// The id of the first token of places.
    first: u32,
    /// What ends an answer.
    end: u32,
}

/// A few numbers as a row, and a row as logits of numbers.
struct Numbers {
    frequencies: Parameter,
    encoder: Linear,
    decoder: Mlp,
}

impl Region {
    /// What is at this place, if anything: conversions to MLX have nothing.
    pub fn load(place: &Weights, first: u32, end: u32) -> Option<Self> {
        let numbers = |name: &str| Numbers {
            frequencies: place.parameter(&format!("{name}_features")),
            encoder: place.linear(&format!("{name}_encoder")),
            decoder: Mlp::load(&place.at(format!("{name}_decoder")), Activation::GeluTanh),
        };
        place.has("coord_features").then(|| Self {
            coordinates: numbers("coord"),
            sizes: numbers("size"),
            first,
            end,
        })
    }

    /// Rows `[tokens, hidden]` of ids, int `[tokens]`: of words, or of what they hold of places.
    pub fn embed(&self, ids: &Tensor, held: &Held, words: impl Fn(&Tensor) -> Tensor) -> Tensor {
        let is = |kind: i32| held.kind.equal(&one(kind));
        let words = words(&held.kind.select(&one(0), ids));
        // The row of a width stands for the place down once more.
        let part = is(WIDTH).select(&held.before, &held.part);
        let coordinate = (part.to_float() * (1.0 / PARTS as f32)).unsqueeze(-1);
        let extents: Vec<f32> = (0..PARTS).map(places::extent).collect();
        let extents = floats(&[PARTS, 1], &extents);
        let [width, height] = [&held.before, &held.part].map(|part| extents.take_rows(part));
        let size = self.sizes.encode(&concat(&[&width, &height], 1));
        let place = is(HEIGHT)
            .unsqueeze(-1)
            .select(&size, &self.coordinates.encode(&coordinate));
        held.kind.unsqueeze(-1).select(&place, &words)
    }

    /// Logits of words, or where places are asked for, of what comes next, of which the likeliest alone counts. Rows `[wanted, hidden]`, and int
    /// `[wanted]`: what kinds they are, and what is asked for.
    pub fn choose(&self, logits: &Tensor, rows: &Tensor, kind: &Tensor, asked: &Tensor) -> Tensor {
        let (wanted, words) = (logits.dimension(0), logits.dimension(1));
        let all = words.max(self.first + 4 * PARTS);
        let column = |x: Tensor| x.unsqueeze(-1);
        let never = |count: u32| full(&[wanted, count], NEVER);
        let coordinates = self.coordinates.decoder.forward(rows); // [wanted, parts]
        let [widths, heights] = self.sizes.decoder.forward(rows).split([PARTS, PARTS], 1);
        let ends = logits.narrow(1, self.end, self.end + 1);
        let others: Vec<f32> = (0..words)
            .map(|id| if id == self.end { NEVER } else { 0.0 })
            .collect();
        // Whatever word is likelier than the end asks for a place.
        let across = &coordinates - best(&coordinates) + best(&(logits + floats(&[words], &others)));
        let is = |of: i32| column(kind.equal(&one(of)));
        let rectangles = column(asked.equal(&one(RECTANGLES)));
        let (is_across, is_width) = (is(ACROSS), is(WIDTH));
        let before_width = is(DOWN) * &rectangles;
        let within = &is_across + &is_width + &before_width;
        let only = |here: &Tensor, x: &Tensor| here.select(x, &never(1));
        let [ends, across] = [ends, across].map(|x| within.select(&never(1), &x));
        let (before, between) = (self.end, self.first - self.end - 1);
        let parts = [
            &never(before),
            &ends,
            &never(between),
            &across,
            &only(&is_across, &coordinates),
            &only(&before_width, &widths),
            &only(&is_width, &heights),
            &never(all - self.first - 4 * PARTS),
        ];
        let parts: Vec<&Tensor> = parts.into_iter().filter(|part| part.dimension(1) > 0).collect();
        let places = concat(&parts, 1);
        // The original takes the likeliest, however its answers in words are sampled.
        let places = places.less(&best(&places)).select(&never(1), &places);
        let text = match all - words {
            0 => logits.clone(),
            more => logits.pad(1, 0, more, NEVER),
        };
        column(asked.greater(&one(0))).select(&places, &text)
    }
}

impl Numbers {
    /// `[tokens, numbers]` to `[tokens, hidden]`.
    fn encode(&self, numbers: &Tensor) -> Tensor {
        let turns = (numbers * TAU).matmul(&self.frequencies.value(), false);
        let waves = concat(
            &[
                &turns.unary(UnaryOperation::Cosine),
                &turns.unary(UnaryOperation::Sine),
            ],
            1,
        );
        self.encoder.forward(&waves)
    }
}

/// The largest of each row.
fn best(x: &Tensor) -> Tensor {
    x.reduce(Reduction::Maximum, &[1], true)
}
