//! One module per subcommand.

pub(crate) mod admission;
pub(crate) mod client_env;
mod dead_letters;
pub(crate) mod docker_gate;
pub(crate) mod doctor;
pub(crate) mod drill;
pub(crate) mod egress;
pub(crate) mod explain;
pub(crate) mod files;
pub(crate) mod flow;
pub(crate) mod init;
pub(crate) mod limits;
pub(crate) mod pausing;
pub(crate) mod reap;
pub(crate) mod rerun;
mod resume;
pub(crate) mod retention;
pub(crate) mod run;
pub(crate) mod serve;
pub(crate) mod simulate;
mod tenant;
pub(crate) mod up;
pub(crate) mod var;

use anyhow::Result;
use clap::CommandFactory;

use crate::args::{Arguments, Command};
use crate::exit::Exit;
use crate::output;

/// Executes the command.
pub(crate) async fn execute(arguments: Arguments) -> Result<Exit> {
    match arguments.command {
        Command::Up(arguments) => up::execute(arguments).await,
        Command::Api(arguments) => serve::api(arguments).await,
        Command::Scheduler(arguments) => serve::scheduler(arguments).await,
        Command::Worker(arguments) => serve::worker(arguments).await,
        Command::Reap(arguments) => reap::execute(arguments).await,
        Command::DockerGate(arguments) => docker_gate::execute(arguments).await,
        Command::Migrate(arguments) => serve::migrate(arguments).await,
        Command::Init(arguments) => init::execute(&arguments),
        Command::Flow(command) => flow::execute(command).await,
        Command::Files(command) => files::execute(command).await,
        Command::Resume(arguments) => resume::execute(arguments).await,
        Command::Pause(arguments) => pausing::execute(arguments, "pause").await,
        Command::Unpause(arguments) => pausing::execute(arguments, "unpause").await,
        Command::Rerun(arguments) => rerun::execute(arguments).await,
        Command::DeadLetters(command) => dead_letters::execute(command).await,
        Command::Run(arguments) => run::execute(arguments).await,
        Command::Explain(arguments) => explain::execute(arguments).await,
        Command::Var(command) => var::execute(command).await,
        Command::Egress(command) => egress::execute(command).await,
        Command::Limits(command) => limits::execute(command).await,
        Command::Admission(command) => admission::execute(command).await,
        Command::Simulate(arguments) => simulate::execute(&arguments),
        Command::Retention(command) => retention::execute(command).await,
        Command::Tenant(command) => tenant::execute(command).await,
        Command::Env(arguments) => client_env::execute(&arguments),
        Command::Doctor(arguments) => doctor::execute(arguments).await,
        Command::Drill(arguments) => drill::execute(arguments).await,
        Command::Completions { shell } => {
            let mut command = Arguments::command();
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut command, "flowcell", &mut script);
            output::piece(String::from_utf8_lossy(&script))?;
            Ok(Exit::Done)
        }
    }
}
