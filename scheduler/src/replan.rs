//! An output that proves to be live although its type travels: the run goes on under a plan in
//! which the cells that need the value are one with the cell that makes it, and the next runs of
//! the tenant's components with the same code are planned so from the start.
//!
//! The value ended with its container, so its cell runs once more. What was done before stays done.

use std::collections::{BTreeMap, BTreeSet};

use domain::admission::FlowSettings;
use domain::failure::{Failure, FailureKind};
use domain::flow::Graph;
use domain::plan::{Cell, OutputRef, Plan, Revision};
use domain::run::{Outcome, PlannedTask, TaskState};
use domain::selection::to_run;
use domain::terms::{TaskTerms, Terms};
use proto::frame::{CellResult, LiveValue};
use proto::message::AttemptRef;
use proto::run::RunRequest;
use serde_json::Value;
use store::{LiveOutput, RunRecord};

use crate::attempts::Report;
use crate::catalog::isolation;
use crate::engine::Engine;
use crate::error::Error;
use crate::flow;

/// How a run goes on.
pub(crate) struct Replan {
    pub(crate) outcome: Outcome,
    /// The plan from here on; `None` where none helps.
    pub(crate) plan: Option<Value>,
    pub(crate) learned: Vec<Learned>,
    /// On which terms the new tasks run.
    pub(crate) terms: BTreeMap<u32, TaskTerms>,
}

/// What to remember of an output.
#[derive(Debug)]
pub(crate) struct Learned {
    output: LiveOutput,
    value_type: String,
}

/// The values of a result that other cells need and cannot have. Never empty.
pub(crate) struct Stuck(Vec<LiveValue>);

impl Stuck {
    /// What to say where no other plan helps.
    pub(crate) fn failure(&self) -> Failure {
        let Some(live) = self.0.first() else {
            return Failure::new(FailureKind::Internal, "a value cannot leave its container");
        };
        let message = format!(
            "output {} gives a {}, which cannot leave its container; its type does not say so",
            live.output, live.value_type
        );
        let kind = FailureKind::ValueNotPortable { value_type: live.value_type.clone() };
        Failure::new(kind, message).at(live.node.clone())
    }

    fn outputs(&self) -> impl Iterator<Item = OutputRef> {
        let output =
            |live: &LiveValue| OutputRef { node: live.node.clone(), output: live.output.clone() };
        self.0.iter().map(output)
    }
}

/// The live values of a task's result that other cells need.
pub(crate) fn needed(plan: &Plan, task: u32, result: &CellResult) -> Option<Stuck> {
    let is_needed = |live: &&LiveValue| {
        let mut inputs = plan.cells.iter().flat_map(|cell| &cell.inputs);
        inputs.any(|input| {
            input.cell == task && input.node == live.node && input.output == live.output
        })
    };
    let stuck: Vec<LiveValue> = result.live.iter().filter(is_needed).cloned().collect();
    (!stuck.is_empty()).then_some(Stuck(stuck))
}

/// How the run goes on although these values cannot leave: under a plan where they need not, or
/// not at all.
pub(crate) fn around(
    graph: &Graph,
    plan: &Plan,
    record: &RunRecord,
    task: u32,
    stuck: &Stuck,
    settings: &FlowSettings,
) -> Result<Replan, Error> {
    let learned = stuck.0.iter().filter_map(|live| learned_of(graph, live)).collect();
    let failure = stuck.failure();
    let Some(revision) = revision(graph, plan, record, task, stuck)? else {
        let (outcome, terms) = (Outcome::Failed(failure), BTreeMap::new());
        return Ok(Replan { outcome, plan: None, learned, terms });
    };
    let request: RunRequest = serde_json::from_value(record.request.clone())?;
    let wanted = to_run(graph, flow::scope(&request));
    let wanted: BTreeSet<u32> = revision.plan.cells_for(&wanted).into_iter().collect();
    let planned = planned(record, &revision);
    let is_unwanted = |task: &u32| record.run.task(*task).is_none() && !wanted.contains(task);
    let skip = planned.iter().map(|planned| planned.task).filter(is_unwanted).collect();
    let retry = &record.run.retry;
    let of = Terms { graph, settings, retry };
    let new = revision.plan.cells.iter().filter(|cell| record.run.task(cell.index).is_none());
    let terms = new.map(|cell| (cell.index, of.of_cell_anyhow(cell))).collect();
    let plan = Some(serde_json::to_value(&revision.plan)?);
    let outcome = Outcome::Replanned { failure, replaced: revision.replaced, planned, skip };
    Ok(Replan { outcome, plan, learned, terms })
}

/// The plan under which these values need not leave. `None` where it would do again what is done:
/// the cell that made the value has its copies in others. Each new plan has one live output more,
/// so there is an end to them.
fn revision(
    graph: &Graph,
    plan: &Plan,
    record: &RunRecord,
    task: u32,
    stuck: &Stuck,
) -> Result<Option<Revision>, Error> {
    let mut live = plan.observed();
    live.extend(stuck.outputs());
    let Ok(learned) = Plan::isolated(graph, isolation(record)?, &live) else { return Ok(None) };
    let revision = plan.revised(learned);
    let is_done = |task: &u32| record.run.task(*task).is_some_and(|t| t.state == TaskState::Done);
    let fits = revision.replaced.contains(&task) && !revision.replaced.iter().any(is_done);
    Ok(fits.then_some(revision))
}

/// The tasks that are new, and those that need other ones than before.
fn planned(record: &RunRecord, revision: &Revision) -> Vec<PlannedTask> {
    let is_changed = |cell: &&Cell| {
        let task = record.run.task(cell.index);
        !cell.is_replaced() && task.is_none_or(|task| task.depends_on != cell.depends_on)
    };
    let planned = |cell: &Cell| PlannedTask {
        task: cell.index,
        cell: cell.id.clone(),
        depends_on: cell.depends_on.clone(),
    };
    revision.plan.cells.iter().filter(is_changed).map(planned).collect()
}

fn learned_of(graph: &Graph, live: &LiveValue) -> Option<Learned> {
    let code = graph.node(&live.node)?.code_digest()?;
    let output = LiveOutput { code, output: live.output.clone() };
    Some(Learned { output, value_type: live.value_type.clone() })
}

/// Remembers what a report showed. The run does not depend on it: the next one would learn it
/// again.
pub(crate) async fn remember(engine: &Engine, report: &Report) {
    let learned = report.learned();
    if learned.is_empty() {
        return;
    }
    let remembered = async {
        let record = engine.load(report.run()).await?;
        let tenant = engine.store.tenant(record.tenant);
        for Learned { output, value_type } in learned {
            let version = (record.flow, record.flow_version);
            tenant.remember_live_output(version, output, value_type).await?;
        }
        Ok::<_, Error>(())
    };
    if let Err(error) = remembered.await {
        let AttemptRef { run, task, attempt } = report.attempt();
        tracing::warn!(run.id = %run, task.id = task, attempt, %error, "a live output is not remembered");
    }
}
