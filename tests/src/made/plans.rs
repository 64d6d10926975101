//! Plans, and the prompts that are made of those that pass the check.

use std::time::{Duration, Instant};

use monocle_runtime::plugin::contract::{
    AttentionScheme, ContextRange, EncoderPlan, FeatureUse, ImagePlan, Mark, Piece, Plan, Positions, Size,
    Slot,
};
use monocle_runtime::request::prompt::Prompt;

use super::Choices;

/// Tokens of prompts that are looked at one by one.
const MOST: usize = 1 << 12;
/// Plans of so few pieces take some milliseconds, those of ranges to the end of all numbers too.
const PATIENCE: Duration = Duration::from_secs(5);

/// Makes a plan and a number of pictures; if the plan passes, its prompt can be cut anywhere that it says it can.
pub fn check(bytes: &[u8]) -> Result<(), String> {
    let mut choices = Choices::new(bytes);
    let images = choices.byte() % 4;
    let plan = plan(&mut choices, images);
    let started = Instant::now();
    if plan.check(images).is_ok() {
        prompt(&plan)?;
    }
    match started.elapsed() {
        long if long > PATIENCE => Err(format!("it took {long:?}")),
        _ => Ok(()),
    }
}

/// What must hold of the prompt of a plan that passed.
pub fn prompt(plan: &Plan) -> Result<(), String> {
    let prompt = Prompt::new(plan);
    if let Some(encoder) = &plan.encoder {
        walk(&Prompt::of_encoder(encoder), 7)?;
    }
    let used: usize = plan.images.iter().map(|image| image.features as usize).sum();
    if plan.encoder.is_none() && plan.feature_use == FeatureUse::Splice && prompt.image_tokens() != used {
        return Err(format!("{used} features at {} tokens", prompt.image_tokens()));
    }
    for size in [1, 5, 64] {
        walk(&prompt, size)?;
    }
    Ok(())
}

/// Cuts a prompt into chunks of about this size: none is empty, and no token sees beyond its own chunk.
fn walk(prompt: &Prompt, size: usize) -> Result<(), String> {
    if prompt.len() > MOST {
        return Ok(());
    }
    let mut start = 0;
    while start < prompt.len() {
        let end = prompt.chunk_end(start, size);
        if end <= start || end > prompt.len() {
            return Err(format!(
                "a chunk from {start} to {end} of {} tokens",
                prompt.len()
            ));
        }
        let range = start..end;
        let has_features = prompt.has_features(&range);
        if has_features == prompt.pictures_of(range.clone()).is_empty() {
            return Err(format!("{range:?} has features of no picture, or none of some"));
        }
        for index in range {
            let visible = prompt.visible(index);
            let (from, to) = (visible.block_start as usize, visible.end as usize);
            if from > index || to <= index || to > end {
                return Err(format!("token {index} sees {from} to {to} in a chunk to {end}"));
            }
            let _ = prompt.marks(index).count();
            for axis in 0..prompt.axes() {
                let _ = prompt.position(index, axis);
            }
        }
        start = end;
    }
    for axis in 0..prompt.axes() {
        let _ = prompt.position(usize::MAX >> 1, axis);
    }
    Ok(())
}

fn plan(choices: &mut Choices<'_>, images: usize) -> Plan {
    let images = match choices.byte() {
        255 => images + 1,
        _ => images,
    };
    let pieces = pieces(choices, images);
    // Mostly what the slots have: nothing else passes.
    let mut features = vec![0_u32; images];
    for piece in &pieces {
        if let Piece::Features(slot) = piece
            && let Some(features) = features.get_mut(slot.image as usize)
        {
            *features = features.saturating_add(slot.tokens);
        }
    }
    let images = features.into_iter().map(|features| image(choices, features));
    let images = images.collect();
    let tokens = count(&pieces);
    Plan {
        text: String::new(),
        images,
        positions: positions(choices, tokens),
        marks: marks(choices, tokens),
        attention: match choices.byte() % 4 {
            0 | 1 => AttentionScheme::Causal,
            2 => AttentionScheme::Prefix(choices.number()),
            _ => AttentionScheme::ImageBlocks,
        },
        feature_use: match choices.byte() % 3 {
            0 | 1 => FeatureUse::Splice,
            _ => FeatureUse::Context(choices.list(6, |choices| ContextRange {
                from_token: choices.number(),
                to_token: choices.number(),
                from_row: choices.number(),
                to_row: choices.number(),
            })),
        },
        encoder: (choices.byte() % 4 == 3).then(|| {
            let pieces = self::pieces(choices, 2);
            let tokens = count(&pieces);
            EncoderPlan {
                pieces,
                positions: positions(choices, tokens),
                marks: marks(choices, tokens),
            }
        }),
        stop_tokens: choices.list(4, Choices::number),
        keep_tokens: choices.list(4, Choices::number),
        pieces,
    }
}

fn pieces(choices: &mut Choices<'_>, images: usize) -> Vec<Piece> {
    let mut next = vec![0_u32; images];
    choices.list(8, |choices| match choices.is() {
        false => Piece::Tokens(choices.list(12, Choices::number)),
        true => {
            let image = choices.byte() % (images + 1);
            let tokens = choices.number();
            let offset = next.get(image).copied().unwrap_or_default();
            if let Some(next) = next.get_mut(image) {
                *next = next.saturating_add(tokens);
            }
            Piece::Features(Slot {
                image: image as u32,
                offset: if choices.byte() == 255 {
                    choices.number()
                } else {
                    offset
                },
                tokens,
                token_id: choices.number(),
            })
        }
    })
}

fn image(choices: &mut Choices<'_>, features: u32) -> ImagePlan {
    ImagePlan {
        used: Size {
            width: choices.number(),
            height: choices.number(),
        },
        tiles: choices.number(),
        pixels: choices.list(3, |choices| choices.list(9, |choices| choices.number() as usize)),
        layout: choices.list(3, Choices::number),
        features: if choices.byte() == 255 {
            choices.number()
        } else {
            features
        },
    }
}

/// Tokens of a prompt, as far as they can be counted out.
fn count(pieces: &[Piece]) -> usize {
    let count = |piece: &Piece| match piece {
        Piece::Tokens(tokens) => tokens.len(),
        Piece::Features(slot) => slot.tokens as usize,
    };
    pieces.iter().map(count).sum::<usize>().min(MOST)
}

fn positions(choices: &mut Choices<'_>, tokens: usize) -> Positions {
    if choices.is() {
        return Positions::Sequential;
    }
    let axes = choices.number() as usize;
    let wrong = usize::from(choices.byte() == 255);
    let value = choices.number() as i32;
    Positions::Explicit {
        axes,
        values: vec![value; axes.min(9) * tokens + wrong],
        next: choices.number() as i32,
    }
}

fn marks(choices: &mut Choices<'_>, tokens: usize) -> Vec<Mark> {
    choices.list(3, |choices| Mark {
        name: choices.of(&["", "kind", "side", "a"]).to_owned(),
        values: vec![1; tokens + usize::from(choices.byte() == 255)],
        generated: choices.number() as i32,
    })
}
