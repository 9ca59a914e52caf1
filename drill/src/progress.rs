//! What is told while a drill goes on: a line per event, and on a terminal one that moves.

use std::fmt::Display;
use std::io::Write;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

const TICK: Duration = Duration::from_millis(200);

#[derive(Clone, Debug)]
pub(crate) struct Progress(ProgressBar);

impl Progress {
    pub(crate) fn new() -> Self {
        let bar = ProgressBar::new_spinner();
        if let Ok(style) = ProgressStyle::with_template("{spinner} {elapsed_precise} {msg}") {
            bar.set_style(style);
        }
        bar.enable_steady_tick(TICK);
        Self(bar)
    }

    /// What goes on now.
    pub(crate) fn now(&self, text: impl Display) {
        self.0.set_message(text.to_string());
    }

    /// A line that stays.
    pub(crate) fn say(&self, text: impl Display) {
        let line = format!("{:>6.1}s  {text}", self.0.elapsed().as_secs_f64());
        if self.0.is_hidden() {
            // That nobody reads it stops nothing.
            let _ = writeln!(std::io::stderr(), "{line}");
        } else {
            self.0.println(line);
        }
    }

    pub(crate) fn end(&self) {
        self.0.finish_and_clear();
    }
}
