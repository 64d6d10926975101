//! Deeds in the processor.

use monocle_plugin::{
    AttentionScheme, ContextRange, EncoderPlan, ExplicitPositions, FeatureUse, Mark, Piece, PositionScheme,
    RenderOptions, Slot, prelude::*, prompt,
};

use crate::{be_told, deed, told};

/// Side of the only tile.
const SIDE: u32 = 8;
/// A picture so long, and one pixel wide, has few pixels, and takes long lists to resize.
const THIN: u32 = 1 << 27;
/// A width and a height whose product, of three bytes each, is 2^64 and 26, which wraps to 26.
const WRAPS: [u32; 2] = [2_007_567_422, 3_062_868_337];
/// Features of a picture.
const FEATURES: u32 = 4;
/// A prompt has chunks of so many sizes.
pub const SIZES: u32 = 14;
/// Features between them, as many as a chunk has tokens.
pub const BLOCK: u32 = 512;

pub struct HostileProcessor;

impl Processor for HostileProcessor {
    type Picture = ();

    fn configure(files: &ModelFiles) -> Result<Self> {
        be_told(files)?;
        match deed("configure") {
            "refuse" => Err(Error::new("I was told to refuse")),
            "tokens without end" => {
                let tokens = (0..50_000).map(|number| format!("<{number:>250}>"));
                tokenizer::add(&tokens.collect::<Vec<_>>(), true);
                Ok(Self)
            }
            _ => Ok(Self),
        }
    }

    fn picture(&self, _size: Size) -> Result<()> {
        Ok(())
    }

    fn plan(&self, request: &Request, sizes: &[()]) -> Result<Plan> {
        let deed = deed("plan");
        if deed == "variables without end" {
            let variables = format!("{{\"x\": [{}0]}}", "0,".repeat(1 << 20));
            let options = RenderOptions {
                variables,
                fallback: None,
            };
            prompt::render_with(request, &options)?;
        }
        let slot = |image| Slot {
            medium: image,
            offset: 0,
            tokens: FEATURES,
            token_id: 0,
        };
        let mut pieces = vec![Piece::Tokens(tokenizer::encode("Describe the image"))];
        pieces.extend((0..sizes.len() as u32).map(|image| Piece::Features(slot(image))));
        let picture = MediumPlan {
            used: Size::square(SIDE),
            pieces: 1,
            tensors: vec![vec![1, SIDE, SIDE, 3]],
            layout: vec![],
            features: FEATURES,
        };
        let mut plan = Plan::new("Describe the image", pieces, vec![picture; sizes.len()]);
        let everything = ContextRange {
            from_token: 0,
            to_token: u32::MAX,
            from_row: 0,
            to_row: FEATURES,
        };
        let explicit = |axes, values| {
            PositionScheme::Explicit(ExplicitPositions {
                axes,
                values,
                next: i32::MAX,
            })
        };
        let mark = |name: &str, tokens| Mark {
            name: name.to_owned(),
            values: vec![1; tokens],
            generated: 0,
        };
        let encoder = |pieces| EncoderPlan {
            pieces,
            positions: PositionScheme::Sequential,
            marks: vec![],
        };
        if told("encode-prompt") {
            // The picture goes to the encoder, with two tokens.
            let words = Piece::Tokens(vec![1, 2]);
            plan.encoder = Some(encoder(vec![plan.pieces.remove(1), words]));
        }
        let mut alone = |slot: Slot| plan.pieces[1] = Piece::Features(slot);
        match deed {
            "refuse" => return Err(Error::new("I was told to refuse")),
            "slots that disagree with features" => alone(Slot {
                tokens: FEATURES - 1,
                ..slot(0)
            }),
            "slots out of order" => alone(Slot { offset: 1, ..slot(0) }),
            "a slot of no picture" => alone(slot(7)),
            "a slot of nothing" => plan.pieces.push(Piece::Features(Slot {
                tokens: 0,
                offset: FEATURES,
                ..slot(0)
            })),
            "a huge slot" => {
                alone(Slot {
                    tokens: u32::MAX,
                    ..slot(0)
                });
                plan.media[0].features = u32::MAX;
            }
            // Each chunk of the prompt has another size: as many programs.
            "constants for each size" => {
                plan.attention = AttentionScheme::MediumBlocks;
                plan.pieces.clear();
                for size in 1..=SIZES {
                    plan.pieces.push(Piece::Tokens(vec![1; size as usize]));
                    plan.pieces.push(Piece::Features(Slot {
                        tokens: BLOCK,
                        offset: (size - 1) * BLOCK,
                        ..slot(0)
                    }));
                }
                plan.pieces.push(Piece::Tokens(vec![1]));
                plan.media[0].features = SIZES * BLOCK;
            }
            "slots without end" => {
                let many = 0..300_000;
                plan.media[0].features = many.end;
                plan.pieces = many
                    .map(|offset| {
                        Piece::Features(Slot {
                            tokens: 1,
                            offset,
                            ..slot(0)
                        })
                    })
                    .collect();
            }
            "a prompt for days" => {
                plan.pieces = vec![Piece::Tokens(vec![1; 3_000_000])];
                plan.media[0].features = 0;
            }
            "no tokens" => plan.pieces = vec![],
            "no pictures" => plan.media = vec![],
            "a token that is none" => plan.pieces.push(Piece::Tokens(vec![u32::MAX])),
            "huge pixels" => plan.media[0].tensors = vec![vec![u32::MAX; 4]],
            "pixels without end" => plan.media[0].tensors = vec![vec![]; 300_000],
            "other pixels" => plan.media[0].tensors = vec![vec![1, SIDE, 2 * SIDE, 3]],
            "too few positions" => plan.positions = explicit(3, vec![0; 5]),
            "positions at the end" => plan.positions = explicit(1, vec![i32::MAX; tokens(&plan)]),
            "a mark for some tokens" => plan.marks = vec![mark("kind", 1)],
            "two marks of one name" => plan.marks = vec![mark("kind", tokens(&plan)); 2],
            "a mark without a name" => plan.marks = vec![mark("", tokens(&plan))],
            "marks without end" => {
                let names = (0..17).map(|number| number.to_string());
                plan.marks = names.map(|name| mark(&name, tokens(&plan))).collect();
            }
            "a prefix beyond the prompt" => plan.attention = AttentionScheme::Prefix(1000),
            "an empty prompt for an encoder" => plan.encoder = Some(encoder(vec![])),
            "slots for both" => plan.encoder = Some(encoder(vec![Piece::Features(slot(0))])),
            "context that is not there" => {
                plan.pieces.truncate(1);
                plan.feature_use = FeatureUse::Context(vec![ContextRange {
                    to_row: FEATURES + 1,
                    ..everything
                }]);
            }
            "context ranges without end" => {
                plan.pieces.truncate(1);
                plan.feature_use = FeatureUse::Context(vec![everything; 1_000_000]);
            }
            _ => {}
        }
        Ok(plan)
    }

    fn pixels(&self, _picture: &(), image: &Image) -> Result<Vec<Pixels>> {
        let deed = deed("pixels");
        let small = image.resize(SIDE, SIDE, Filter::Bilinear);
        let stack = |images: &[&Image]| stack(images, Normalisation::half(), Layout::ChannelsLast);
        let pixels = stack(&[&small]);
        match deed {
            "refuse" => return Err(Error::new("I was told to refuse")),
            "another shape" => {
                return Ok(vec![stack(&[&small.resize(SIDE, 2 * SIDE, Filter::Bilinear)])]);
            }
            "two for one" => return Ok(vec![pixels, stack(&[&small])]),
            "none" => return Ok(vec![]),
            "the same twice" => {
                // SAFETY: a second owner of one handle; the host must notice.
                let again = unsafe { Pixels::from_handle(pixels.handle()) };
                return Ok(vec![pixels, again]);
            }
            "of a dropped picture" => {
                // SAFETY: the handle is dead after the first owner is dropped; the host must notice.
                let ghost = unsafe { Image::from_handle(small.handle()) };
                drop(small);
                return Ok(vec![self::stack(
                    &[&ghost],
                    Normalisation::half(),
                    Layout::ChannelsLast,
                )]);
            }
            "a picture of no size" => drop(small.resize(0, 5, Filter::Bilinear)),
            "a huge picture" => drop(small.resize(u32::MAX, u32::MAX, Filter::Nearest)),
            "a picture whose bytes wrap" => drop(small.resize(WRAPS[0], WRAPS[1], Filter::Nearest)),
            "a huge border" => drop(small.pad(u32::MAX, u32::MAX, u32::MAX, u32::MAX, 0, 0, 0)),
            "a far corner" => {
                let corner = small.crop(i32::MAX, i32::MIN, SIDE, SIDE);
                return Ok(vec![stack(&[&corner])]);
            }
            "a stack of nothing" => drop(stack(&[])),
            "a stack of two sizes" => drop(stack(&[&small, &small.crop(0, 0, 2, 2)])),
            "a thin picture" => {
                let wide = small.crop(0, 0, 1, 1).resize(THIN, 1, Filter::Nearest);
                drop(wide.resize(1, THIN, Filter::Lanczos));
            }
            "pictures without end" => {
                let mut kept = vec![];
                loop {
                    kept.push(small.crop(0, 0, 1, 1));
                }
            }
            "pixels without end" => {
                let mut kept = vec![];
                loop {
                    kept.push(stack(&[&small]));
                }
            }
            _ => {}
        }
        Ok(vec![pixels])
    }

    fn output(&mut self, text: &str, _last: bool) -> String {
        match deed("output") {
            "a flood of text" => "x".repeat(12 << 20),
            _ => text.to_owned(),
        }
    }
}

fn tokens(plan: &Plan) -> usize {
    let count = |piece: &Piece| match piece {
        Piece::Tokens(tokens) => tokens.len(),
        Piece::Features(slot) => slot.tokens as usize,
    };
    plan.pieces.iter().map(count).sum()
}
