//! Where the fault of an error lies.

use monocle_image::ImageError;
use monocle_runtime::error::RequestError;
use monocle_runtime::model::error::ModelError;
use monocle_survey::failure::Place;

/// The place; the host's own where nothing is known.
pub fn place(error: &anyhow::Error) -> Place {
    let causes = || error.chain();
    if let Some(error) = causes().find_map(|cause| cause.downcast_ref::<ModelError>()) {
        return match error {
            ModelError::NoPlugin { .. } | ModelError::Plugin(_) | ModelError::WrongKind { .. } => {
                Place::Plugin
            }
            ModelError::Unknown { .. }
            | ModelError::Address { .. }
            | ModelError::Manifest(_)
            | ModelError::NoFolder { .. } => Place::Manifest,
            ModelError::NotInTheCache { .. }
            | ModelError::RemovesAll { .. }
            | ModelError::NoModelType { .. }
            | ModelError::Hub(_)
            | ModelError::Weights(_) => Place::Weights,
            ModelError::Tokenizer(_) | ModelError::Template(_) => Place::Tokenizer,
            ModelError::Backend(_) => Place::Host,
        };
    }
    if let Some(error) = causes().find_map(|cause| cause.downcast_ref::<RequestError>()) {
        return match error {
            RequestError::Image { .. }
            | RequestError::TooManyPixels { .. }
            | RequestError::TooManyImages { .. } => Place::Picture,
            RequestError::TooLarge { .. } | RequestError::PromptTooLong { .. } => Place::Memory,
            RequestError::WaitedTooLong { .. } | RequestError::TooLate { .. } => Place::Timeout,
            RequestError::Plugin(_) => Place::Plugin,
            RequestError::Tokenizer(_) => Place::Tokenizer,
            RequestError::Backend(_) | RequestError::Sampling(_) | RequestError::Constraint(_) => Place::Host,
        };
    }
    match causes().any(|cause| cause.is::<ImageError>()) {
        true => Place::Picture,
        false => Place::Host,
    }
}
