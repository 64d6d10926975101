//! The architecture.

use std::f32::consts::TAU;

use monocle_plugin::prelude::*;
use monocle_plugin::{BinaryOperation, Reduction, UnaryOperation};

use crate::config::Config;
use crate::decoder::Decoder;
use crate::places::{self, PARTS};
use crate::processor::POINTING;
use crate::tower::Tower;

/// Below every logit.
const NEVER: f32 = -1e30;

/// Vision tower, decoder, and what makes numbers of places.
pub struct Moondream {
    vision: Tower,
    language: Decoder,
    /// Absent from conversions to MLX.
    region: Option<Region>,
    end: u32,
}

/// Places as rows of the decoder, and back.
struct Region {
    frequencies: Parameter,
    encoder: Linear,
    decoder: Mlp,
    /// The id of the first token of places.
    first: u32,
}

impl Network for Moondream {
    fn load(files: &ModelFiles) -> Result<Self> {
        let (config, root) = (Config::read(&files.config()?)?, Weights::root());
        let vision = root.find(&["model.vision", "vision"], "proj_mlp.fc1.weight")?;
        let text = root.find(&["model.text", "text"], "lm_head.weight")?;
        let region = root.pick(&["model.region", "region"]);
        let first = tokenizer::id(&places::tokens()[0])?;
        Ok(Self {
            vision: Tower::load(&vision, &config.vision)?,
            language: Decoder::load(&text, &config.text)?,
            region: region.has("coord_features").then(|| Region {
                frequencies: region.parameter("coord_features"),
                encoder: region.linear("coord_encoder"),
                decoder: Mlp::load(&region.at("coord_decoder"), Activation::GeluTanh),
                first,
            }),
            end: config.tokens.eos_id,
        })
    }

    fn encode(&self, pixels: &[Tensor], layout: &[u32]) -> Result<Vec<Tensor>> {
        let [columns, rows] = layout else {
            return Err(Error::new(format_args!(
                "a layout of {layout:?}, expected columns and rows"
            )));
        };
        Ok(vec![self.vision.forward(&pixels[0], Grid::new(*columns, *rows))?])
    }

    fn forward(&self, batch: &Batch) -> Result<Tensor> {
        let ids = batch.ids();
        let words = |ids: &Tensor| self.language.words.forward(ids);
        let x = match &self.region {
            None => words(&ids),
            Some(region) => region.embed(&ids, words),
        };
        let x = self.language.forward(batch.splice_features(&x, 0), batch);
        let x = batch.select_logits(&x);
        let logits = self.language.logits(&x);
        Ok(match &self.region {
            None => logits,
            Some(region) => {
                let [ids, pointing] = [&ids, &batch.mark(POINTING)].map(|x| batch.select_logits(x));
                region.choose(&logits, &x, &ids, &pointing, self.end)
            }
        })
    }
}

impl Region {
    /// Rows of words, or of places: ids int `[tokens]` to `[tokens, hidden]`.
    fn embed(&self, ids: &Tensor, words: impl Fn(&Tensor) -> Tensor) -> Tensor {
        let int = |value: u32| ints(&[1], &[value as i32]);
        let own = ids.binary(BinaryOperation::Subtract, &int(self.first));
        let is_place = own.greater(&ints(&[1], &[-1]));
        let words = words(&is_place.select(&int(0), ids));
        let down = own
            .greater(&int(PARTS - 1))
            .select(&(own.to_float() - PARTS as f32), &own.to_float());
        let turns =
            (down * (TAU / PARTS as f32)).unsqueeze(-1) * self.frequencies.value().flatten(0, 1).unsqueeze(0);
        let waves = concat(
            &[
                &turns.unary(UnaryOperation::Cosine),
                &turns.unary(UnaryOperation::Sine),
            ],
            1,
        );
        is_place
            .unsqueeze(-1)
            .select(&self.encoder.forward(&waves), &words)
    }

    /// Logits of words, and of places where points are asked for: after a place across one down, else one across, or the end. Rows `[wanted,
    /// hidden]`, the ids that they have, and whether points are asked for.
    fn choose(&self, logits: &Tensor, rows: &Tensor, ids: &Tensor, pointing: &Tensor, end: u32) -> Tensor {
        let (wanted, words) = (logits.dimension(0), logits.dimension(1));
        let all = words.max(self.first + 2 * PARTS);
        let column = |x: &Tensor| x.unsqueeze(-1);
        let bound = |value: u32| ints(&[1], &[value as i32]);
        let places = self.decoder.forward(rows); // [wanted, parts]
        let best = |x: &Tensor| x.reduce(Reduction::Maximum, &[1], true);
        let ends = logits.narrow(1, end, end + 1);
        let others: Vec<f32> = (0..words).map(|id| if id == end { NEVER } else { 0.0 }).collect();
        // Whatever word is likelier than the end asks for a point.
        let across = &places - best(&places) + best(&(logits + floats(&[words], &others)));
        let is_across = column(&ids.greater(&bound(self.first - 1))).binary(
            BinaryOperation::Multiply,
            &column(&ids.less(&bound(self.first + PARTS))),
        );
        let never = |count: u32| full(&[wanted, count], NEVER);
        let after_across = [&never(1), &never(PARTS), &places];
        let after_others = [&ends, &across, &never(PARTS)];
        let [ends, across, down] =
            [0, 1, 2].map(|part: usize| is_across.select(after_across[part], after_others[part]));
        let (before, between) = (end, self.first - end - 1);
        let after = all - self.first - 2 * PARTS;
        let parts = [
            &never(before),
            &ends,
            &never(between),
            &across,
            &down,
            &never(after),
        ];
        let parts: Vec<&Tensor> = parts
            .into_iter()
            .zip([before, 1, between, PARTS, PARTS, after])
            .filter(|(_, size)| *size > 0)
            .map(|(part, _)| part)
            .collect();
        let points = concat(&parts, 1);
        let text = match all - words {
            0 => logits.clone(),
            more => logits.pad(1, 0, more, NEVER),
        };
        column(pointing).select(&points, &text)
    }
}
