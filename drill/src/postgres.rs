//! A Postgres server of the machine's, with a database of its own on loopback.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result};
use sea_orm::{ConnectionTrait, Database};

use crate::command::{Program, RunAs, postgres_programs};
use crate::part::Part;

/// The name of role and database, as `flowcell init` has it.
pub(crate) const NAME: &str = "flowcell";

/// Recycled early, so that a small disk has room for it.
const SMALL_LOG_MEGABYTES: u32 = 64;
const LOG_MEGABYTES: u32 = 1024;

#[derive(Debug)]
pub(crate) struct Setup {
    pub(crate) folder: PathBuf,
    /// The same folder as this process reaches it.
    pub(crate) seen_as: PathBuf,
    pub(crate) port: u16,
    pub(crate) password: String,
    pub(crate) sees_files_of: Option<u32>,
    pub(crate) log: PathBuf,
    /// More settings of the server, `name=value`.
    pub(crate) settings: Vec<String>,
}

impl Setup {
    /// Makes the server's files and starts it.
    pub(crate) fn start(&self) -> Result<Arc<Part>> {
        let run_as = RunAs::for_postgres()?;
        let programs = postgres_programs()?;
        let password = self.password_file(run_as)?;
        let data = self.folder.join("data");
        let program = |words: Vec<String>| Program {
            words,
            environment: vec![("LC_ALL".to_owned(), "C.UTF-8".to_owned())],
            run_as,
            sees_files_of: self.sees_files_of,
        };
        program(vec![
            text(&programs.join("initdb")),
            format!("--pgdata={}", data.display()),
            format!("--username={NAME}"),
            format!("--pwfile={}", password.display()),
            "--auth=scram-sha-256".to_owned(),
            "--encoding=UTF8".to_owned(),
            "--locale=C.UTF-8".to_owned(),
            "--wal-segsize=4".to_owned(),
        ])
        .output()
        .context("making a Postgres cluster")?;
        let log_megabytes =
            if self.sees_files_of.is_some() { SMALL_LOG_MEGABYTES } else { LOG_MEGABYTES };
        let mut words = vec![text(&programs.join("postgres")), "-D".to_owned(), text(&data)];
        for setting in [
            "listen_addresses=127.0.0.1".to_owned(),
            format!("port={}", self.port),
            format!("unix_socket_directories={}", self.folder.display()),
            format!("max_wal_size={log_megabytes}MB"),
        ] {
            words.extend(["-c".to_owned(), setting]);
        }
        for setting in &self.settings {
            words.extend(["-c".to_owned(), setting.clone()]);
        }
        Part::start("Postgres".to_owned(), program(words), self.log.clone())
    }

    /// Makes the database, once the server answers.
    pub(crate) async fn create_database(&self) -> Result<()> {
        let url = self.url("postgres");
        let connection = Database::connect(url).await.context("connecting to Postgres")?;
        connection.execute_unprepared(&format!("CREATE DATABASE {NAME}")).await?;
        Ok(connection.close().await?)
    }

    /// Where a database of it is, without a detour.
    pub(crate) fn url(&self, database: &str) -> String {
        format!("postgres://{NAME}:{}@127.0.0.1:{}/{database}", self.password, self.port)
    }

    fn password_file(&self, run_as: Option<RunAs>) -> Result<PathBuf> {
        fs::create_dir_all(&self.seen_as)?;
        let file = self.seen_as.join("password");
        fs::write(&file, &self.password)?;
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600))?;
        if let Some(RunAs { user, group }) = run_as {
            for path in [&self.seen_as, &file] {
                chown(path, Some(user), Some(group))?;
            }
        }
        Ok(self.folder.join("password"))
    }
}

fn text(path: &Path) -> String {
    path.display().to_string()
}
