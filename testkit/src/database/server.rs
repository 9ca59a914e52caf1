//! A Postgres server for one test run.
//!
//! Test runners start a process per test, so the server belongs to the runner: the first test
//! starts it, the others find it under the runner's process id, and a watchdog outside all of them
//! ends it when the runner is gone, however it went.

use std::fs::File;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, bail, ensure};

/// The URL of a database from which others are created.
pub(super) fn admin_url() -> anyhow::Result<String> {
    if let Some(url) = std::env::var_os("FLOWCELL_TEST_POSTGRES") {
        return url.into_string().ok().context("FLOWCELL_TEST_POSTGRES is not text");
    }
    // An orphan has nobody whose end could be waited for but itself.
    let runner = match std::os::unix::process::parent_id() {
        0 | 1 => std::process::id(),
        parent => parent,
    };
    let base = std::env::temp_dir();
    let directory = base.join(format!("flowcell-postgres-{runner}"));
    let lock = base.join(format!("flowcell-postgres-{runner}.lock"));
    let held = File::create(&lock).context("creating the lock file of the test server")?;
    held.lock().context("locking the test server")?;
    let url = format!("postgres://postgres@localhost/postgres?host={}", directory.display());
    if !directory.join("started").exists() {
        start(&directory)?;
        watch(runner, &directory, &lock)?;
        as_server_user("touch").arg(directory.join("started")).status()?;
    }
    Ok(url)
}

fn start(directory: &Path) -> anyhow::Result<()> {
    let data = directory.join("data");
    run(as_server_user("mkdir").args(["-m", "755"]).arg(directory))?;
    run(as_server_user(binary("initdb")?)
        .args(["--username=postgres", "--auth=trust", "--encoding=UTF8", "--no-sync", "-D"])
        .arg(&data))?;
    // Nothing of it has to survive anything, so it need not wait for the disk.
    let options = format!(
        "-c listen_addresses= -c unix_socket_directories={} -c fsync=off \
         -c synchronous_commit=off -c full_page_writes=off -c max_connections=300 \
         -c shared_buffers=64MB",
        directory.display()
    );
    run(as_server_user(binary("pg_ctl")?)
        .args(["start", "-w", "-t", "60", "-o", &options, "-l"])
        .arg(directory.join("log"))
        .arg("-D")
        .arg(&data))
}

/// Leaves somebody behind who ends the server after the runner.
fn watch(runner: u32, directory: &Path, lock: &Path) -> anyhow::Result<()> {
    let stop = r#"
        while kill -0 "$1" 2>/dev/null; do sleep 0.3; done
        "$2" stop -m immediate -D "$3/data"
        rm -rf "$3" "$4"
    "#;
    Command::new("setsid")
        .args(["sh", "-c", stop, "watchdog", &runner.to_string()])
        .arg(stopper(directory)?)
        .arg(directory)
        .arg(lock)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .context("starting the watchdog of the test server")?;
    Ok(())
}

/// `pg_ctl` refuses root, so root gets a script that changes the user first.
fn stopper(directory: &Path) -> anyhow::Result<PathBuf> {
    let pg_ctl = binary("pg_ctl")?;
    if !is_root()? {
        return Ok(pg_ctl);
    }
    let script = directory.join("pg_ctl");
    let text = format!("#!/bin/sh\nexec runuser -u postgres -- {} \"$@\"\n", pg_ctl.display());
    std::fs::write(&script, text)?;
    run(Command::new("chmod").arg("755").arg(&script))?;
    Ok(script)
}

/// A command as a user that Postgres agrees to run as.
fn as_server_user(program: impl AsRef<std::ffi::OsStr>) -> Command {
    if matches!(is_root(), Ok(true)) {
        let mut command = Command::new("runuser");
        command.args(["-u", "postgres", "--"]).arg(program);
        return command;
    }
    Command::new(program)
}

fn is_root() -> anyhow::Result<bool> {
    Ok(std::fs::metadata("/proc/self")?.uid() == 0)
}

fn run(command: &mut Command) -> anyhow::Result<()> {
    // Output goes to a file: a server that inherited a pipe would keep it open.
    let mut output = tempfile::tempfile()?;
    let status = command
        .stdin(Stdio::null())
        .stdout(output.try_clone()?)
        .stderr(output.try_clone()?)
        .current_dir("/")
        .status()
        .with_context(|| format!("running {command:?}"))?;
    if !status.success() {
        use std::io::{Read, Seek};
        let mut text = String::new();
        output.rewind()?;
        output.read_to_string(&mut text)?;
        bail!("{command:?} failed: {text}");
    }
    Ok(())
}

/// A program of the newest Postgres of the machine; Debian keeps them out of the path.
fn binary(name: &str) -> anyhow::Result<PathBuf> {
    let mut found: Vec<PathBuf> = std::fs::read_dir("/usr/lib/postgresql")
        .context("no Postgres is installed and FLOWCELL_TEST_POSTGRES is not set")?
        .filter_map(|version| Some(version.ok()?.path().join("bin").join(name)))
        .filter(|path| path.exists())
        .collect();
    found.sort();
    ensure!(!found.is_empty(), "no {name} in /usr/lib/postgresql/*/bin");
    found.pop().context("no Postgres is installed")
}
