//! What a worker gets with a task: the cell's graph, its inputs, and only the secrets it names.

use std::collections::{BTreeMap, BTreeSet};

use domain::branch::Branches;
use domain::failure::{Failure, FailureKind};
use domain::flow::Graph;
use domain::id::UserId;
use domain::input::{Input, inject};
use domain::limits::CellLimits;
use domain::plan::{Cell, cell_graph, needs};
use domain::runtime::Needs;
use domain::selection::to_run;
use domain::time::Timestamp;
use proto::frame::{CellResult, EgressBody, FrameLimits, Task, UsageByNode};
use proto::message::{Assignment, AttemptRef, EgressRule};
use proto::run::RunRequest;
use serde_json::Value;
use store::{EgressEntry, RunRecord, Secret, Variable, VariableKind, now};
use uuid::Uuid;

use crate::engine::Engine;
use crate::error::Error;
use crate::human::Answered;
use crate::{branches, flow, human, spans, usage};

/// Where the container finds its way out.
const EGRESS_SOCKET: &str = "/run/flowcell/egress.sock";

/// Either all that is needed for an attempt, or why there can be none.
pub(crate) type Prepared = Result<Box<Assignment>, Failure>;

/// Prepares the next attempt of a task.
pub(crate) async fn prepare(
    engine: &Engine,
    record: &RunRecord,
    task: u32,
) -> Result<Prepared, Error> {
    let version = engine.catalog.version(record.flow_version).await?;
    let plan = version.plan(record)?;
    let Some(cell) = plan.cell(task) else {
        return Ok(Err(Failure::new(FailureKind::Internal, "the plan has no such cell")));
    };
    let request: RunRequest = serde_json::from_value(record.request.clone())?;
    let branches = branches::read(record)?;
    let results = match engine.store.engine().results(record.run.id, &cell.depends_on).await {
        // Asking again gives the same: the run says what is wrong instead of waiting for ever.
        Err(error @ store::Error::PayloadUnreadable { .. }) => {
            return Ok(Err(Failure::new(FailureKind::InputInvalid, error.to_string())));
        }
        results => results?,
    };

    let tenant = engine.store.tenant(record.tenant);
    let listed = tenant.variables().await?;
    let graph = match flow::of_run(&version.graph, &request, &listed) {
        Ok(graph) => graph,
        Err(error) => {
            let message = format!("the run's tweaks cannot be applied: {error}");
            return Ok(Err(Failure::new(FailureKind::InputInvalid, message)));
        }
    };
    let inputs = match gather(cell, &results, &branches) {
        Ok(inputs) => inputs,
        Err(failure) => return Ok(Err(failure)),
    };
    let rules = tenant.egress_for(record.flow).await?;
    let egress = for_cell(rules, cell, &version.graph);
    let neighbours: Vec<String> = inputs.keys().cloned().collect();
    let upstream_usage = usage::before(engine, record, &plan, &graph, cell, &neighbours).await?;
    let (graph, request, branches) = (&graph, &request, &branches);
    let answers = human::answers(engine, record, task).await?;
    let body = Body { cell, graph, request, branches, inputs, upstream_usage, answers };
    let variables = match variables(engine, record, &body).await? {
        Ok(variables) => variables,
        Err(failure) => return Ok(Err(failure)),
    };
    let mut secrets = credentials(&listed);
    secrets.retain(|name| variables.has(name));
    let frame = body.frame(record, task, variables, &egress)?;
    let attempt = AttemptRef { run: record.run.id, task, attempt: frame.attempt };
    Ok(Ok(Box::new(Assignment {
        attempt,
        tenant: record.tenant,
        image: image(engine, record, &version.needs),
        limits: within_deadline(&record.limits, record.run.deadline, now()),
        egress,
        secrets,
        traceparent: spans::traceparent(&engine.tracer, attempt),
        task: frame,
    })))
}

/// The image that the cells of a version run in.
fn image(engine: &Engine, record: &RunRecord, needs: &Needs) -> String {
    match engine.runtimes.packaged(record.tenant, needs) {
        Some(packaged) => packaged.image,
        None => engine.runtimes.choose(needs).image.to_owned(),
    }
}

/// The rules that apply to this cell: those for no node, and those for a node that it builds.
fn for_cell(rules: Vec<EgressEntry>, cell: &Cell, graph: &Graph) -> Vec<EgressRule> {
    let is_built = |name: &str| {
        cell.built().any(|node| {
            node == name || graph.node(node).is_some_and(|node| node.display_name == name)
        })
    };
    rules
        .into_iter()
        .filter(|entry| entry.node.as_deref().is_none_or(is_built))
        .map(|entry| entry.rule)
        .collect()
}

/// An attempt may not outlive its run.
fn within_deadline(limits: &CellLimits, deadline: Timestamp, now: Timestamp) -> CellLimits {
    let left = u64::try_from(deadline.since(now).as_millis()).unwrap_or(u64::MAX);
    CellLimits { wall_ms: limits.wall_ms.min(left).max(1), ..limits.clone() }
}

type Inputs = BTreeMap<String, BTreeMap<String, Value>>;

/// The values that other cells made for this one. A node on a branch that was not taken gives
/// nothing; the field's own value holds then.
fn gather(
    cell: &Cell,
    results: &BTreeMap<u32, CellResult>,
    branches: &Branches,
) -> Result<Inputs, Failure> {
    let mut inputs = Inputs::new();
    for input in &cell.inputs {
        let node = results.get(&input.cell).and_then(|result| result.nodes.get(&input.node));
        match node.and_then(|node| node.outputs.get(&input.output)) {
            Some(value) => {
                let outputs = inputs.entry(input.node.clone()).or_default();
                outputs.insert(input.output.clone(), value.clone());
            }
            None if node.is_none() || branches.is_off(&input.node) => {}
            // Langflow hands on nothing when a component computed nothing for an output.
            None => {
                let outputs = inputs.entry(input.node.clone()).or_default();
                outputs.insert(input.output.clone(), Value::Null);
            }
        }
    }
    Ok(inputs)
}

/// What a cell may read.
#[derive(Default)]
struct Variables {
    stored: BTreeMap<String, String>,
    /// What the caller gave for this run.
    given: BTreeMap<String, String>,
}

impl Variables {
    fn has(&self, name: &str) -> bool {
        self.stored.contains_key(name) || self.given.contains_key(name)
    }
}

/// The variables that the cell's fields and chosen models name, as far as they exist: Langflow's
/// own error for a missing one is raised in the cell. Of the caller's values it gets those that
/// its fields name; Langflow looks up a model's provider among stored ones only.
async fn variables(
    engine: &Engine,
    record: &RunRecord,
    body: &Body<'_>,
) -> Result<Result<Variables, Failure>, Error> {
    let needs = needs(body.graph, body.cell);
    let mut given = body.request.variables.clone();
    given.retain(|name, _| needs.variables.contains(name));
    let providers = needs.providers.into_iter().flat_map(|provider| provider.variables);
    let names: BTreeSet<String> = needs.variables.into_iter().chain(providers).collect();
    let names: Vec<String> = names.into_iter().collect();
    let tenant = engine.store.tenant(record.tenant);
    let revealed = async {
        let stored = plain(tenant.reveal(&names).await?);
        Ok(Variables { stored, given: plain(tenant.reveal_of_run(record.run.id, &given).await?) })
    };
    match revealed.await {
        Ok(variables) => Ok(Ok(variables)),
        Err(error @ store::Error::Undecryptable { .. }) => {
            Ok(Err(Failure::new(FailureKind::InputInvalid, error.to_string())))
        }
        Err(error) => Err(error.into()),
    }
}

fn plain(secrets: BTreeMap<String, Secret>) -> BTreeMap<String, String> {
    secrets.into_iter().map(|(name, secret)| (name, secret.expose().to_owned())).collect()
}

/// The names of variables whose values nobody may see.
pub(crate) fn credentials(variables: &[Variable]) -> BTreeSet<String> {
    let secret = variables.iter().filter(|variable| variable.kind == VariableKind::Credential);
    secret.map(|variable| variable.name.clone()).collect()
}

/// What a frame is made of.
struct Body<'a> {
    cell: &'a Cell,
    graph: &'a Graph,
    request: &'a RunRequest,
    branches: &'a Branches,
    inputs: Inputs,
    upstream_usage: Option<UsageByNode>,
    answers: Answered,
}

impl Body<'_> {
    fn frame(
        self,
        record: &RunRecord,
        task: u32,
        variables: Variables,
        egress: &[EgressRule],
    ) -> Result<Task, Error> {
        let child = self.request.child.as_ref();
        let off = self.branches.off_members(self.cell);
        // A cell at the border of what is asked for may have members beyond it.
        let wanted = to_run(self.graph, flow::scope(self.request));
        let is_built =
            |member: &&String| !off.contains(&member.as_str()) && wanted.contains(*member);
        let members: Vec<String> = self.cell.members.iter().filter(is_built).cloned().collect();
        let mut parameters = inject(self.graph, &self.input()?);
        parameters.retain(|node, _| members.contains(node));
        let mut overrides = child.map(|child| child.overrides.clone()).unwrap_or_default();
        overrides.retain(|node, _| members.contains(node));
        let context = match &record.context {
            Value::Object(context) => context.clone().into_iter().collect(),
            _ => BTreeMap::new(),
        };
        Ok(Task {
            run_id: child.and_then(|child| child.graph_run_id).unwrap_or(record.run.id),
            flow_id: record.flow,
            flow_name: record.flow_name.clone(),
            // Components see an owner even when a key without a user started the run.
            user_id: record.user.unwrap_or(UserId(Uuid::nil())),
            session_id: record.session_id.clone(),
            cell: self.cell.id.clone(),
            attempt: record.run.task(task).map_or(0, |task| task.attempt).saturating_add(1),
            graph: without_branches(self.graph, self.cell, self.branches),
            members,
            driver: self.cell.driver,
            inputs: self.inputs,
            parameters,
            child: child.is_some(),
            overrides,
            variables: variables.stored,
            request_variables: variables.given,
            upstream_usage: self.upstream_usage,
            context,
            may_pause: self.request.may_pause,
            decisions: self.answers.decisions,
            saved: self.answers.saved,
            egress: (!egress.is_empty())
                .then(|| EgressBody { socket: EGRESS_SOCKET.to_owned(), forwards: Vec::new() }),
            limits: FrameLimits {
                log_bytes_max: record.limits.log_bytes_max,
                output_bytes_max: record.limits.output_bytes_max,
                // The rest is the worker's to say: it knows what its containers can have.
                ..FrameLimits::default()
            },
        })
    }

    fn input(&self) -> Result<Input, Error> {
        let kind = Value::String(self.request.input_type.clone());
        let child = self.request.child.as_ref();
        // Langflow tells no node of a child the session: the graph alone knows it.
        let session_id = if child.is_some() { "" } else { &self.request.session_id };
        Ok(Input {
            value: self.request.input_value.clone(),
            input_type: serde_json::from_value(kind)?,
            components: child.map(|child| child.components.clone()).unwrap_or_default(),
            files: Vec::new(),
            session_id: session_id.to_owned(),
        })
    }
}

/// Nodes on branches that were not taken contribute nothing: their edges into the cell go. What a
/// Loop builds anew decides anew, in a graph of its own, so there nothing goes.
fn without_branches(graph: &Graph, cell: &Cell, branches: &Branches) -> Value {
    let mut payload = cell_graph(graph, cell);
    let is_rebuilt = |source: &str| cell.inner.iter().any(|node| node == source);
    if let Some(edges) = payload.get_mut("edges").and_then(Value::as_array_mut) {
        edges.retain(|edge| {
            let source = edge.get("source").and_then(Value::as_str);
            !source.is_some_and(|source| branches.is_off(source) && !is_rebuilt(source))
        });
    }
    payload
}
