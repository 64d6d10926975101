//! Where the fault of an error lies.

use monocle_image::ImageError;
use monocle_runtime::error::RequestError;
use monocle_runtime::model::error::ModelError;
use monocle_runtime::plugin::error::{Fault, PluginError};
use monocle_survey::failure::Place;
use monocle_tensor::backend::BackendError;

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
            | ModelError::NoFolder { .. }
            | ModelError::File { .. }
            | ModelError::NoFile { .. } => Place::Manifest,
            ModelError::NotInTheCache { .. }
            | ModelError::NoModelType { .. }
            | ModelError::Hub(_)
            | ModelError::Weights(_) => Place::Weights,
            ModelError::Tokenizer(_) | ModelError::Template(_) => Place::Tokenizer,
            ModelError::Backend(error) => of_the_engine(error),
        };
    }
    if let Some(error) = causes().find_map(|cause| cause.downcast_ref::<RequestError>()) {
        return match error {
            RequestError::Image { .. }
            | RequestError::TooManyPixels { .. }
            | RequestError::TooManyImages { .. } => Place::Picture,
            RequestError::TooLarge { .. } | RequestError::PromptTooLong { .. } => Place::Memory,
            RequestError::WaitedTooLong { .. } | RequestError::TooLate { .. } => Place::Timeout,
            RequestError::Plugin(PluginError::Call {
                fault: Fault::Late, ..
            }) => Place::Timeout,
            RequestError::Plugin(_) => Place::Plugin,
            RequestError::Tokenizer(_) => Place::Tokenizer,
            RequestError::Backend(error) => of_the_engine(error),
            RequestError::Sampling(_) | RequestError::Constraint(_) => Place::Host,
        };
    }
    if let Some(error) = causes().find_map(|cause| cause.downcast_ref::<BackendError>()) {
        return of_the_engine(error);
    }
    match causes().any(|cause| cause.is::<ImageError>()) {
        true => Place::Picture,
        false => Place::Host,
    }
}

/// Engines do what plugins' programs say with weights of files: not all that ends their work is their fault.
fn of_the_engine(error: &BackendError) -> Place {
    match error {
        BackendError::Weight { .. } | BackendError::FileLost { .. } => Place::Weights,
        // What a program takes rows by, and is not there.
        BackendError::Value { .. } => Place::Plugin,
        BackendError::Memory { .. } => Place::Memory,
        BackendError::Stopped => Place::Timeout,
        BackendError::Input(_) | BackendError::Sequence(_) | BackendError::Device { .. } => Place::Host,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_ends_an_engines_work_lies_where_it_came_from() {
        let full = || BackendError::Memory {
            wanted: 1,
            in_use: 1,
            limit: Some(1),
        };
        let lost = BackendError::FileLost { path: "x".into() };
        let row = BackendError::Value {
            index: 0,
            operation: "take-rows",
            reason: "row 9 of 3".to_owned(),
        };
        let found = [
            full(),
            lost,
            row,
            BackendError::Stopped,
            BackendError::Sequence("x".to_owned()),
        ]
        .map(|error| place(&RequestError::Backend(error).into()));
        let expected = [
            Place::Memory,
            Place::Weights,
            Place::Plugin,
            Place::Timeout,
            Place::Host,
        ];
        assert_eq!(found, expected);
        assert_eq!(place(&ModelError::Backend(full()).into()), Place::Memory);
        assert_eq!(
            place(&anyhow::Error::from(full()).context("loading")),
            Place::Memory
        );
    }
}
