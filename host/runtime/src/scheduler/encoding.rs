//! A picture on its way through the encoder, a slice at a time.

use std::sync::Arc;

use monocle_tensor::backend::Tensor;

use crate::error::RequestError;
use crate::loaded::Loaded;
use crate::plugin::state::PixelTensor;
use crate::slices::{Encoder, Source};

use super::features::ContentKey;

/// See the module.
pub struct Encoding {
    /// Which picture of its request.
    pub picture: usize,
    /// What it is known by.
    pub key: Option<ContentKey>,
    encoder: Arc<Encoder>,
    pixels: Vec<PixelTensor>,
    slots: Vec<Option<Tensor>>,
    done: usize,
}

impl Encoding {
    /// Nothing of it is done.
    pub fn new(
        encoder: Arc<Encoder>,
        picture: usize,
        pixels: Vec<PixelTensor>,
        key: Option<ContentKey>,
    ) -> Self {
        Self {
            picture,
            key,
            slots: vec![None; encoder.slots],
            encoder,
            pixels,
            done: 0,
        }
    }

    /// Runs the next pieces, so many at most; gives the feature sets when all are done.
    pub fn advance(
        &mut self,
        loaded: &mut Loaded,
        pieces: usize,
    ) -> Result<Option<Vec<Tensor>>, RequestError> {
        let end = self.encoder.pieces.len().min(self.done.saturating_add(pieces));
        while self.done < end {
            self.run_piece(loaded)?;
            self.done += 1;
        }
        if self.done < self.encoder.pieces.len() {
            return Ok(None);
        }
        let results = self.encoder.results.iter();
        let results = results.map(|slot| self.slots[*slot].clone().expect("the last piece filled it"));
        Ok(Some(results.collect()))
    }

    fn run_piece(&mut self, loaded: &mut Loaded) -> Result<(), RequestError> {
        let piece = &self.encoder.pieces[self.done];
        let mut inputs = Vec::with_capacity(piece.inputs.len());
        for source in &piece.inputs {
            inputs.push(match source {
                Source::Pixels { tensor, tiles } => {
                    // Pixels that no later piece needs are not kept beside the engine's copy.
                    let later = self.encoder.pieces[self.done + 1..].iter();
                    let mut later = later.flat_map(|piece| &piece.inputs);
                    let last = !later
                        .any(|other| matches!(other, Source::Pixels { tensor: also, .. } if also == tensor));
                    let pixels = &mut self.pixels[*tensor];
                    let mut shape = pixels.shape.clone();
                    let stride: usize = shape[1..].iter().product();
                    shape[0] = tiles.len();
                    let values = match last && tiles.len() == pixels.shape[0] {
                        true => std::mem::take(&mut pixels.values),
                        false => pixels.values[tiles.start * stride..tiles.end * stride].to_vec(),
                    };
                    if last {
                        pixels.values = Vec::new();
                    }
                    loaded.backend.upload(&shape, values)?
                }
                Source::Slot(slot) => self.slots[*slot].clone().expect("an earlier piece filled it"),
            });
        }
        let results = loaded.backend.run(&piece.program, &inputs, None);
        loaded.check_files()?;
        let results = results.map_err(|error| loaded.blame("network.encode", error))?;
        for (slot, result) in piece.outputs.iter().zip(results) {
            self.slots[*slot] = Some(result);
        }
        for slot in &piece.frees {
            self.slots[*slot] = None;
        }
        Ok(())
    }
}
