//! Memory: what is expected is what is measured, what cannot fit is refused.

mod big_photo;
mod estimates;
mod limits;

use std::path::Path;

use monocle_runtime::error::RequestError;
use monocle_runtime::report::Report;
use monocle_runtime::request::GenerateOptions;
use monocle_runtime::request::Request;
use monocle_runtime::scheduler::Flow;
use monocle_runtime::scheduler::Scheduler;

/// A manifest for a folder; `more` are further lines.
fn manifest(plugin: &str, folder: &Path, more: &str) -> String {
    format!(
        "schema = 1\nname = \"memory\"\nplugin = \"{plugin}\"\nsource = {{ path = {folder:?} }}\n{more}\n"
    )
}

/// Greedily, so many tokens at most.
fn generate(
    model: &mut Scheduler,
    request: &Request,
    max_tokens: usize,
    prefill_chunk: usize,
) -> Result<Report, RequestError> {
    let options = GenerateOptions {
        max_tokens,
        prefill_chunk,
        ..GenerateOptions::default()
    };
    model.answer(request, &options, &mut |_| Flow::Continue)
}
