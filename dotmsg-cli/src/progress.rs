//! A bar while something long is done, on a terminal only.

use std::sync::Arc;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::console::Console;

/// How much of it is through; nothing is shown where nobody watches.
#[derive(Clone, Debug)]
pub(crate) struct Progress(Arc<ProgressBar>);

impl Progress {
    /// Shows that nothing of `total` is through.
    pub(crate) fn begin(console: &Console, json: bool, what: &'static str, total: u64) -> Self {
        let target = match console.watched && !json {
            true => ProgressDrawTarget::stderr(),
            false => ProgressDrawTarget::hidden(),
        };
        let bar = ProgressBar::with_draw_target(Some(total), target).with_message(what);
        let style = ProgressStyle::with_template("{msg} [{bar:40}] {pos}/{len} {eta}");
        Self(Arc::new(match style {
            Ok(style) => bar.with_style(style.progress_chars("=> ")),
            Err(_) => bar,
        }))
    }

    /// One more is through.
    pub(crate) fn step(&self) {
        self.0.inc(1);
    }

    /// Takes it away.
    pub(crate) fn end(&self) {
        self.0.finish_and_clear();
    }
}
