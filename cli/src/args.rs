//! The command line: every subcommand and flag, with examples.

mod admission;
mod drill;
mod files;
mod gate;
mod init;
mod rerun;
mod retention;
mod tenant;

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;
use domain::id::WorkerEpoch;
use domain::plan::Isolation;
use worker::reaper::Job;

pub(crate) use self::admission::{
    AdmissionCommand, AdmissionScope, SimulateArguments, TurnArguments,
};
pub(crate) use self::drill::DrillArguments;
pub(crate) use self::files::FilesCommand;
pub(crate) use self::gate::GateArguments;
pub(crate) use self::init::{InitArguments, PoolSize};
pub(crate) use self::rerun::{DeadLettersArguments, DeadLettersCommand, RerunArguments};
pub(crate) use self::retention::RetentionCommand;
pub(crate) use self::tenant::{InstallationArguments, OfTenant, TenantCommand};

/// Runs Langflow flows as a cluster: every component in a throwaway container.
#[derive(Debug, Parser)]
#[command(name = "flowcell", version, propagate_version = true, arg_required_else_help = true)]
#[command(after_help = "Examples:
  flowcell up                                   API, scheduler and worker in one process
  flowcell flow import 'Basic Prompting.json'   upload a Langflow export
  flowcell run 'Basic Prompting' --input hello  run it, tokens appear as they come
  eval \"$(flowcell env)\"                        FLOWCELL_URL and FLOWCELL_API_KEY for curl and SDKs

Exit codes: 0 done, 1 the run or command failed, 2 wrong usage, 3 server not reachable or access
refused, 64 configuration invalid.")]
pub(crate) struct Arguments {
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// The subcommands.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run everything in one process: SQLite, in-process bus, Docker.
    #[command(after_help = "Examples:
  flowcell up
  flowcell up --listen 127.0.0.1:7860 --data-dir ./data")]
    Up(UpArguments),
    /// Run the API service of a cluster (Postgres and NATS from the configuration).
    Api(ServiceArguments),
    /// Run a scheduler of a cluster.
    Scheduler(ServiceArguments),
    /// Run a worker of a cluster; it has no access to the database.
    Worker(ServiceArguments),
    /// Remove what a worker's process leaves, once it is gone. Workers start this themselves.
    #[command(hide = true)]
    Reap(ReapArguments),
    /// Run a Docker socket for workers that lets through what cells need, and nothing else.
    #[command(after_help = "Example:
  flowcell docker-gate --listen /run/flowcell-gate/docker.sock --cluster flowcell \\
      --allow-binds /run/flowcell --user 991
  flowcell worker      with worker.docker_host = unix:///run/flowcell-gate/docker.sock
                       and  worker.socket_dir  = /run/flowcell/991")]
    DockerGate(GateArguments),
    /// Bring the database to this version's schema; safe to run twice and from several hosts.
    Migrate(ServiceArguments),
    /// Write the settings and generated secrets of a cluster.
    #[command(after_help = "Example:
  flowcell init ./cluster --workers 2 && flowcell migrate --config cluster/control/flowcell.toml
  flowcell init ./cluster --workers 3 --pool gpu=1    # later: one more, and one of another pool")]
    Init(InitArguments),
    /// Import and list flows.
    #[command(subcommand)]
    Flow(FlowCommand),
    /// Upload, list, download and delete the files that flows read.
    #[command(subcommand)]
    Files(FilesCommand),
    /// Run a flow and watch it.
    #[command(after_help = "Examples:
  flowcell run echo --input hello
  flowcell run 'Basic Prompting' --input hi --stream --tweak 'Agent.temperature=0.2'
  flowcell run echo --input hello --json | jq .state")]
    Run(RunArguments),
    /// Answer what a run asks, and watch it go on.
    #[command(after_help = "Examples:
  flowcell resume 019aa9a0-… approve
  flowcell resume 019aa9a0-… edit --values '{\"args\": {\"text\": \"other words\"}}'")]
    Resume(ResumeArguments),
    /// Let nothing more of a run begin. What runs goes on to its end; the run's deadline stands still.
    #[command(after_help = "Example: flowcell pause 019aa9a0-…")]
    Pause(RunIdArguments),
    /// Let a paused run go on. It takes its turn among the others again.
    #[command(after_help = "Example: flowcell unpause 019aa9a0-…")]
    Unpause(RunIdArguments),
    /// Run an ended run again with what it finished, and watch it.
    #[command(after_help = "Examples:
  flowcell rerun 019aa9a0-…                  what it did not finish
  flowcell rerun 019aa9a0-… --from Agent     the node Agent and all that follows
  flowcell rerun 019aa9a0-… --tweak 'Prompt.template=Say {text}'
                                             that node changed, and all that follows
  flowcell rerun 019aa9a0-… --from-start     everything")]
    Rerun(RerunArguments),
    /// Runs that failed while nobody waited for them: list them, run them again, let them rest.
    #[command(
        subcommand,
        after_help = "Examples:
  flowcell dead-letters list --flow ingest
  flowcell dead-letters redrive --all --flow ingest"
    )]
    DeadLetters(DeadLettersCommand),
    /// Show how a flow is split into cells, and why.
    #[command(after_help = "Examples:
  flowcell explain echo            a flow on the server
  flowcell explain ./flow.json     a file, without a server
  flowcell explain run 019aa9a0-…  what a run waits for")]
    Explain(ExplainArguments),
    /// Store and list variables; values are read from standard input and never shown again.
    #[command(subcommand)]
    Var(VarCommand),
    /// Say which destinations flows may connect to; nothing is allowed by default.
    #[command(subcommand)]
    Egress(EgressCommand),
    /// Show and set what the cells of a tenant or of one flow may use.
    #[command(subcommand)]
    Limits(LimitsCommand),
    /// Show and set how many runs of a tenant, flow or key may be open, and its share of the slots.
    #[command(subcommand)]
    Admission(AdmissionCommand),
    /// Show how a cluster would share its slots: who waits how long, and how fairly.
    #[command(after_help = "Example: flowcell simulate docs/scenarios/noisy-neighbour.toml")]
    Simulate(SimulateArguments),
    /// Show and set how long runs are kept.
    #[command(subcommand)]
    Retention(RetentionCommand),
    /// Make and list tenants; for whoever operates the installation.
    #[command(subcommand)]
    Tenant(TenantCommand),
    /// Print shell exports of the local server's URL and API key.
    Env(ClientArguments),
    /// Check what this machine needs to run cells, and say what to do.
    #[command(after_help = "Examples:
  flowcell doctor                         for `flowcell up`
  flowcell doctor --data-dir ./data       for `flowcell up --data-dir ./data`
  flowcell doctor --config worker.toml    for `flowcell worker --config worker.toml`")]
    Doctor(DoctorArguments),
    /// Start a cluster, kill, freeze and cut off its parts under load, and prove that nothing was
    /// lost or done twice.
    #[command(after_help = "Examples:
  flowcell drill                                        each kind of fault once
  flowcell drill --minutes 60 --report drill.md         for an hour
  flowcell drill --seed 7 --faults 10 --at-once 1       the same faults again, one at a time

Needs Postgres' and NATS' servers installed, Docker and the runner image. It starts everything itself,
in a folder of its own, and ends it. Exit code 0 only when every promise was kept.")]
    Drill(DrillArguments),
    /// Print a completion script.
    #[command(after_help = "Example: flowcell completions bash > /etc/bash_completion.d/flowcell")]
    Completions {
        /// The shell.
        shell: Shell,
    },
}

/// Where an embedded server keeps everything.
#[derive(Clone, Debug, Args)]
pub(crate) struct DataDir {
    /// Folder of the embedded server: database, keys, credentials, logs of runs.
    #[arg(long, env = "FLOWCELL_DATA_DIR", value_name = "DIR")]
    pub(crate) data_dir: Option<PathBuf>,
}

impl DataDir {
    /// The folder: as given, else `$XDG_DATA_HOME/flowcell`, else `~/.local/share/flowcell`.
    pub(crate) fn path(&self) -> PathBuf {
        self.data_dir.clone().unwrap_or_else(|| {
            let xdg = std::env::var_os("XDG_DATA_HOME").map(PathBuf::from);
            let home = || std::env::home_dir().map(|home| home.join(".local/share"));
            xdg.or_else(home).unwrap_or_else(|| PathBuf::from(".")).join("flowcell")
        })
    }
}

/// `flowcell up`.
#[derive(Debug, Args)]
pub(crate) struct UpArguments {
    #[command(flatten)]
    pub(crate) data: DataDir,
    /// Address of the API. Port 0 picks a free one.
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) listen: Option<SocketAddr>,
    /// Cells that run at the same time.
    #[arg(long, value_name = "N")]
    pub(crate) slots: Option<u32>,
    /// Configuration file (TOML).
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
}

/// `flowcell api|scheduler|worker|migrate`.
#[derive(Debug, Args)]
pub(crate) struct ServiceArguments {
    /// Configuration file (TOML); environment variables FLOWCELL_CONFIG__SECTION__KEY override it.
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
}

/// `flowcell reap`: as [`worker::reaper::Job`] writes them.
#[derive(Debug, Args)]
pub(crate) struct ReapArguments {
    /// Configuration file (TOML) of the worker; only its telemetry is used.
    #[arg(long)]
    pub(crate) config: Option<PathBuf>,
    /// The engine.
    #[arg(long)]
    docker_host: String,
    /// Label of the containers.
    #[arg(long)]
    cluster: String,
    /// Label of the containers.
    #[arg(long)]
    worker: String,
    /// Label of the containers.
    #[arg(long)]
    epoch: WorkerEpoch,
    /// Where the slot directories are.
    #[arg(long)]
    slot_root: PathBuf,
}

impl ReapArguments {
    pub(crate) fn job(self) -> Job {
        Job {
            docker_host: self.docker_host,
            cluster: self.cluster,
            worker: self.worker,
            epoch: self.epoch,
            slot_root: self.slot_root,
        }
    }
}

/// Which server a client command talks to.
#[derive(Clone, Debug, Args)]
pub(crate) struct ClientArguments {
    /// Base URL of the server; default: the local `flowcell up`.
    #[arg(long, env = "FLOWCELL_URL", value_name = "URL")]
    pub(crate) url: Option<String>,
    /// API key; default: the local `flowcell up`'s.
    #[arg(long, env = "FLOWCELL_API_KEY", value_name = "KEY", hide_env_values = true)]
    pub(crate) api_key: Option<String>,
    #[command(flatten)]
    pub(crate) data: DataDir,
}

/// `flowcell flow`.
#[derive(Debug, Subcommand)]
pub(crate) enum FlowCommand {
    /// Upload a Langflow export: one flow, several, or a zip.
    #[command(after_help = "Example: flowcell flow import 'Basic Prompting.json'")]
    Import {
        /// The file; `-` reads standard input.
        file: PathBuf,
        #[command(flatten)]
        client: ClientArguments,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// List flows.
    List {
        #[command(flatten)]
        client: ClientArguments,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Show or set the packages that a flow lists besides those of its runtime.
    #[command(after_help = "Examples:
  flowcell flow requirements Report                          what it lists, and how the image is doing
  flowcell flow requirements Report --file requirements.txt  list these; a run builds the image
  flowcell flow requirements Report --clear                  list nothing

A line is a name with versions (`humanize>=4,<5`), extras and sha256 hashes. Where packages come from
is the operator's to say.")]
    Requirements {
        /// Id, endpoint name or name of the flow.
        flow: String,
        /// A requirements file; `-` reads standard input.
        #[arg(long, value_name = "FILE", conflicts_with = "clear")]
        file: Option<PathBuf>,
        /// List nothing.
        #[arg(long)]
        clear: bool,
        #[command(flatten)]
        client: ClientArguments,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Show which runtime a flow gets, and what that changes for it.
    #[command(after_help = "Example: flowcell flow runtime 'Basic Prompting'")]
    Runtime {
        /// Id, endpoint name or name of the flow.
        flow: String,
        #[command(flatten)]
        client: ClientArguments,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
}

/// `flowcell run`.
#[derive(Debug, Args)]
pub(crate) struct RunArguments {
    /// Id, endpoint name or name of the flow.
    pub(crate) flow: String,
    /// The text for the flow's input.
    #[arg(long, short, default_value = "")]
    pub(crate) input: String,
    /// Ask models to stream their tokens.
    #[arg(long)]
    pub(crate) stream: bool,
    /// Change a field for this run: `NODE.FIELD=VALUE` (node id or display name; VALUE is JSON, or
    /// text when it is not). May be repeated.
    #[arg(long = "tweak", value_name = "NODE.FIELD=VALUE")]
    pub(crate) tweaks: Vec<String>,
    /// Chat session; default: the flow's own.
    #[arg(long, value_name = "ID")]
    pub(crate) session: Option<String>,
    /// What to return.
    #[arg(long, value_enum, default_value_t = OutputType::Chat)]
    pub(crate) output: OutputType,
    /// How much of the run shares a container: component, chain or run.
    #[arg(long, value_name = "NAME")]
    pub(crate) isolation: Option<Isolation>,
    #[command(flatten)]
    pub(crate) turn: TurnArguments,
    #[command(flatten)]
    pub(crate) watch: WatchArguments,
    #[command(flatten)]
    pub(crate) client: ClientArguments,
}

/// How a run that goes on is watched.
#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct WatchArguments {
    /// Do not wait for its end; a new run's id is printed.
    #[arg(long)]
    pub(crate) detach: bool,
    /// Print every event and the final state as JSON lines.
    #[arg(long)]
    pub(crate) json: bool,
}

/// `flowcell resume`.
#[derive(Debug, Args)]
pub(crate) struct ResumeArguments {
    /// Id of the run.
    pub(crate) run: String,
    /// The action to take: one of those that the question offers.
    pub(crate) decision: String,
    /// Which question; needed only when the run asks several.
    #[arg(long, value_name = "ID")]
    pub(crate) request: Option<String>,
    /// What the action takes, as a JSON object.
    #[arg(long, value_name = "JSON")]
    pub(crate) values: Option<String>,
    #[command(flatten)]
    pub(crate) watch: WatchArguments,
    #[command(flatten)]
    pub(crate) client: ClientArguments,
}

/// `flowcell pause|unpause`.
#[derive(Debug, Args)]
pub(crate) struct RunIdArguments {
    /// Id of the run.
    pub(crate) run: String,
    #[command(flatten)]
    pub(crate) client: ClientArguments,
}

/// Which outputs a run returns.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum OutputType {
    /// Chat outputs.
    Chat,
    /// Text outputs.
    Text,
    /// Every output.
    Any,
    /// Every node.
    Debug,
}

impl OutputType {
    /// The name that the API uses.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Chat => "chat",
            Self::Text => "text",
            Self::Any => "any",
            Self::Debug => "debug",
        }
    }
}

/// `flowcell explain`.
#[derive(Debug, Args)]
pub(crate) struct ExplainArguments {
    /// A file, or id, endpoint name or name of a flow on the server; or the word `run`.
    pub(crate) flow: String,
    /// After the word `run`: the run's id.
    pub(crate) run: Option<String>,
    /// How much of a run shares a container: component, chain or run. Default: what the server
    /// does, and component for a file.
    #[arg(long, value_name = "NAME")]
    pub(crate) isolation: Option<Isolation>,
    /// Print JSON.
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) client: ClientArguments,
}

/// `flowcell var`.
#[derive(Debug, Subcommand)]
pub(crate) enum VarCommand {
    /// Store a value, read from standard input so that it is in no shell history.
    #[command(after_help = "Example: printf %s \"$KEY\" | flowcell var set OPENAI_API_KEY")]
    Set {
        /// The variable's name.
        name: String,
        #[command(flatten)]
        client: ClientArguments,
    },
    /// List names.
    List {
        #[command(flatten)]
        client: ClientArguments,
    },
}

/// `flowcell egress`.
#[derive(Debug, Subcommand)]
pub(crate) enum EgressCommand {
    /// Allow a destination.
    #[command(after_help = "Examples:
  flowcell egress allow api.openai.com:443
  flowcell egress allow 127.0.0.1:8080 --private   a server inside your own network
  flowcell egress allow db.internal:5432 --private --tcp --flow ingest   Postgres, for one flow
  flowcell egress allow '*:443' --node URL   any public HTTPS server, for one component
  flowcell egress allow api.openai.com:443 --tenant acme   the operator, for another tenant")]
    Allow {
        /// `HOST:PORT`; `*.example.com:443` allows any name below it, `*:443` and `*:*` the public
        /// internet.
        destination: String,
        /// The name may resolve to a loopback, private or link-local address.
        #[arg(long)]
        private: bool,
        /// It speaks something else than HTTP and TLS (databases, caches, message queues): plain
        /// TCP connections are forwarded, and its name resolves inside the cell.
        #[arg(long)]
        tcp: bool,
        #[command(flatten)]
        scope: EgressScope,
        #[command(flatten)]
        of: OfTenant,
        #[command(flatten)]
        client: ClientArguments,
    },
    /// List what is allowed.
    List {
        #[command(flatten)]
        of: OfTenant,
        #[command(flatten)]
        client: ClientArguments,
    },
    /// Take back what was allowed, for the same flow and node.
    #[command(after_help = "Example: flowcell egress forbid api.openai.com:443")]
    Forbid {
        /// `HOST:PORT`, as it was allowed.
        destination: String,
        #[command(flatten)]
        scope: EgressScope,
        #[command(flatten)]
        of: OfTenant,
        #[command(flatten)]
        client: ClientArguments,
    },
    /// Show what the cells of a run connected to, and what was refused.
    Connections {
        /// The run's id.
        run: String,
        /// Print JSON.
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        client: ClientArguments,
    },
}

/// Whom a rule is for.
#[derive(Debug, Args)]
pub(crate) struct EgressScope {
    /// Only this flow: id, endpoint name or name.
    #[arg(long)]
    pub(crate) flow: Option<String>,
    /// Only cells with this component: id or display name.
    #[arg(long)]
    pub(crate) node: Option<String>,
}

/// `flowcell limits`.
#[derive(Debug, Subcommand)]
pub(crate) enum LimitsCommand {
    /// Show every limit, who set it, and how high it may go.
    Show {
        #[command(flatten)]
        scope: LimitsScope,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Set limits; the others stay as they are. Runs that were accepted before keep theirs.
    #[command(after_help = "Limits: memory, pids, cpu, wall, output, frames, logs, tmp, files, \
cpu-time, tokens, log-lines, or their names in the API.

Examples:
  flowcell limits set memory=2GiB wall=30m cpu=1.5       for every flow of the tenant
  flowcell limits set --flow 'Nightly report' cpu-time=2h
  flowcell limits set --maximum memory=4GiB              how high users may set their flows")]
    Set {
        /// What to set.
        #[arg(required = true, value_name = "NAME=VALUE")]
        values: Vec<String>,
        /// Set the most that flows of the tenant may have.
        #[arg(long)]
        maximum: bool,
        #[command(flatten)]
        scope: LimitsScope,
    },
    /// Unset limits: what is set further away holds again.
    Unset {
        /// Which; all of them when none is named.
        #[arg(value_name = "NAME")]
        names: Vec<String>,
        /// Unset the most that flows of the tenant may have.
        #[arg(long)]
        maximum: bool,
        #[command(flatten)]
        scope: LimitsScope,
    },
}

/// Whose limits.
#[derive(Debug, Args)]
pub(crate) struct LimitsScope {
    /// Of one flow (id, endpoint name or name); of the tenant without it.
    #[arg(long, value_name = "FLOW", conflicts_with = "tenant")]
    pub(crate) flow: Option<String>,
    #[command(flatten)]
    pub(crate) of: OfTenant,
    #[command(flatten)]
    pub(crate) client: ClientArguments,
}

/// `flowcell doctor`.
#[derive(Debug, Args)]
pub(crate) struct DoctorArguments {
    /// Configuration file (TOML).
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) data: DataDir,
    /// Print JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reaper_reads_the_job_that_its_worker_wrote() {
        let job = Job {
            docker_host: "unix:///run/docker.sock".into(),
            cluster: "c".into(),
            // Names may begin like a flag.
            worker: "-w.1".into(),
            epoch: WorkerEpoch(uuid::Uuid::from_u128(7)),
            slot_root: "/run/flow cell/-w.1".into(),
        };
        let words = ["flowcell", "reap"].map(Into::into).into_iter().chain(job.arguments());
        let Command::Reap(read) = Arguments::try_parse_from(words).unwrap().command else {
            panic!("another command");
        };
        assert_eq!(read.job(), job);
    }
}
