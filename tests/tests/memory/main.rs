//! Memory: what is expected is what is measured, what cannot fit is refused.

mod big_photo;
mod estimates;
mod limits;

use std::path::Path;

use monocle::engine::error::EngineError;
use monocle::engine::generate::{Flow, GenerateOptions};
use monocle::engine::prepare::Request;
use monocle::engine::report::Report;
use monocle::model::Model;

/// A manifest for a folder; `more` are further lines.
fn manifest(plugin: &str, folder: &Path, more: &str) -> String {
    format!(
        "schema = 1\nname = \"memory\"\nplugin = \"{plugin}\"\nsource = {{ path = {folder:?} }}\n{more}\n"
    )
}

/// Greedily, so many tokens at most.
fn generate(
    model: &mut Model,
    request: &Request,
    max_tokens: usize,
    prefill_chunk: usize,
) -> Result<Report, EngineError> {
    let options = GenerateOptions {
        max_tokens,
        sampling: Default::default(),
        stop: Vec::new(),
        prefill_chunk,
        thinking_budget: None,
    };
    model.generate(request, &options, &mut |_| Flow::Continue)
}
