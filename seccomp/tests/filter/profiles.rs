//! What is committed is what the lists make.

use std::path::Path;
use std::{env, fs};

/// `FLOWCELL_WRITE_PROFILES=1 cargo nextest run -p flowcell-seccomp` writes the files anew.
#[test]
fn committed_profiles_are_those_of_the_lists() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for (name, wanted) in [
        ("docker.json", flowcell_seccomp::docker_profile()),
        ("docker-stub.json", flowcell_seccomp::docker_stub_profile()),
    ] {
        let path = root.join(name);
        if env::var_os("FLOWCELL_WRITE_PROFILES").is_some() {
            fs::write(&path, wanted).unwrap();
        }
        let committed = fs::read_to_string(&path).unwrap_or_default();
        assert!(committed == wanted, "{name} is out of date: run with FLOWCELL_WRITE_PROFILES=1");
    }
}

#[test]
fn the_profile_has_one_architecture_and_no_namespaces() {
    let profile: serde_json::Value =
        serde_json::from_str(flowcell_seccomp::docker_profile()).unwrap();
    assert_eq!(profile["defaultAction"], "SCMP_ACT_ERRNO");
    for arch in profile["archMap"].as_array().unwrap() {
        assert_eq!(arch["subArchitectures"].as_array().unwrap().len(), 0);
    }
    let plain = profile["syscalls"][0]["names"].as_array().unwrap();
    for name in ["clone", "clone3", "unshare", "mount", "ptrace", "bpf", "socket", "ioctl"] {
        assert!(!plain.iter().any(|allowed| allowed == name), "{name} without a condition");
    }
}
