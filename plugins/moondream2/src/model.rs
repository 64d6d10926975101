//! The architecture.

use monocle_plugin::prelude::*;

use crate::config::Config;
use crate::decoder::Decoder;
use crate::places;
use crate::processor::ASKED;
use crate::region::Region;
use crate::rows::{Rows, WIDTH, one};
use crate::tower::Tower;

/// Vision tower, decoder, and what makes numbers of places.
pub struct Moondream {
    vision: Tower,
    language: Decoder,
    /// Absent from conversions to MLX.
    region: Option<Region>,
    rows: Rows,
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
            region: Region::load(&region, first, config.tokens.eos_id),
            rows: Rows {
                first,
                cache: config.text.n_layers,
                longest: config.text.max_context,
            },
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
        let (ids, language) = (batch.ids(), &self.language);
        let words = |ids: &Tensor| language.words.forward(ids);
        let Some(region) = &self.region else {
            let x = batch.splice_features(&words(&ids), 0);
            let x = language.forward(x, batch, &batch.positions(), None);
            return Ok(language.logits(&batch.select_logits(&x)));
        };
        let held = self.rows.read(&ids, batch);
        let x = batch.splice_features(&region.embed(&ids, &held, words), 0);
        let hidden = held.kind.equal(&one(WIDTH));
        let x = language.forward(x, batch, &self.rows.positions(batch), Some(&hidden));
        let [x, kind, asked] = [&x, &held.kind, &batch.mark(ASKED)].map(|x| batch.select_logits(x));
        Ok(region.choose(&language.logits(&x), &x, &kind, &asked))
    }
}
