//! From what happened to a run to what those who follow it are told.

use domain::run::Event;
use domain::time::Timestamp;
use proto::event::{RunEvent, RunEventKind};
use proto::message::Figures;
use store::RunRecord;

/// The entries of the run's event log that these events make, in order.
pub(crate) fn describe(
    record: &RunRecord,
    events: &[Event],
    container: Option<&str>,
    figures: Option<&Figures>,
    now: Timestamp,
) -> Vec<RunEvent> {
    let cell = |task: u32| {
        let index = usize::try_from(task).unwrap_or(usize::MAX);
        record.cells.get(index).cloned().unwrap_or_default()
    };
    let kinds = events.iter().enumerate().filter_map(|(index, event)| match event {
        Event::RunStarted => Some(RunEventKind::RunStarted),
        Event::RunCompleted => Some(RunEventKind::RunCompleted),
        Event::RunCancelled => Some(RunEventKind::RunCancelled),
        Event::RunTimedOut => Some(RunEventKind::RunTimedOut),
        Event::RunFailed { failure } => Some(RunEventKind::RunFailed { failure: failure.clone() }),
        Event::TaskReady { task, .. } => {
            let attempt = record.run.task(*task).map_or(0, |task| task.attempt);
            Some(RunEventKind::TaskReady { cell: cell(*task), attempt })
        }
        Event::TaskLeased { task, attempt, .. } => {
            Some(RunEventKind::TaskLeased { cell: cell(*task), attempt: *attempt })
        }
        Event::TaskRunning { task, attempt } => Some(RunEventKind::TaskRunning {
            cell: cell(*task),
            attempt: *attempt,
            container: container.unwrap_or_default().chars().take(12).collect(),
        }),
        Event::TaskDone { task, attempt } => Some(RunEventKind::TaskDone {
            cell: cell(*task),
            attempt: *attempt,
            duration_ms: figures.map_or(0, |figures| figures.run_ms),
        }),
        Event::AttemptFailed { task, attempt, failure } => Some(RunEventKind::TaskFailed {
            cell: cell(*task),
            attempt: *attempt,
            failure: failure.clone(),
            will_retry: matches!(events.get(index + 1), Some(Event::TaskReady { .. })),
        }),
        Event::TaskSkipped { task } => Some(RunEventKind::TaskSkipped { cell: cell(*task) }),
        Event::TaskCancelled { task } => Some(RunEventKind::TaskCancelled { cell: cell(*task) }),
        // An offer is not news, and a task's final failure was told with its last attempt.
        Event::TaskDispatched { .. } | Event::TaskFailed { .. } => None,
    });
    kinds.map(|kind| RunEvent { at: now, kind }).collect()
}
