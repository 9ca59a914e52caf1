//! Whether this host can run cells, for `flowcell doctor`: what was found, and what to do.

mod backends;

use std::path::Path;
use std::time::Duration;

use bollard::Docker;
use bollard::errors::Error as Engine;
use bollard::models::{SystemInfo, SystemInfoCgroupVersionEnum};
use bollard::query_parameters::ListNetworksOptions;
use nix::unistd::AccessFlags;
use serde::Serialize;
use tokio::time::timeout;

use crate::config::Config;
use crate::sandbox::containers::connect;

/// The engine may take this long for one answer.
const ANSWER_MAX: Duration = Duration::from_secs(10);
/// Below this an image build or a burst of containers may fill the disk.
const DISK_BYTES_WARN: u64 = 5 * 1024 * 1024 * 1024;
/// Below this nothing works for long.
const DISK_BYTES_FAIL: u64 = 512 * 1024 * 1024;
/// The oldest API with everything that is used here.
const API_MIN: (u32, u32) = (1, 41);
/// Clocks of engine and worker differ by more only when something is wrong.
const CLOCK_SKEW_MAX: Duration = Duration::from_secs(5);

/// The verdict of a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// As it should be.
    Ok,
    /// Works, but not as well as it could.
    Warn,
    /// Cells cannot run.
    Fail,
}

/// One check.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Check {
    /// What was looked at.
    pub name: String,
    /// The verdict.
    pub status: Status,
    /// What was found.
    pub found: String,
    /// What to do; empty when nothing is to be done.
    pub advice: String,
}

fn check(name: &str, status: Status, found: impl Into<String>, advice: &str) -> Check {
    let advice = if status == Status::Ok { "" } else { advice };
    Check { name: name.into(), status, found: found.into(), advice: advice.into() }
}

fn judged(good: bool, otherwise: Status) -> Status {
    if good { Status::Ok } else { otherwise }
}

/// Looks at everything a worker with these settings needs.
pub async fn examine(config: &Config) -> Vec<Check> {
    let mut checks = vec![settings(config), kernel(), socket_dir(config)];
    let docker = match timeout(ANSWER_MAX, connect(&config.docker_host)).await {
        Ok(Ok(docker)) => docker,
        Ok(Err(error)) => {
            checks.push(unreachable(config, &error.to_string()));
            return checks;
        }
        Err(_) => {
            checks.push(unreachable(config, "no answer"));
            return checks;
        }
    };
    checks.push(check("docker", Status::Ok, format!("answers on {}", config.docker_host), ""));
    checks.push(api(&docker).await);
    checks.push(rights(&docker).await);
    if let Ok(Ok(info)) = timeout(ANSWER_MAX, docker.info()).await {
        checks.extend(engine(&info, config));
    }
    for image in &config.pool.images {
        checks.push(image_present(&docker, &image.image).await);
    }
    checks
}

fn settings(config: &Config) -> Check {
    match config.validate() {
        Ok(()) => check("settings", Status::Ok, "valid", ""),
        Err(error) => check("settings", Status::Fail, error.to_string(), "change the setting"),
    }
}

fn kernel() -> Check {
    let release = kernel_release();
    let good = version(&release).is_some_and(|found| found >= (5, 8));
    check(
        "kernel",
        judged(good, Status::Warn),
        if release.is_empty() { "unknown" } else { &release },
        "use Linux 5.8 or newer",
    )
}

fn kernel_release() -> String {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    release.trim().to_owned()
}

/// Looks without making anything: the directory may become another user's.
fn socket_dir(config: &Config) -> Check {
    let path = config.socket_dir.display();
    let there = config.socket_dir.ancestors().find(|path| path.exists());
    let there = there.unwrap_or(Path::new("."));
    let access = AccessFlags::W_OK | AccessFlags::X_OK;
    let (status, found) = match nix::unistd::access(there, access) {
        Ok(()) if there.is_dir() => (Status::Ok, path.to_string()),
        Ok(()) => (Status::Fail, format!("{path}: {} is no directory", there.display())),
        Err(error) => (Status::Fail, format!("{path}: {}: {error}", there.display())),
    };
    let advice = "set worker.socket_dir to a directory that this user may write";
    check("socket directory", status, found, advice)
}

fn unreachable(config: &Config, reason: &str) -> Check {
    check(
        "docker",
        Status::Fail,
        format!("{}: {reason}", config.docker_host),
        "start the engine (scripts/lib/docker.sh does), or add this user to the group docker, or \
         set worker.docker_host",
    )
}

async fn api(docker: &Docker) -> Check {
    let advice = "install Docker 20.10 or newer";
    match timeout(ANSWER_MAX, docker.version()).await {
        Ok(Ok(found)) => {
            let api = found.api_version.unwrap_or_default();
            let good = version(&api).is_some_and(|found| found >= API_MIN);
            let engine = found.version.unwrap_or_default();
            check(
                "docker version",
                judged(good, Status::Fail),
                format!("{engine}, API {api}"),
                advice,
            )
        }
        Ok(Err(error)) => check("docker version", Status::Fail, error.to_string(), advice),
        Err(_) => check("docker version", Status::Fail, "no answer", advice),
    }
}

/// Whether this socket gives more than a worker needs. Tried out: a list of networks is what no
/// worker asks for, and what the gate refuses.
async fn rights(docker: &Docker) -> Check {
    let asked = timeout(ANSWER_MAX, docker.list_networks(None::<ListNetworksOptions>)).await;
    let found = match asked {
        Ok(Err(Engine::DockerResponseServerError { status_code: 403, message }))
            if message.contains("docker-gate") =>
        {
            "restricted by a docker-gate"
        }
        Ok(Err(Engine::DockerResponseServerError { status_code: 403, .. })) => "restricted",
        Ok(Ok(_)) => {
            "not restricted: who has it can be root here (`flowcell docker-gate` restricts)"
        }
        Ok(Err(_)) | Err(_) => "unknown",
    };
    check("docker socket", Status::Ok, found, "")
}

fn engine(info: &SystemInfo, config: &Config) -> Vec<Check> {
    let mut checks = Vec::new();
    let v2 = info.cgroup_version == Some(SystemInfoCgroupVersionEnum::_2);
    checks.push(check(
        "cgroup version",
        judged(v2, Status::Warn),
        if v2 { "2" } else { "1" },
        "boot with systemd.unified_cgroup_hierarchy=1: limits are firmer and cheaper",
    ));
    let limits = [info.memory_limit, info.cpu_cfs_quota, info.pids_limit];
    checks.push(check(
        "resource limits",
        judged(limits.iter().all(|limit| *limit == Some(true)), Status::Fail),
        format!("memory, cpu, pids: {limits:?}"),
        "the kernel or a rootless engine lacks controllers that limits need",
    ));
    let options = info.security_options.clone().unwrap_or_default();
    checks.push(check(
        "seccomp",
        judged(options.iter().any(|option| option.contains("seccomp")), Status::Fail),
        options.join(" "),
        "use an engine with seccomp and its default profile",
    ));
    if let Some(runtime) = &config.oci_runtime {
        let known = info.runtimes.as_ref().is_some_and(|runtimes| runtimes.contains_key(runtime));
        checks.push(check(
            "oci runtime",
            judged(known, Status::Fail),
            runtime.as_str(),
            "add the runtime to the engine, or unset worker.oci_runtime",
        ));
    }
    checks.extend(info.docker_root_dir.as_deref().map(disk));
    checks.extend(info.system_time.as_deref().map(clock));
    checks.push(memory(info, config));
    checks.push(backends::backends(info, config));
    checks
}

fn disk(root: &str) -> Check {
    let advice = "free space: docker image prune --filter label=flowcell.image, or a larger disk";
    match nix::sys::statvfs::statvfs(root) {
        Ok(stat) => {
            let free: u64 = stat.blocks_available().saturating_mul(stat.fragment_size());
            let status = match free {
                0..DISK_BYTES_FAIL => Status::Fail,
                DISK_BYTES_FAIL..DISK_BYTES_WARN => Status::Warn,
                _ => Status::Ok,
            };
            check("disk", status, format!("{} MiB free in {root}", free / (1024 * 1024)), advice)
        }
        Err(error) => check("disk", Status::Warn, format!("{root}: {error}"), advice),
    }
}

fn clock(engine_time: &str) -> Check {
    let advice = "synchronise the clock (systemd-timesyncd, chrony)";
    let Ok(engine) = engine_time.parse::<jiff::Timestamp>() else {
        return check("clock", Status::Warn, format!("unreadable: {engine_time}"), advice);
    };
    let now = jiff::Timestamp::now();
    let skew = now.duration_since(engine).unsigned_abs();
    check(
        "clock",
        judged(skew <= CLOCK_SKEW_MAX, Status::Warn),
        format!("{now}, {} ms from the engine's", skew.as_millis()),
        advice,
    )
}

fn memory(info: &SystemInfo, config: &Config) -> Check {
    let total = info.mem_total.and_then(|bytes| u64::try_from(bytes).ok()).unwrap_or(0);
    let promised = u64::from(config.containers_max()).saturating_mul(config.limits.memory_bytes);
    let mib = |bytes: u64| bytes / (1024 * 1024);
    check(
        "memory",
        judged(promised <= total, Status::Warn),
        format!("{} MiB, promised to cells: {} MiB", mib(total), mib(promised)),
        "lower worker.slots or worker.pool, or set worker.pool.memory_bytes_max",
    )
}

async fn image_present(docker: &Docker, image: &str) -> Check {
    let name = format!("image {image}");
    let advice = "build or pull the image: scripts/images";
    match timeout(ANSWER_MAX, docker.inspect_image(image)).await {
        Ok(Ok(found)) => check(&name, Status::Ok, found.id.unwrap_or_default(), advice),
        Ok(Err(_)) => check(&name, Status::Fail, "not on this engine", advice),
        Err(_) => check(&name, Status::Fail, "no answer", advice),
    }
}

/// The first two numbers of a version.
fn version(text: &str) -> Option<(u32, u32)> {
    let mut numbers = text.split(['.', '-', '+']).map(str::parse::<u32>);
    Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_compared_as_numbers() {
        assert_eq!(version("1.41"), Some((1, 41)));
        assert_eq!(version("6.18.44-fc-v669"), Some((6, 18)));
        assert!(version("1.9") < version("1.41"));
        assert_eq!(version("x"), None);
    }

    #[tokio::test]
    async fn an_engine_that_is_away_is_a_failure_with_advice() {
        let config = Config {
            docker_host: "unix:///nonexistent/docker.sock".into(),
            socket_dir: std::env::temp_dir(),
            ..Config::default()
        };
        let checks = examine(&config).await;
        let docker = checks.iter().find(|check| check.name == "docker").unwrap();
        assert_eq!(docker.status, Status::Fail);
        assert!(docker.advice.contains("worker.docker_host"));
    }

    #[test]
    fn the_socket_directory_is_looked_at_and_not_made() {
        let dir = tempfile::tempdir().unwrap();
        let of = |path: &str| {
            let config = Config { socket_dir: dir.path().join(path), ..Config::default() };
            socket_dir(&config)
        };
        assert_eq!(of("a/b").status, Status::Ok);
        assert!(!dir.path().join("a").exists());
        std::fs::write(dir.path().join("file"), "").unwrap();
        let check = of("file/b");
        assert_eq!(check.status, Status::Fail);
        assert!(check.found.contains("file"), "{check:?}");
    }

    #[test]
    fn the_clock_of_the_engine_is_compared() {
        assert_eq!(clock(&jiff::Timestamp::now().to_string()).status, Status::Ok);
        assert_eq!(clock("2001-01-01T00:00:00.5+02:00").status, Status::Warn);
        assert_eq!(clock("?").status, Status::Warn);
    }
}
