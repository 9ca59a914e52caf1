//! Which backends this host and its engine can carry, from what they say of themselves.

use std::fs;
use std::path::Path;

use bollard::models::SystemInfo;

use super::{Check, Status, check, judged, kernel_release, version};
use crate::config::{Backend, Config};

/// Where the engine finds the hierarchies; a launcher's container gets the same ones.
const CGROUPS: &str = "/sys/fs/cgroup";
/// What a launcher limits cells with.
const CONTROLLERS: [&str; 3] = ["memory", "pids", "cpu"];
/// `setns` with a descriptor of a process.
const KERNEL_MIN: (u32, u32) = (5, 8);

/// One line for all backends. It fails when one that is asked for cannot work.
pub(super) fn backends(info: &SystemInfo, config: &Config) -> Check {
    let options = info.security_options.clone().unwrap_or_default();
    let kernel = kernel_release();
    let zygote = against_zygote(&options, &kernel);
    let native = zygote.clone().or_else(|| against_native(Path::new(CGROUPS)));
    let asked = |backend: Backend| {
        let images = config.pool.images.iter().map(|image| image.backend);
        images.map(|own| own.unwrap_or(config.sandbox.backend)).any(|own| own == backend)
    };
    let broken = (zygote.is_some() && asked(Backend::Zygote))
        || (native.is_some() && asked(Backend::Native));
    let slow = zygote.is_some() && asked(Backend::Auto);
    let said =
        |why: &Option<String>| why.as_ref().map_or("yes".into(), |why| format!("no ({why})"));
    check(
        "sandbox",
        if broken { Status::Fail } else { judged(!slow, Status::Warn) },
        format!("warm: yes; zygote: {}; native: {}", said(&zygote), said(&native)),
        "change what is named, or set worker.sandbox.backend to one that works here",
    )
}

/// Why no zygote can enter a cell here. Whether the image has one is seen when it starts.
fn against_zygote(options: &[String], kernel: &str) -> Option<String> {
    let has = |name: &str| options.iter().any(|option| option.contains(name));
    if has("name=rootless") {
        return Some("a rootless engine gives no capabilities over the host's namespaces".into());
    }
    if has("name=userns") {
        return Some("an engine with userns-remap refuses the host's process namespace".into());
    }
    let new = version(kernel).is_some_and(|found| found >= KERNEL_MIN);
    (!new).then(|| format!("kernel {kernel} is older than 5.8"))
}

/// Why no launcher can make cells here, although a zygote could enter them.
fn against_native(cgroups: &Path) -> Option<String> {
    let unified = fs::read_to_string(cgroups.join("cgroup.controllers")).unwrap_or_default();
    let missing = CONTROLLERS.into_iter().find(|name| {
        let own = cgroups.join(name).join("cgroup.procs").is_file();
        !own && !unified.split_whitespace().any(|controller| controller == *name)
    });
    if let Some(name) = missing {
        return Some(format!("no control group hierarchy for {name} in {}", cgroups.display()));
    }
    let file_systems = fs::read_to_string("/proc/filesystems").unwrap_or_default();
    let overlay = file_systems.lines().any(|line| line.ends_with("\toverlay"));
    (!overlay).then(|| "the kernel has no overlay file system loaded".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stands_against_a_zygote_is_named() {
        assert_eq!(against_zygote(&["name=seccomp".into()], "6.18.1"), None);
        assert!(against_zygote(&["name=rootless".into()], "6.18.1").unwrap().contains("rootless"));
        assert!(against_zygote(&["name=userns".into()], "6.18.1").unwrap().contains("userns"));
        assert!(against_zygote(&[], "5.4.0").unwrap().contains("5.4.0"));
    }

    #[test]
    fn every_controller_has_to_be_there_in_either_form() {
        let root = tempfile::tempdir().unwrap();
        assert!(against_native(root.path()).unwrap().contains("memory"));
        fs::write(root.path().join("cgroup.controllers"), "cpuset cpu io memory\n").unwrap();
        assert!(against_native(root.path()).unwrap().contains("pids"));
        fs::create_dir(root.path().join("pids")).unwrap();
        fs::write(root.path().join("pids/cgroup.procs"), "").unwrap();
        let left = against_native(root.path());
        assert!(left.is_none_or(|left| left.contains("overlay")));
    }
}
