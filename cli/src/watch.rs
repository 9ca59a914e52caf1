//! Watching a run in a terminal: one live line per cell, tokens as they come.

use std::collections::HashMap;
use std::io::IsTerminal;
use std::time::{Duration, Instant};

use anyhow::Result;
use domain::human;
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use proto::event::{RunEvent, RunEventKind};
use proto::http::RunView;
use serde_json::{Value, json};

use crate::output;

/// What is shown while a run goes on.
#[derive(Debug)]
pub(crate) struct Watch {
    json: bool,
    bars: Option<MultiProgress>,
    cells: HashMap<String, Cell>,
    /// The line of streamed text that is not complete yet.
    tail: Option<ProgressBar>,
    partial: String,
    streamed: bool,
}

#[derive(Debug)]
struct Cell {
    bar: Option<ProgressBar>,
    since: Instant,
    container: String,
}

impl Watch {
    /// A watch that prints JSON lines for machines, or lines for people (live ones on a terminal).
    pub(crate) fn new(json: bool) -> Self {
        let live = !json && std::io::stderr().is_terminal() && std::io::stdout().is_terminal();
        Self {
            json,
            bars: live.then(MultiProgress::new),
            cells: HashMap::new(),
            tail: None,
            partial: String::new(),
            streamed: false,
        }
    }

    /// Shows one event.
    pub(crate) fn event(&mut self, seq: u64, event: &RunEvent) -> Result<(), output::Error> {
        if self.json {
            output::line(json!({"seq": seq, "event": event}))?;
            return Ok(());
        }
        match &event.kind {
            RunEventKind::TaskReady { cell, attempt } if *attempt > 0 => {
                self.cell(cell, &format!("waits for attempt {}", attempt + 1), false)?;
            }
            RunEventKind::TaskReady { cell, .. } => self.cell(cell, "ready", false)?,
            RunEventKind::TaskLeased { cell, .. } => self.cell(cell, "leased", false)?,
            RunEventKind::TaskRunning { cell, container, .. } => {
                if let Some(known) = self.cells.get_mut(cell) {
                    known.container = container.chars().take(12).collect();
                    known.since = Instant::now();
                }
                self.cell(cell, "running", false)?;
            }
            RunEventKind::TaskDone { cell, duration_ms, .. } => {
                self.cell(cell, &format!("done in {duration_ms} ms"), true)?;
            }
            RunEventKind::TaskFailed { cell, failure, will_retry, .. } => {
                let message = failure.message.split_whitespace().collect::<Vec<_>>().join(" ");
                let note = format!("failed ({}): {message}", failure.kind.code());
                self.cell(cell, &note, !will_retry)?;
            }
            RunEventKind::TaskPaused { cell, request, .. } => {
                self.cell(cell, "waits for a person", false)?;
                self.question(request);
            }
            RunEventKind::TaskSkipped { cell } => self.cell(cell, "skipped", true)?,
            RunEventKind::TaskCancelled { cell } => self.cell(cell, "cancelled", true)?,
            RunEventKind::RunReplanned { replaced, planned } => {
                self.note(&format!(
                    "  planned anew: {} become {}",
                    replaced.join(", "),
                    planned.join(", ")
                ));
            }
            RunEventKind::RunPaused => self.note("  paused: `flowcell unpause` lets it go on"),
            RunEventKind::Langflow { event, data, .. } if event == "token" => {
                self.token(data.get("chunk").and_then(Value::as_str).unwrap_or_default())?;
            }
            RunEventKind::Log { cell, text, .. } => {
                for line in text.lines() {
                    self.note(&format!("  {cell} | {line}"));
                }
            }
            RunEventKind::Langflow { .. }
            | RunEventKind::RunStarted
            | RunEventKind::RunSuspended
            | RunEventKind::RunUnpaused
            | RunEventKind::RunResumed
            | RunEventKind::RunCompleted
            | RunEventKind::RunFailed { .. }
            | RunEventKind::RunCancelled
            | RunEventKind::RunTimedOut => {}
        }
        Ok(())
    }

    fn question(&self, request: &Value) {
        let prompt = request.get("prompt").and_then(Value::as_str).unwrap_or_default();
        for line in prompt.lines() {
            self.note(&format!("  > {line}"));
        }
        let options = human::allowed(request).join(" | ");
        self.note(&format!("  > {options}"));
    }

    /// Prints a line beside the live ones.
    pub(crate) fn note(&self, line: &str) {
        match &self.bars {
            // A failed write to a terminal that is gone is no reason to end.
            Some(bars) => drop(bars.println(line)),
            None => output::note(line),
        }
    }

    /// Shows how the run ended.
    pub(crate) fn end(&mut self, view: &RunView) -> Result<()> {
        self.flush_text()?;
        if let Some(bars) = &self.bars {
            for cell in self.cells.values() {
                if let Some(bar) = &cell.bar {
                    bar.abandon();
                }
            }
            if let Some(tail) = self.tail.take() {
                tail.finish_and_clear();
            }
            bars.set_move_cursor(false);
        }
        if self.json {
            output::line(serde_json::to_string(view)?)?;
            return Ok(());
        }
        if let Some(failure) = &view.failure {
            let component = failure.node.as_deref().unwrap_or("-");
            output::note(format_args!(
                "run {} {} at {component}:\n{}",
                view.id, view.state, failure.message
            ));
            if let Some(hint) = &failure.hint {
                output::note(format_args!("{hint}"));
            }
            return Ok(());
        }
        let answer = view.result.as_ref().and_then(answer);
        if !self.streamed
            && let Some(answer) = answer
        {
            output::line(answer)?;
        }
        if view.state != "completed" {
            output::note(format_args!("run {} {}", view.id, view.state));
        }
        Ok(())
    }

    fn cell(&mut self, name: &str, state: &str, ended: bool) -> Result<(), output::Error> {
        let bars = self.bars.clone();
        let cell = self.cells.entry(name.to_owned()).or_insert_with(|| Cell {
            bar: bars.map(|bars| {
                let bar = bars.add(ProgressBar::new_spinner().with_style(style()));
                bar.set_prefix(name.to_owned());
                bar.enable_steady_tick(Duration::from_millis(120));
                bar
            }),
            since: Instant::now(),
            container: String::new(),
        });
        let container = if cell.container.is_empty() {
            String::new()
        } else {
            format!("  [container {}]", cell.container)
        };
        match &cell.bar {
            Some(bar) => {
                bar.set_message(format!("{state}{container}"));
                if ended {
                    bar.disable_steady_tick();
                    bar.abandon();
                }
            }
            None if state == "ready" || state == "leased" => {}
            None => {
                // Tokens and states share a terminal or a log: a state begins its own line.
                if self.streamed && !self.partial.ends_with('\n') {
                    output::line("")?;
                    self.partial = "\n".to_owned();
                }
                output::note(format_args!("  {name:<32} {state}{container}"));
            }
        }
        Ok(())
    }

    fn token(&mut self, chunk: &str) -> Result<(), output::Error> {
        self.streamed = true;
        let Some(bars) = &self.bars else {
            output::piece(chunk)?;
            self.partial = chunk.to_owned();
            return Ok(());
        };
        self.partial.push_str(chunk);
        while let Some((line, rest)) = self.partial.split_once('\n') {
            drop(bars.println(line));
            self.partial = rest.to_owned();
        }
        let tail = self.tail.get_or_insert_with(|| {
            let plain = ProgressStyle::with_template("{wide_msg}");
            let bar = ProgressBar::new_spinner();
            bars.insert(
                0,
                bar.with_style(plain.unwrap_or_else(|_| ProgressStyle::default_spinner())),
            )
        });
        // Only the end of a long line fits; the whole line is printed once it is complete.
        let width = usize::from(console_width());
        let chars: Vec<char> = self.partial.chars().collect();
        let from = chars.len().saturating_sub(width.saturating_sub(1));
        tail.set_message(chars.into_iter().skip(from).collect::<String>());
        Ok(())
    }

    fn flush_text(&mut self) -> Result<(), output::Error> {
        if !self.streamed {
            return Ok(());
        }
        match &self.bars {
            Some(bars) => {
                if let Some(tail) = self.tail.take() {
                    tail.finish_and_clear();
                }
                drop(bars.println(&self.partial));
            }
            None if !self.partial.ends_with('\n') => output::line("")?,
            None => {}
        }
        self.partial.clear();
        Ok(())
    }
}

fn console_width() -> u16 {
    console::Term::stdout().size().1
}

fn style() -> ProgressStyle {
    ProgressStyle::with_template("{spinner} {prefix:<32} {elapsed:>4} {msg}")
        .unwrap_or_else(|_| ProgressStyle::default_spinner())
}

/// The text that SDKs read: the first output's message.
fn answer(result: &Value) -> Option<&str> {
    result.pointer("/outputs/0/outputs/0/results/message/text")?.as_str().or_else(|| {
        result.pointer("/outputs/0/outputs/0/outputs/message/message").and_then(Value::as_str)
    })
}
