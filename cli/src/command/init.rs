//! `flowcell init`: the secrets and settings of a cluster, one folder per kind of process, so that
//! each process can be given its own folder and nothing else.

use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use bus::WorkerUser;
use rand::RngExt;
use rand::distr::Alphanumeric;
use store::seal::KeyEncryptionKey;

use crate::args::{InitArguments, PoolSize};
use crate::credentials::write_private;
use crate::exit::Exit;
use crate::output;
use crate::settings::Settings;

/// 62^43 possibilities: more than the 256 bits of any key.
const PASSWORD_CHARS: usize = 43;
/// What a folder of a process holds.
const SETTINGS: &str = "flowcell.toml";
const NATS_PASSWORD: &str = "nats-password";
/// Who may do what on the NATS server; a file of its own, so that workers can be added.
const USERS: &str = "users.conf";
const NATS: &str = "nats://127.0.0.1:4222";
/// First part of every subject.
const PREFIX: &str = "fc";
const DEFAULT_POOL: &str = "default";

pub(crate) fn execute(arguments: &InitArguments) -> Result<Exit> {
    let cluster = Cluster { arguments };
    // The last that a first call writes of them: what an interrupted one left is written anew.
    let is_new = !arguments.dir.join("control").join(SETTINGS).exists();
    if is_new {
        cluster.postgres()?;
        cluster.control()?;
    }
    let added = cluster.add_workers()?;
    let reload = cluster.nats()?;
    report(&arguments.dir, is_new, &added, reload);
    Ok(Exit::Done)
}

fn report(dir: &Path, is_new: bool, added: &[String], reload: bool) {
    let dir = dir.display();
    if is_new {
        output::note(format_args!("wrote the settings and secrets of a cluster to {dir}"));
        output::note("  control/   for `flowcell migrate`, `api` and `scheduler`");
        output::note("  worker-N/  for one `flowcell worker` each; they hold no database secret");
        output::note("  nats/ postgres/   for the servers");
    } else if added.is_empty() && !reload {
        output::note(format_args!("{dir} has all of it: nothing was changed"));
    } else {
        let names = if added.is_empty() { "no worker".to_owned() } else { added.join(", ") };
        output::note(format_args!("added {names} to {dir}; nothing else was changed"));
        output::note(
            "  take nats/users.conf to the NATS server, then: nats-server --signal reload",
        );
    }
}

struct Cluster<'a> {
    arguments: &'a InitArguments,
}

/// A worker that the cluster has, or should have.
struct Member {
    name: String,
    pool: String,
}

impl Cluster<'_> {
    fn wanted(&self) -> Vec<Member> {
        let own = (1..=self.arguments.workers)
            .map(|number| Member { name: format!("worker-{number}"), pool: DEFAULT_POOL.into() });
        let pools = self.arguments.pools.iter().flat_map(|PoolSize { pool, workers }| {
            (1..=*workers).map(move |number| Member {
                name: format!("worker-{pool}-{number}"),
                pool: pool.clone(),
            })
        });
        own.chain(pools).collect()
    }

    /// Those that are not there yet. Gives their names.
    fn add_workers(&self) -> Result<Vec<String>> {
        let mut added = Vec::new();
        for member in self.wanted() {
            let settings = self.arguments.dir.join(&member.name).join(SETTINGS);
            if !settings.exists() {
                if self.names_users_itself() {
                    bail!(
                        "nats/nats.conf names the users itself, so none can be added: put \
                         `include \"./{USERS}\"` in the place of its `users`, and make an empty \
                         {USERS} beside it"
                    );
                }
                self.worker(&member)?;
                added.push(member.name);
            }
        }
        Ok(added)
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

    /// The settings come last: they say that the rest is there.
    fn control(&self) -> Result<()> {
        let folder = self.folder("control")?;
        let seen = self.seen(&folder);
        KeyEncryptionKey::load_or_create(&folder.join("key"))?;
        let database = read(&self.arguments.dir.join("postgres/password"))?;
        write_private(&folder.join("postgres-password"), &database)?;
        write_private(&folder.join(NATS_PASSWORD), &password())?;
        let settings = format!(
            "# Settings of api, scheduler and migrate.\n\
             [database]\nurl = {:?}\npassword_file = {:?}\nkey_file = {:?}\n\n\
             [bus]\nurl = {:?}\nuser = \"control\"\npassword_file = {:?}\n\n\
             [api]\nlisten = {:?}\n",
            self.arguments.postgres,
            seen.join("postgres-password"),
            seen.join("key"),
            self.arguments.nats.as_deref().unwrap_or(NATS),
            seen.join(NATS_PASSWORD),
            self.arguments.listen.to_string(),
        );
        write_private(&folder.join(SETTINGS), &settings)
    }

    /// Where the processes of this cluster reach its NATS server: a worker that is added later
    /// goes where the others go, unless it is told otherwise.
    fn nats_url(&self) -> Result<String> {
        if let Some(url) = &self.arguments.nats {
            return Ok(url.clone());
        }
        let control = Settings::load(Some(&self.arguments.dir.join("control").join(SETTINGS)))?;
        Ok(control.bus.url)
    }

    fn worker(&self, Member { name, pool }: &Member) -> Result<()> {
        let folder = self.folder(name)?;
        let seen = self.seen(&folder);
        write_private(&folder.join(NATS_PASSWORD), &password())?;
        let settings = format!(
            "# Settings of one worker.\n\
             [bus]\nurl = {:?}\nuser = {name:?}\npassword_file = {:?}\n\n\
             [worker]\nname = {name:?}\nqueue = {pool:?}\nslots = {}\nsocket_dir = {:?}\n",
            self.nats_url()?,
            seen.join(NATS_PASSWORD),
            self.arguments.slots,
            self.arguments.socket_dir,
        );
        write_private(&folder.join(SETTINGS), &settings)
    }

    /// The server's configuration, once, and its users, whenever there are others. Whether a
    /// running server has to read them.
    fn nats(&self) -> Result<bool> {
        if self.names_users_itself() {
            return Ok(false);
        }
        let folder = self.folder("nats")?;
        let config = folder.join("nats.conf");
        let is_new = !config.exists();
        let users = format!("users: [\n{}]\n", self.users()?);
        let file = folder.join(USERS);
        let changed = std::fs::read_to_string(&file).ok().is_none_or(|known| known != users);
        if changed {
            write_private(&file, &users)?;
        }
        if is_new {
            let text = format!(
                "# nats-server of a Flowcell cluster.\n\
                 listen: {:?}\njetstream {{ store_dir: {:?} }}\n\
                 authorization {{\n  include \"./{USERS}\"\n}}\n",
                self.arguments.nats_listen.to_string(),
                self.arguments.nats_store,
            );
            write_private(&config, &text)?;
        }
        Ok(changed && !is_new)
    }

    /// Whether the configuration is one of before, or somebody else's: it is not written over.
    fn names_users_itself(&self) -> bool {
        let folder = self.arguments.dir.join("nats");
        folder.join("nats.conf").exists() && !folder.join(USERS).exists()
    }

    /// The server knows who may do what: a worker takes tasks of its pool, asks schedulers and
    /// appends events, and can neither offer tasks nor touch a stream.
    fn users(&self) -> Result<String> {
        let dir = &self.arguments.dir;
        let control = read(&dir.join("control").join(NATS_PASSWORD))?;
        let mut users = format!("  {{ user: \"control\", password: {control:?} }}\n");
        for name in self.workers_there()? {
            let folder = dir.join(&name);
            let pool = Settings::load(Some(&folder.join(SETTINGS)))?.worker.queue;
            let password = read(&folder.join(NATS_PASSWORD))?;
            let user = WorkerUser { prefix: PREFIX.to_owned(), name, pools: vec![pool] };
            let (name, permissions) = (&user.name, user.permissions()?.to_config());
            users.push_str(&format!(
                "  {{ user: {name:?}, password: {password:?}, permissions: {permissions} }}\n"
            ));
        }
        Ok(users)
    }

    /// The names of the workers whose settings are written, in order.
    fn workers_there(&self) -> Result<Vec<String>> {
        let dir = &self.arguments.dir;
        let listed =
            std::fs::read_dir(dir).with_context(|| format!("cannot read {}", dir.display()))?;
        let mut names = Vec::new();
        for entry in listed {
            let name = entry.with_context(|| format!("cannot read {}", dir.display()))?.file_name();
            let name = name.to_string_lossy().into_owned();
            if name.starts_with("worker-") && dir.join(&name).join(SETTINGS).exists() {
                names.push(name);
            }
        }
        names.sort();
        Ok(names)
    }

    fn postgres(&self) -> Result<()> {
        let folder = self.folder("postgres")?;
        write_private(&folder.join("password"), &password())
    }
}

fn read(file: &Path) -> Result<String> {
    std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))
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
        let nats = read("nats/users.conf");
        execute(&arguments).unwrap();
        assert_eq!(nats, read("nats/users.conf"), "a second call changes nothing");

        let control = Settings::load(Some(&target.join("control/flowcell.toml"))).unwrap();
        assert!(control.database.url.starts_with("postgres://"));
        let worker = Settings::load(Some(&target.join("worker-2/flowcell.toml"))).unwrap();
        assert_eq!(worker.worker.name, "worker-2");
        assert!(nats.contains(&read("worker-2/nats-password")));
        assert!(!read("worker-1/flowcell.toml").contains("database"));
        for file in
            ["control/key", "control/postgres-password", "nats/nats.conf", "nats/users.conf"]
        {
            let mode = std::fs::metadata(target.join(file)).unwrap().permissions().mode();
            assert_eq!(mode & 0o077, 0, "{file}");
        }
    }

    fn init(line: &[&str]) -> Result<Exit> {
        let line = ["flowcell", "init"].iter().chain(line);
        let Command::Init(arguments) = Arguments::parse_from(line).command else { panic!() };
        execute(&arguments)
    }

    #[test]
    fn workers_and_pools_are_added_and_nothing_else_changes() {
        let dir = tempfile::tempdir().unwrap();
        let target = dir.path().join("cluster");
        let path = target.to_str().unwrap();
        let read = |name: &str| std::fs::read_to_string(target.join(name)).unwrap();
        init(&[path, "--nats", "nats://nats.internal:4222"]).unwrap();
        let files = ["control/flowcell.toml", "worker-1/nats-password", "nats/nats.conf"];
        let before = files.map(read);
        init(&[path, "--workers", "2", "--pool", "gpu=1", "--pool", "eu=1"]).unwrap();
        assert_eq!(before, files.map(read));

        let worker = |name: &str| Settings::load(Some(&target.join(name).join(SETTINGS))).unwrap();
        let gpu = worker("worker-gpu-1");
        assert_eq!((gpu.worker.queue.as_str(), gpu.worker.name.as_str()), ("gpu", "worker-gpu-1"));
        assert_eq!(gpu.bus.url, worker("worker-1").bus.url, "it goes where the others go");
        let users = read("nats/users.conf");
        let line = |name: &str| {
            let named = format!("user: {name:?}");
            users.lines().find(|line| line.contains(&named)).unwrap().to_owned()
        };
        assert!(line("worker-gpu-1").contains("gpu") && !line("worker-gpu-1").contains("eu_"));
        assert!(!line("worker-2").contains("gpu"));
        assert_eq!(users.matches("user: ").count(), 5);

        // Nothing takes a worker away: it may still run.
        init(&[path]).unwrap();
        assert_eq!(users, read("nats/users.conf"));
    }

    #[test]
    fn users_that_stand_elsewhere_are_not_written_over() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("cluster");
        init(&[path.to_str().unwrap()]).unwrap();
        std::fs::remove_file(path.join("nats/users.conf")).unwrap();
        init(&[path.to_str().unwrap()]).unwrap();
        let error = init(&[path.to_str().unwrap(), "--workers", "2"]).unwrap_err();
        assert!(error.to_string().contains("include"), "{error}");
        assert!(!path.join("worker-2").exists(), "a worker that could not log in");
    }
}
