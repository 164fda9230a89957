//! The progress bar, on a terminal; elsewhere nothing.

use std::time::Duration;

use dotmsg::runtime::RouteStats;
use indicatif::{ProgressBar, ProgressStyle};

/// How many rows are published, and how many of them this process settled. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Progress {
    bar: ProgressBar,
    before: u64,
}

impl Progress {
    /// A bar on standard error, invisible unless that is a terminal. `before`: rows settled by earlier runs.
    pub(crate) fn new(before: u64) -> Self {
        let bar = ProgressBar::new(before).with_position(before);
        let style = "{bar:40} {human_pos}/{human_len} rows, {per_sec}, {elapsed}";
        bar.set_style(ProgressStyle::with_template(style).expect("the template is right"));
        Self { bar, before }
    }

    /// So many rows are published.
    pub(crate) fn published(&self, rows: u64) {
        self.bar
            .set_length(rows.max(self.bar.length().unwrap_or(0)));
    }

    /// Shows what a route settles, for ever.
    pub(crate) async fn follow(&self, stats: &RouteStats) {
        loop {
            self.bar.set_position(self.before + settled(stats));
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// Takes the bar away, so that the table stands alone.
    pub(crate) fn clear(&self) {
        self.bar.finish_and_clear();
    }
}

/// Messages that a route settled since it started.
pub(crate) fn settled(stats: &RouteStats) -> u64 {
    stats.handled() + stats.dead_lettered()
}
