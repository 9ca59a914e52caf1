//! From what happened to a run to what those who follow it are told.

use std::collections::BTreeMap;

use domain::run::Event;
use domain::time::Timestamp;
use proto::event::{RunEvent, RunEventKind};
use proto::message::Figures;
use store::{Asked, RunRecord};

/// What is known of the attempt that the events are about.
#[derive(Default)]
pub(crate) struct Known<'a> {
    pub(crate) container: Option<&'a str>,
    pub(crate) figures: Option<&'a Figures>,
    pub(crate) asked: Option<&'a Asked>,
}

/// The entries of the run's event log that these events make, in order.
pub(crate) fn describe(
    record: &RunRecord,
    events: &[Event],
    known: &Known<'_>,
    now: Timestamp,
) -> Vec<RunEvent> {
    let new = new_cells(events);
    let cell = |task: u32| {
        let index = usize::try_from(task).unwrap_or(usize::MAX);
        let known = record.cells.get(index).or_else(|| new.get(&task).copied());
        known.cloned().unwrap_or_default()
    };
    let kinds = events.iter().enumerate().filter_map(|(index, event)| match event {
        // One that was paused starts again.
        Event::RunStarted => record.started.is_none().then_some(RunEventKind::RunStarted),
        Event::RunSuspended { .. } => Some(RunEventKind::RunSuspended),
        Event::RunResumed { .. } => Some(RunEventKind::RunResumed),
        Event::RunPaused { .. } => Some(RunEventKind::RunPaused),
        Event::RunUnpaused { .. } => Some(RunEventKind::RunUnpaused),
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
            container: known.container.unwrap_or_default().chars().take(12).collect(),
        }),
        Event::TaskDone { task, attempt } => Some(RunEventKind::TaskDone {
            cell: cell(*task),
            attempt: *attempt,
            duration_ms: known.figures.map_or(0, |figures| figures.run_ms),
        }),
        Event::TaskPaused { task, attempt } => Some(RunEventKind::TaskPaused {
            cell: cell(*task),
            attempt: *attempt,
            request: known.asked.map(|asked| asked.request.clone()).unwrap_or_default(),
        }),
        Event::AttemptFailed { task, attempt, failure } => Some(RunEventKind::TaskFailed {
            cell: cell(*task),
            attempt: *attempt,
            failure: failure.clone(),
            will_retry: matches!(
                events.get(index + 1),
                Some(Event::TaskReady { .. } | Event::Replanned { .. })
            ),
        }),
        Event::Replanned { replaced, .. } => Some(RunEventKind::RunReplanned {
            replaced: replaced.iter().map(|task| cell(*task)).collect(),
            planned: new
                .iter()
                .filter(|(task, _)| record.run.task(**task).is_none())
                .map(|(_, id)| (*id).clone())
                .collect(),
        }),
        Event::TaskSkipped { task } => Some(RunEventKind::TaskSkipped { cell: cell(*task) }),
        Event::TaskCancelled { task } => Some(RunEventKind::TaskCancelled { cell: cell(*task) }),
        // An offer is not news, and a task's final failure was told with its last attempt. What a
        // pause holds is told with the pause.
        Event::TaskDispatched { .. } | Event::TaskFailed { .. } | Event::TaskHeld { .. } => None,
    });
    kinds.map(|kind| RunEvent { at: now, kind }).collect()
}

/// The ids of cells that another plan brought.
fn new_cells(events: &[Event]) -> BTreeMap<u32, &String> {
    let planned = events.iter().filter_map(|event| match event {
        Event::Replanned { planned, .. } => Some(planned),
        _ => None,
    });
    planned.flatten().map(|task| (task.task, &task.cell)).collect()
}
