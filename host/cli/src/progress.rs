//! Progress bars on standard error, for work that takes long.

use indicatif::{ProgressBar, ProgressStyle};
use monocle_weights::hub::Progress;

/// A download's bar; it appears with the first byte.
pub struct DownloadBar {
    quiet: bool,
    bar: Option<ProgressBar>,
}

impl DownloadBar {
    /// `quiet`: no bar ever.
    pub fn new(quiet: bool) -> Self {
        Self { quiet, bar: None }
    }

    /// How far it is.
    pub fn update(&mut self, progress: &Progress) {
        if self.quiet {
            return;
        }
        let bar = self.bar.get_or_insert_with(|| bytes_bar("fetching"));
        bar.set_prefix(if progress.is_check { "checking" } else { "fetching" });
        bar.set_length(progress.total);
        bar.set_position(progress.bytes);
        bar.set_message(progress.file.clone());
    }

    /// Takes the bar away.
    pub fn finish(self) {
        if let Some(bar) = self.bar {
            bar.finish_and_clear();
        }
    }
}

/// The bar of weights going to the engine.
pub struct LoadBar {
    quiet: bool,
    bar: Option<ProgressBar>,
}

impl LoadBar {
    /// `quiet`: no bar ever.
    pub fn new(quiet: bool) -> Self {
        Self { quiet, bar: None }
    }

    /// How far it is.
    pub fn update(&mut self, done: usize, total: usize) {
        // Small models are there before a bar could be read.
        if self.quiet || total < 64 << 20 {
            return;
        }
        let bar = self.bar.get_or_insert_with(|| bytes_bar("loading"));
        bar.set_length(total as u64);
        bar.set_position(done as u64);
    }

    /// Takes the bar away.
    pub fn finish(self) {
        if let Some(bar) = self.bar {
            bar.finish_and_clear();
        }
    }
}

pub fn bytes_bar(what: &'static str) -> ProgressBar {
    let style =
        ProgressStyle::with_template("{prefix} {bar:30} {bytes}/{total_bytes} {bytes_per_sec} {wide_msg}")
            .expect("the template is valid");
    ProgressBar::new(0).with_style(style).with_prefix(what)
}
