//! How long a request's prompt would be, without decoding its pictures: their headers tell their sizes.

use std::time::Instant;

use serde::Serialize;

use super::pictures::{self, PictureInput};
use super::{Request, prompt::Prompt};
use crate::error::RequestError;
use crate::model::Model;
use crate::plugin::contract::{PlanRequest, Size};
use crate::scheduler::terms::Terms;

/// See the module.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct PromptCount {
    /// Tokens in all, those of an encoder's prompt with them.
    pub tokens: usize,
    /// Those of them that hold picture features.
    pub image_tokens: usize,
}

/// Counts the tokens of a request's prompt. Nothing of it is recorded or computed, and a prompt that is too long is counted, too.
pub fn count(model: &Model, request: &Request) -> Result<PromptCount, RequestError> {
    let sizes = request.pictures.iter().map(|input| size(model, input));
    let (mut processor, _services) = model.processor_instance(Terms::from(Instant::now()).deadline())?;
    let plan = processor.plan(&PlanRequest {
        messages: request.messages.clone(),
        pictures: sizes.collect::<Result<_, _>>()?,
        tools: request.tools.clone(),
        variables: request.variables.clone(),
    })?;
    let prompt = Prompt::new(&plan);
    let encoder = plan.encoder.as_ref().map(Prompt::of_encoder);
    Ok(PromptCount {
        tokens: prompt.len() + encoder.as_ref().map_or(0, Prompt::len),
        image_tokens: encoder.as_ref().unwrap_or(&prompt).image_tokens(),
    })
}

/// The size that a picture would have for the plugin.
fn size(model: &Model, input: &PictureInput) -> Result<Size, RequestError> {
    let cap = model.settings.pixel_cap;
    let options = &model.settings.decode;
    let found = match input {
        PictureInput::Capped { of, .. } => in_header(of),
        other => in_header(other),
    };
    let bounded =
        |(width, height): &(u32, u32)| u64::from(*width) * u64::from(*height) <= options.limits.max_pixels;
    let Some((width, height)) = found.filter(bounded) else {
        // A kind whose header is not read alone; or too large, which the decoder says best.
        let opened = pictures::open(input, options, cap)?;
        return Ok(Size {
            width: opened.picture.width(),
            height: opened.picture.height(),
        });
    };
    pictures::capped(input, Size { width, height }, cap)
}

fn in_header(input: &PictureInput) -> Option<(u32, u32)> {
    match input {
        PictureInput::Bytes { bytes, .. } => monocle_image::size(bytes),
        _ => None,
    }
}
