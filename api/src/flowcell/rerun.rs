//! Running ended runs again with what they finished, and dead letters.

mod changes;

use std::collections::{BTreeMap, BTreeSet};

use axum::Json;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use domain::branch::{Branches, Operation};
use domain::id::RunId;
use domain::plan::Plan;
use domain::rerun;
use domain::run::{RunState, Task, TaskState};
use domain::terms::Terms;
use domain::tweaks;
use proto::http::{Rerun, RunAccepted};
use proto::run::{RerunRequest, RunRequest};
use serde_json::{Map, Value, json};
use store::{Again, EndedRun, NewRun, NewTask, Tenant, Turn};

use super::limits;
use super::runs::{accepted, check_deadline, idempotency_key, run_id};
use crate::app::App;
use crate::auth::Principal;
use crate::error::{Error, internal};
use crate::extract::Raw;
use crate::result::plan_of;
use crate::start_run;
use crate::trace;
use crate::turns;
use crate::versions::Version;

/// A complete run has nothing left to do.
const NOTHING: &str = "the run is complete, and nothing of it is changed: from must name the nodes \
                       that are to be done again, or tweaks or input_value change some, or \
                       from_start be true";

type Answer = Result<(StatusCode, Json<RunAccepted>), Error>;

/// `POST /api/flowcell/v1/runs/{id}/rerun`: a new run of the same version, with the same input and
/// tweaks but those that are sent, under today's limits and settings. 409 for a run that has not
/// ended.
pub(crate) async fn rerun(
    State(app): State<App>,
    principal: Principal,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Raw,
) -> Answer {
    let wanted: Rerun = if body.0.is_empty() { Rerun::default() } else { body.json()? };
    check_deadline(wanted.deadline_ms)?;
    let idempotency_key = idempotency_key(&headers)?;
    let asked = Asked { of: run_id(&id)?, wanted, redrive: false, idempotency_key };
    again(&app, &principal, asked).await
}

/// `POST /api/flowcell/v1/runs/{id}/redrive`: the same for a dead letter, without what it finished
/// being done again. However often and by however many this is asked, it happens once: 409 then.
pub(crate) async fn redrive(
    State(app): State<App>,
    principal: Principal,
    Path(id): Path<String>,
) -> Answer {
    let wanted = Rerun::default();
    let asked = Asked { of: run_id(&id)?, wanted, redrive: true, idempotency_key: None };
    again(&app, &principal, asked).await
}

/// `POST /api/flowcell/v1/runs/{id}/dismiss`: the run is no dead letter any more. 409 when it is
/// none.
pub(crate) async fn dismiss(
    State(app): State<App>,
    principal: Principal,
    Path(id): Path<String>,
) -> Result<Json<Value>, Error> {
    let run = run_id(&id)?;
    app.tenant(&principal).dismiss(run).await?;
    Ok(Json(json!({"id": run, "dead_letter": false})))
}

/// What is asked for.
struct Asked {
    of: RunId,
    wanted: Rerun,
    redrive: bool,
    idempotency_key: Option<String>,
}

async fn again(app: &App, principal: &Principal, asked: Asked) -> Answer {
    let tenant = app.tenant(principal);
    let ended = tenant.ended_run(asked.of).await?;
    let version = app.versions.get(&tenant, ended.record.flow_version).await?;
    let own = ended.record.plan.as_ref();
    let plan = plan_of(&version, own, &ended.record.isolation)?;
    let earlier = Earlier { tenant: &tenant, ended: &ended, version: &version, plan: &plan };
    let (request, from) = earlier.wanted(&asked, app.config.tweaks_policy)?;
    let again = Again { redrive: asked.redrive, ..earlier.again(&from).await? };
    let new = earlier.run(app, principal, asked, request, again).await?;
    let warnings = version.warning.iter().map(ToString::to_string).collect();
    let started = start_run::submit(app, &tenant, new, warnings).await?;
    accepted(&tenant, started).await
}

/// An ended run, with all that says what it did.
struct Earlier<'a> {
    tenant: &'a Tenant,
    ended: &'a EndedRun,
    version: &'a Version,
    plan: &'a Plan,
}

impl Earlier<'_> {
    /// What is run now, and the tasks that are done again for it.
    fn wanted(
        &self,
        asked: &Asked,
        policy: tweaks::Policy,
    ) -> Result<(RunRequest, BTreeSet<u32>), Error> {
        let (record, wanted) = (&self.ended.record, &asked.wanted);
        let earlier: RunRequest = serde_json::from_value(record.request.clone())
            .map_err(|error| internal("reading a stored run request", &error))?;
        let request = changes::request(earlier.clone(), wanted);
        let mut from = self.named(&wanted.from)?;
        if wanted.from_start {
            from.extend(self.plan.cells.iter().map(|cell| cell.index));
        }
        for node in changes::nodes(&self.version.graph, &earlier, &request, wanted, policy)? {
            from.extend(rerun::building(&self.version.graph, self.plan, &node));
        }
        if from.is_empty() && record.run.state == RunState::Completed && !asked.redrive {
            return Err(Error::BodyInvalid(NOTHING.to_owned()));
        }
        Ok((request, from))
    }

    /// The tasks of the nodes that the caller names.
    fn named(&self, names: &[String]) -> Result<BTreeSet<u32>, Error> {
        let mut tasks = BTreeSet::new();
        for name in names {
            let building = rerun::building(&self.version.graph, self.plan, name);
            if building.is_empty() {
                return Err(Error::BodyInvalid(format!("from: the run has no node {name:?}")));
            }
            tasks.extend(building);
        }
        Ok(tasks)
    }

    /// What is taken over when these tasks are done again.
    async fn again(&self, from: &BTreeSet<u32>) -> Result<Again, Error> {
        let record = &self.ended.record;
        let tasks = &record.run.tasks;
        let kept = rerun::kept(tasks, from);
        let in_state = |state| tasks.iter().filter(move |task: &&Task| task.state == state);
        let (operations, context) = if kept.len() == in_state(TaskState::Done).count() {
            (Some(record.operations.clone()), Some(record.context.clone()))
        } else {
            self.decided(&kept).await?
        };
        let some = |value: Option<Value>| value.filter(|value| !value.is_null());
        Ok(Again {
            of: record.run.id,
            replaced: in_state(TaskState::Replaced).map(|task| task.index).collect(),
            plan: record.plan.clone(),
            operations: some(operations),
            context: some(context),
            redrive: false,
            kept,
        })
    }

    /// What these tasks decided and wrote, in the order in which they ended.
    async fn decided(&self, kept: &BTreeSet<u32>) -> Result<(Option<Value>, Option<Value>), Error> {
        let record = &self.ended.record;
        if record.operations.is_null() && record.context.is_null() {
            return Ok((None, None));
        }
        let unusable = |error: &dyn std::error::Error| internal("reading a stored result", error);
        let (mut branches, mut context) = (Branches::default(), Map::new());
        for (task, result) in self.tenant.results_in_order(record.run.id, kept).await? {
            let operations: Vec<Operation> =
                serde_json::from_value(Value::Array(result.operations))
                    .map_err(|error| unusable(&error))?;
            if let Some(cell) = self.plan.cell(task) {
                branches
                    .apply(&self.version.graph, cell, &operations)
                    .map_err(|error| unusable(&error))?;
            }
            context.extend(result.context);
        }
        let branches = serde_json::to_value(&branches).map_err(|error| unusable(&error))?;
        Ok((Some(branches), Some(Value::Object(context))))
    }

    async fn run(
        &self,
        app: &App,
        principal: &Principal,
        asked: Asked,
        request: RunRequest,
        again: Again,
    ) -> Result<NewRun, Error> {
        let (record, now) = (&self.ended.record, store::now());
        let id = RunId(store::id_in_order());
        let set = self.tenant.run_settings(record.flow).await?;
        let retry = app.config.retry.with(&set.flow.retry);
        let turn = Turn {
            pool: record.pool.clone(),
            priority: record.priority,
            concurrency: self.ended.concurrency.clone(),
            ..Turn::default()
        };
        let terms = Terms { graph: &self.version.graph, settings: &set.flow, retry: &retry };
        let request = self.sealed(id, request, &asked).await?;
        Ok(NewRun {
            id,
            flow: record.flow,
            version: record.flow_version,
            tasks: self.tasks(&terms),
            session_id: record.session_id.clone(),
            request: serde_json::to_value(&request)
                .map_err(|error| internal("writing a run request", &error))?,
            deadline: now + app.config.run_deadline(asked.wanted.deadline_ms),
            limits: limits::of_run(&app.config, &set),
            isolation: record.isolation.clone(),
            idempotency_key: asked.idempotency_key,
            parent: None,
            again: Some(again),
            detached: true,
            turn: turns::take(app, principal, &set.tenant, turn).await?,
            submitted_by: Some(principal.user),
            retry,
            now,
        })
    }

    /// The request as the new run keeps it. What the earlier run's caller gave in place of stored
    /// variables opens for that run only, so it is sealed anew.
    async fn sealed(
        &self,
        run: RunId,
        request: RunRequest,
        asked: &Asked,
    ) -> Result<RunRequest, Error> {
        let of = self.ended.record.run.id;
        let variables: BTreeMap<_, _> = self.tenant.reveal_of_run(of, &request.variables).await?;
        Ok(RunRequest {
            variables: self.tenant.seal_for_run(run, &variables).await?,
            traceparent: trace::cause(),
            rerun: Some(RerunRequest { of, from: asked.wanted.from.clone() }),
            ..request
        })
    }

    /// A task for each of the earlier run's, on today's terms.
    fn tasks(&self, terms: &Terms<'_>) -> Vec<NewTask> {
        let record = &self.ended.record;
        let task = |(task, cell): (&Task, &String)| NewTask {
            cell: cell.clone(),
            depends_on: task.depends_on.clone(),
            terms: self
                .plan
                .cell(task.index)
                .map_or_else(|| task.terms.clone(), |cell| terms.of_cell_anyhow(cell)),
        };
        record.run.tasks.iter().zip(&record.cells).map(task).collect()
    }
}
