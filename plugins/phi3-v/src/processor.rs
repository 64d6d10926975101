//! Plans and pixels.

use monocle_plugin::decoders::long_context;
use monocle_plugin::prelude::*;
use monocle_plugin::{AttentionScheme, FeatureUse, Piece, PositionScheme};

use crate::prompts;
use crate::tiling::{TILE, Tiling};

/// Tokens that end a turn; files of the model name some of them only.
const STOPS: [&str; 3] = ["<|end|>", "<|endoftext|>", "</s>"];

/// The rules of `preprocessor_config.json`.
pub struct Phi3VProcessor {
    crops: u32,
    normalisation: Normalisation,
    /// Prompts with more tokens turn by other frequencies.
    short_context: u32,
    tilings: Vec<Tiling>,
}

impl Processor for Phi3VProcessor {
    fn configure(files: &ModelFiles) -> Result<Self> {
        let rules = files.preprocessor()?;
        let config = files.config()?;
        let clip = Normalisation::new(
            1.0 / 255.0,
            [0.48145466, 0.4578275, 0.40821073],
            [0.26862954, 0.261_302_6, 0.275_777_1],
        );
        Ok(Self {
            crops: rules.get_or("num_crops", 4)?.clamp(1, 64),
            normalisation: Normalisation::read(&rules, clip)?,
            short_context: config.get_or("original_max_position_embeddings", 4096)?,
            tilings: vec![],
        })
    }

    fn plan(&mut self, request: &Request) -> Result<Plan> {
        let sizes = request.pictures()?;
        let tiling = |size: &Size| Ok(Tiling::new(size.checked()?, self.crops));
        self.tilings = sizes.iter().map(tiling).collect::<Result<_>>()?;
        let text = prompt::render(
            &request.with_messages(prompts::as_strings(&request.messages)),
            None,
        )?;
        let features: Vec<u32> = self.tilings.iter().map(|tiling| tiling.features()).collect();
        // The reference has negative ids at pictures; any id will do, since no embedding is read there.
        let pieces = prompts::pieces(&text, &features, tokenizer::find("<unk>").unwrap_or(0))?;
        let tokens = pieces.iter().map(|piece| match piece {
            Piece::Tokens(ids) => ids.len() as u32,
            Piece::Features(slot) => slot.tokens,
        });
        let tokens = tokens.sum();
        let images = self.tilings.iter().map(|tiling| MediumPlan {
            used: tiling.size(),
            pieces: tiling.pictures(),
            tensors: vec![vec![tiling.pictures(), TILE, TILE, 3]],
            layout: vec![tiling.rows, tiling.columns],
            features: tiling.features(),
        });
        Ok(Plan {
            text: prompt::shown(&text).into_owned(),
            pieces,
            media: images.collect(),
            encoder: None,
            positions: PositionScheme::Sequential,
            marks: vec![long_context::mark(tokens, tokens > self.short_context)],
            attention: AttentionScheme::Causal,
            feature_use: FeatureUse::Splice,
            stop_tokens: STOPS.into_iter().filter_map(tokenizer::find).collect(),
            keep_tokens: vec![],
        })
    }

    fn pixels(&mut self, index: usize, image: &Image) -> Result<Vec<Pixels>> {
        let tiling = self.tilings.get(index);
        let tiling = *tiling.context("pixels of a picture that was not planned")?;
        let size = tiling.size();
        let whole = image.resize(size.width, size.height, Filter::Bicubic);
        let corner = |index: u32| (index * TILE) as i32;
        let tiles = (0..tiling.rows).flat_map(|row| (0..tiling.columns).map(move |column| (row, column)));
        let mut views = vec![whole.resize(TILE, TILE, Filter::Bicubic)];
        views.extend(tiles.map(|(row, column)| whole.crop(corner(column), corner(row), TILE, TILE)));
        let views: Vec<&Image> = views.iter().collect();
        Ok(vec![stack(&views, self.normalisation, Layout::ChannelsLast)])
    }
}
