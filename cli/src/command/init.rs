//! `flowcell init`: the secrets and settings of a cluster, one folder per kind of process, so that
//! each process can be given its own folder and nothing else.

use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use bus::WorkerUser;
use rand::RngExt;
use rand::distr::Alphanumeric;
use store::seal::KeyEncryptionKey;

use crate::args::InitArguments;
use crate::credentials::write_private;
use crate::exit::Exit;
use crate::output;

/// 62^43 possibilities: more than the 256 bits of any key.
const PASSWORD_CHARS: usize = 43;

pub(crate) fn execute(arguments: &InitArguments) -> Result<Exit> {
    if arguments.dir.join("control").exists() {
        output::note(format_args!("{} exists and is left alone", arguments.dir.display()));
        return Ok(Exit::Done);
    }
    let cluster = Cluster::new(arguments);
    cluster.control()?;
    for number in 1..=arguments.workers {
        cluster.worker(number)?;
    }
    cluster.nats()?;
    cluster.postgres()?;
    output::note(format_args!(
        "wrote the settings and secrets of a cluster to {}",
        arguments.dir.display()
    ));
    output::note("  control/   for `flowcell migrate`, `api` and `scheduler`");
    output::note("  worker-N/  for one `flowcell worker` each; they hold no database secret");
    output::note("  nats/ postgres/   for the servers");
    Ok(Exit::Done)
}

struct Cluster<'a> {
    arguments: &'a InitArguments,
    postgres: String,
    control: String,
    workers: Vec<(String, String)>,
}

impl<'a> Cluster<'a> {
    fn new(arguments: &'a InitArguments) -> Self {
        let workers =
            (1..=arguments.workers).map(|number| (format!("worker-{number}"), password()));
        Self { arguments, postgres: password(), control: password(), workers: workers.collect() }
    }

    fn folder(&self, name: &str) -> Result<PathBuf> {
        let folder = self.arguments.dir.join(name);
        std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&folder)
            .with_context(|| format!("cannot make {}", folder.display()))?;
        Ok(folder)
    }

    /// Where a process sees its folder.
    fn seen(&self, folder: &Path) -> PathBuf {
        // Absolute, so that a process may be started from anywhere.
        let absolute = || std::path::absolute(folder).unwrap_or_else(|_| folder.to_owned());
        self.arguments.seen_as.clone().unwrap_or_else(absolute)
    }

    fn control(&self) -> Result<()> {
        let folder = self.folder("control")?;
        let seen = self.seen(&folder);
        KeyEncryptionKey::load_or_create(&folder.join("key"))?;
        write_private(&folder.join("postgres-password"), &self.postgres)?;
        write_private(&folder.join("nats-password"), &self.control)?;
        let settings = format!(
            "# Settings of api, scheduler and migrate.\n\
             [database]\nurl = {:?}\npassword_file = {:?}\nkey_file = {:?}\n\n\
             [bus]\nurl = {:?}\nuser = \"control\"\npassword_file = {:?}\n\n\
             [api]\nlisten = {:?}\n",
            self.arguments.postgres,
            seen.join("postgres-password"),
            seen.join("key"),
            self.arguments.nats,
            seen.join("nats-password"),
            self.arguments.listen.to_string(),
        );
        write_private(&folder.join("flowcell.toml"), &settings)
    }

    fn worker(&self, number: u32) -> Result<()> {
        let name = format!("worker-{number}");
        let folder = self.folder(&name)?;
        let seen = self.seen(&folder);
        let known = self.workers.iter().find(|(user, _)| *user == name);
        let (_, password) = known.context("a worker without a password")?;
        write_private(&folder.join("nats-password"), password)?;
        let settings = format!(
            "# Settings of one worker.\n\
             [bus]\nurl = {:?}\nuser = {name:?}\npassword_file = {:?}\n\n\
             [worker]\nname = {name:?}\nslots = {}\nsocket_dir = {:?}\n",
            self.arguments.nats,
            seen.join("nats-password"),
            self.arguments.slots,
            self.arguments.socket_dir,
        );
        write_private(&folder.join("flowcell.toml"), &settings)
    }

    /// The server knows who may do what: a worker takes tasks of its pool, asks schedulers and
    /// appends events, and can neither offer tasks nor touch a stream.
    fn nats(&self) -> Result<()> {
        let folder = self.folder("nats")?;
        let mut users = format!("    {{ user: \"control\", password: \"{}\" }}\n", self.control);
        for (name, password) in &self.workers {
            let user = WorkerUser {
                prefix: "fc".to_owned(),
                name: name.clone(),
                pools: vec!["default".to_owned()],
            };
            let permissions = user.permissions()?.to_config();
            users.push_str(&format!(
                "    {{ user: {name:?}, password: {password:?}, permissions: {permissions} }}\n"
            ));
        }
        let config = format!(
            "# nats-server of a Flowcell cluster.\n\
             listen: {:?}\njetstream {{ store_dir: {:?} }}\n\
             authorization {{\n  users: [\n{users}  ]\n}}\n",
            self.arguments.nats_listen.to_string(),
            self.arguments.nats_store,
        );
        write_private(&folder.join("nats.conf"), &config)
    }

    fn postgres(&self) -> Result<()> {
        let folder = self.folder("postgres")?;
        write_private(&folder.join("password"), &self.postgres)
    }
}

fn password() -> String {
    rand::rng().sample_iter(Alphanumeric).take(PASSWORD_CHARS).map(char::from).collect()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use clap::Parser;

    use super::*;
    use crate::args::{Arguments, Command};
    use crate::settings::Settings;

    #[test]
    fn a_cluster_is_written_once_and_privately() {
        let dir = tempfile::tempdir().unwrap();
        let target = dir.path().join("cluster");
        let line = ["flowcell", "init", target.to_str().unwrap(), "--workers", "2"];
        let Command::Init(arguments) = Arguments::parse_from(line).command else { panic!() };
        execute(&arguments).unwrap();
        let read = |name: &str| std::fs::read_to_string(target.join(name)).unwrap();
        let nats = read("nats/nats.conf");
        execute(&arguments).unwrap();
        assert_eq!(nats, read("nats/nats.conf"), "a second call changes nothing");

        let control = Settings::load(Some(&target.join("control/flowcell.toml"))).unwrap();
        assert!(control.database.url.starts_with("postgres://"));
        let worker = Settings::load(Some(&target.join("worker-2/flowcell.toml"))).unwrap();
        assert_eq!(worker.worker.name, "worker-2");
        assert!(nats.contains(&read("worker-2/nats-password")));
        assert!(!read("worker-1/flowcell.toml").contains("database"));
        for file in ["control/key", "control/postgres-password", "nats/nats.conf"] {
            let mode = std::fs::metadata(target.join(file)).unwrap().permissions().mode();
            assert_eq!(mode & 0o077, 0, "{file}");
        }
    }
}
