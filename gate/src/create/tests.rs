use serde_json::{Value, json};

use super::*;

const SLOT: &str = "00000000000000ab";
const PEER: Peer = Peer { user: 65_541, group: 65_541 };
const DIR: &str = "/run/fc/65541/worker-1/00000000000000ab";

fn rules() -> Rules {
    Rules { cluster: "c".into(), oci_runtimes: Vec::new(), wheels: Some("/srv/w".into()) }
}

fn bind(source: &str, target: &str) -> Value {
    let options = json!({ "Propagation": "rprivate" });
    json!({ "Type": "bind", "Source": source, "Target": target, "ReadOnly": true,
            "BindOptions": options })
}

fn labels(kind: &str) -> Value {
    json!({ "flowcell.cluster": "c", "flowcell.worker": "w", "flowcell.epoch": "1",
            "flowcell.kind": kind, "flowcell.slot": SLOT })
}

/// What a worker sends for a `warm` cell.
fn cell() -> Value {
    let user = user_number(SLOT);
    let tmpfs =
        format!("rw,noexec,nosuid,nodev,uid={user},gid=65532,mode=0700,size=1,nr_inodes=1024");
    json!({
        "Hostname": "cell", "User": format!("{user}:65532"), "AttachStdin": true,
        "AttachStdout": false, "AttachStderr": true, "OpenStdin": true, "StdinOnce": true,
        "Tty": false, "Image": "flowcell/runner:lfx-1.13", "NetworkDisabled": true,
        "Labels": labels("cell"),
        "HostConfig": {
            "AutoRemove": true, "NetworkMode": "none", "ReadonlyRootfs": true,
            "Tmpfs": { "/tmp": tmpfs },
            "Mounts": [bind(DIR, "/run/flowcell"), bind(&format!("{DIR}/hosts"), "/etc/hosts")],
            "MaskedPaths": [], "ReadonlyPaths": [], "CapDrop": ["ALL"],
            "SecurityOpt": ["no-new-privileges:true", "seccomp={}"],
            "Memory": 1, "MemorySwap": 1, "PidsLimit": 1, "NanoCpus": 1, "CpuShares": 512,
            "Ulimits": [{ "Name": "nofile", "Soft": 9, "Hard": 9 },
                        { "Name": "core", "Soft": 0, "Hard": 0 }],
            "ShmSize": 8_388_608, "OomScoreAdj": 500, "LogConfig": { "Type": "none" },
            "IpcMode": "private",
        },
    })
}

fn zygote() -> Value {
    let groups = json!({ "Type": "bind", "Source": "/sys/fs/cgroup", "Target": "/run/cgroup" });
    json!({
        "Hostname": "cell", "User": "0:0", "AttachStdout": false, "AttachStderr": true,
        "Image": "flowcell/runner:lfx-1.13", "NetworkDisabled": true, "Labels": labels("zygote"),
        "Entrypoint": ZYGOTE,
        "HostConfig": {
            "AutoRemove": true, "NetworkMode": "none", "PidMode": "host", "CgroupnsMode": "host",
            "ReadonlyRootfs": true, "Tmpfs": { "/tmp": "rw,noexec,nosuid,nodev" },
            "Mounts": [bind(DIR, "/run/flowcell"), groups],
            "CapDrop": ["ALL"],
            "CapAdd": ["SYS_ADMIN", "SYS_CHROOT", "SYS_PTRACE", "SETUID", "SETGID", "SETPCAP"],
            "SecurityOpt": ["no-new-privileges:true"], "Memory": 1, "MemorySwap": 1,
            "PidsLimit": 64, "CpuShares": 512, "OomScoreAdj": 500,
            "LogConfig": { "Type": "none" }, "IpcMode": "private",
        },
    })
}

/// What becomes of a body: the container, or the rule that refuses it.
fn judge(body: &str, name: &str) -> Result<(Create, Checked), &'static str> {
    let mut body: Create = serde_json::from_str(body).map_err(|_| "body")?;
    let checked = rules().check(&mut body, name, PEER).map_err(|refusal| refusal.rule)?;
    Ok((body, checked))
}

fn rule_of(body: &Value) -> &'static str {
    let kind = body["Labels"]["flowcell.kind"].as_str().unwrap();
    let prefix = Kind::of(kind).map_or("flowcell-", Kind::prefix);
    judge(&body.to_string(), &format!("{prefix}{SLOT}")).err().unwrap_or("allowed")
}

/// The body with another value at a place; its last part may be new.
fn with(mut body: Value, place: &str, value: Value) -> Value {
    let (parent, last) = place.rsplit_once('/').unwrap();
    let parent = body.pointer_mut(parent).unwrap();
    match parent {
        Value::Array(all) => match last.parse::<usize>() {
            Ok(index) => all[index] = value,
            Err(_) => all.push(value),
        },
        parent => parent[last] = value,
    }
    body
}

#[test]
fn what_a_worker_makes_goes_through_with_the_gate_s_own_lists() {
    let (made, checked) = judge(&cell().to_string(), &format!("flowcell-{SLOT}")).unwrap();
    assert_eq!(checked, Checked { kind: Kind::Cell, slot: SLOT.into(), folder: Some(DIR.into()) });
    assert_eq!(made.labels.get(LABEL_USER), Some("65541"));
    assert!(made.host_config.security_opt[1].ends_with(seccomp::docker_profile()));
    let masked = made.host_config.masked_paths.unwrap();
    assert!(masked.contains(&"/proc/kcore".to_owned()) && masked.len() > 5, "{masked:?}");

    let hollow = with(cell(), "/Entrypoint", json!(CELL_INIT));
    let (made, _) = judge(&hollow.to_string(), &format!("flowcell-{SLOT}")).unwrap();
    assert!(made.host_config.security_opt[1].ends_with(seccomp::docker_stub_profile()));
    assert_eq!(rule_of(&zygote()), "allowed");
    let layer = json!({ "Image": "x", "NetworkDisabled": true, "Labels": labels("layer"),
                        "HostConfig": { "NetworkMode": "none" } });
    assert_eq!(rule_of(&layer), "allowed");
    let build = with(cell(), "/Labels", labels("build"));
    let wheels = with(build.clone(), "/HostConfig/Mounts/-", bind("/srv/w", "/srv/wheels"));
    assert_eq!((rule_of(&build), rule_of(&wheels)), ("allowed", "allowed"));
    let other = with(build, "/HostConfig/Mounts/-", bind("/etc", "/srv/wheels"));
    assert_eq!(rule_of(&other), "mounts");
}

/// A place in the body of a cell, what somebody puts there, and the rule that refuses it.
type Way = ((String, Value), &'static str);

fn host(name: &str, value: Value) -> (String, Value) {
    (format!("/HostConfig/{name}"), value)
}

fn body(name: &str, value: Value) -> (String, Value) {
    (format!("/{name}"), value)
}

fn refused(ways: impl IntoIterator<Item = Way>) {
    for ((place, value), rule) in ways {
        assert_eq!(rule_of(&with(cell(), &place, value.clone())), rule, "{place} {value}");
    }
}

#[test]
fn no_namespace_right_or_file_of_the_host_is_given() {
    refused([
        (host("Privileged", json!(true)), "body"),
        (host("PidMode", json!("host")), "pid"),
        (host("PidMode", json!("container:x")), "pid"),
        (host("CgroupnsMode", json!("host")), "cgroup"),
        (host("IpcMode", json!("host")), "ipc"),
        (host("IpcMode", json!("shareable")), "ipc"),
        (host("UTSMode", json!("host")), "body"),
        (host("UsernsMode", json!("host")), "body"),
        (host("NetworkMode", json!("host")), "network"),
        (host("NetworkMode", json!("bridge")), "network"),
        (host("Binds", json!(["/:/host"])), "body"),
        (host("Binds", json!(["/var/run/docker.sock:/d"])), "body"),
        (host("VolumesFrom", json!(["x"])), "body"),
        (host("Devices", json!([{ "PathOnHost": "/dev/sda" }])), "body"),
        (host("DeviceRequests", json!([])), "body"),
        (host("DeviceCgroupRules", json!(["a *:* rwm"])), "body"),
        (host("CapAdd", json!(["SYS_ADMIN"])), "capabilities"),
        (host("CapDrop", json!([])), "capabilities"),
        (host("CapDrop", json!(["ALL", "x"])), "capabilities"),
        (host("SecurityOpt", json!(["no-new-privileges:true", "seccomp=unconfined"])), "security"),
        (host("SecurityOpt", json!(["no-new-privileges:false", "seccomp={}"])), "security"),
        (host("SecurityOpt", json!(["seccomp={}"])), "security"),
        (
            host(
                "SecurityOpt",
                json!(["no-new-privileges:true", "seccomp={}", "apparmor=unconfined"]),
            ),
            "security",
        ),
        (
            host("SecurityOpt", json!(["no-new-privileges:true", "systempaths=unconfined"])),
            "security",
        ),
    ]);
}

#[test]
fn no_limit_is_lifted_and_nothing_outlives_its_worker() {
    refused([
        (host("CgroupParent", json!("/")), "body"),
        (host("RestartPolicy", json!({ "Name": "always" })), "body"),
        (host("Sysctls", json!({ "kernel.core_pattern": "|/x" })), "body"),
        (host("Runtime", json!("evil")), "runtime"),
        (host("ReadonlyRootfs", json!(false)), "root"),
        (host("AutoRemove", json!(false)), "auto remove"),
        (host("OomKillDisable", json!(true)), "body"),
        (host("OomScoreAdj", json!(-1000)), "oom"),
        (host("LogConfig", json!({ "Type": "syslog" })), "log"),
        (host("LogConfig", json!({ "Type": "none", "Config": { "a": "b" } })), "body"),
        (host("Memory", json!(0)), "limits"),
        (host("MemorySwap", json!(-1)), "limits"),
        (host("PidsLimit", json!(-1)), "limits"),
        (host("NanoCpus", json!(0)), "limits"),
        (host("CpuShares", json!(262_144)), "limits"),
        (host("CpusetCpus", json!("0")), "body"),
        (host("ShmSize", json!(1_i64 << 40)), "limits"),
        (host("Ulimits", json!([])), "limits"),
        (host("Tmpfs", json!({ "/tmp": "rw,exec" })), "tmpfs"),
        (host("Tmpfs", json!({ "/etc": "rw,noexec,nosuid,nodev" })), "tmpfs"),
        (host("VolumeDriver", json!("x")), "body"),
        (host("ExtraHosts", json!(["a:b"])), "body"),
        (host("GroupAdd", json!(["docker"])), "body"),
        (host("Init", json!(true)), "body"),
    ]);
}

#[test]
fn no_other_program_user_or_label_goes_through() {
    refused([
        (body("User", json!("0:0")), "user"),
        (body("User", json!("1073741824:65532")), "user"),
        (body("Entrypoint", json!(["/bin/sh"])), "program"),
        (body("Entrypoint", json!(ZYGOTE)), "program"),
        (body("Cmd", json!(["sh"])), "body"),
        (body("Env", json!(["LD_PRELOAD=/x"])), "body"),
        (body("Volumes", json!({ "/x": {} })), "body"),
        (body("Tty", json!(true)), "tty"),
        (body("NetworkDisabled", json!(false)), "network"),
        (body("Hostname", json!("x")), "hostname"),
        (body("NetworkingConfig", json!({})), "body"),
        (body("Healthcheck", json!({ "Test": ["CMD", "x"] })), "body"),
        (body("OnBuild", json!([])), "body"),
        (body("Labels/flowcell.cluster", json!("other")), "cluster"),
        (body("Labels/com.docker.compose.project", json!("flowcell")), "labels"),
        (body("Labels/flowcell.user", json!("0")), "labels"),
        (body("Labels/flowcell.kind", json!("launcher")), "native"),
        (body("Labels/flowcell.kind", json!("x")), "labels"),
        (body("Labels/flowcell.slot", json!("../../x")), "labels"),
    ]);
}

#[test]
fn mounts_are_the_slot_s_folder_and_its_hosts_and_nothing_else() {
    let at =
        |index: usize, value: Value| with(cell(), &format!("/HostConfig/Mounts/{index}"), value);
    let volume = json!({ "Type": "volume", "Source": "v", "Target": "/run/flowcell" });
    assert_eq!(rule_of(&at(0, volume)), "mounts");
    let driver = json!({ "Type": "bind", "Source": DIR, "Target": "/run/flowcell",
                         "VolumeOptions": {} });
    assert_eq!(rule_of(&at(0, driver)), "body");
    assert_eq!(rule_of(&at(0, bind(DIR, "/etc"))), "mounts");
    assert_eq!(rule_of(&at(1, bind("/etc/shadow", "/etc/hosts"))), "mounts");
    assert_eq!(rule_of(&at(1, bind(&format!("{DIR}/../x/hosts"), "/etc/hosts"))), "mounts");
    let writable = with(bind(DIR, "/run/flowcell"), "/ReadOnly", json!(false));
    assert_eq!(rule_of(&at(0, writable)), "mounts");
    let shared = with(bind(DIR, "/run/flowcell"), "/BindOptions/Propagation", json!("rshared"));
    assert_eq!(rule_of(&at(0, shared)), "mounts");
    let made = with(bind(DIR, "/run/flowcell"), "/BindOptions/CreateMountpoint", json!(true));
    assert_eq!(rule_of(&at(0, made)), "body");
    let more = with(cell(), "/HostConfig/Mounts/-", bind("/", "/host"));
    assert_eq!(rule_of(&more), "mounts");
    let twice = with(cell(), "/HostConfig/Mounts/-", bind("/", "/run/flowcell"));
    assert_eq!(rule_of(&twice), "mounts");
}

#[test]
fn a_zygote_has_its_rights_and_no_other_program() {
    for (place, value, rule) in [
        ("/Entrypoint", json!(["/opt/flowcell/bin/python", "-c", "x"]), "program"),
        (
            "/Entrypoint",
            json!(["/opt/flowcell/bin/python", "-m", "flowcell_runner.zygote", "x"]),
            "program",
        ),
        ("/OpenStdin", json!(true), "streams"),
        ("/HostConfig/CapAdd", json!(["SYS_ADMIN", "SYS_MODULE"]), "capabilities"),
        ("/HostConfig/SecurityOpt", json!(["seccomp=unconfined"]), "security"),
        ("/HostConfig/PidMode", json!("container:x"), "pid"),
        ("/HostConfig/Mounts/1/Source", json!("/"), "mounts"),
        ("/HostConfig/Mounts/1/Target", json!("/opt/flowcell"), "mounts"),
        ("/HostConfig/Mounts/0/Target", json!("/opt/flowcell/lib"), "mounts"),
        ("/HostConfig/NetworkMode", json!("host"), "network"),
    ] {
        assert_eq!(rule_of(&with(zygote(), place, value.clone())), rule, "{place} {value}");
    }
    // Without its label, it is a cell, and a cell has none of this.
    assert_eq!(rule_of(&with(zygote(), "/Labels", labels("cell"))), "user");
}

#[test]
fn json_that_readers_could_understand_differently_is_refused() {
    let body = cell().to_string();
    let name = format!("flowcell-{SLOT}");
    let refused = |from: &str, to: &str| {
        let changed = body.replacen(from, to, 1);
        assert_ne!(changed, body, "{from}");
        assert_eq!(judge(&changed, &name).err(), Some("body"), "{to}");
    };
    refused(r#""Image":"#, r#""image":"debian","Image":"#);
    refused(r#""Image":"#, r#""Image":"debian","Image":"#);
    refused(r#""NetworkMode":"#, r#""networkmode":"host","NetworkMode":"#);
    refused(r#""PidsLimit":"#, r#""privileged":true,"PidsLimit":"#);
    refused(r#""flowcell.kind":"#, r#""flowcell.kind":"x","flowcell.kind":"#);
    refused(r#""/tmp":"#, r#""/tmp":"rw","/tmp":"#);
    refused(r#""HostConfig":{"#, r#""HostConfig":{"Priv\u0069leged":true,"#);
    refused(r#""Memory":1,"#, r#""Memory":1e300,"#);
    assert_eq!(judge(&format!("{body} {body}"), &name).err(), Some("body"));
    assert_eq!(judge(&body, "flowcell-other").err(), Some("name"));
}

#[test]
fn an_oci_runtime_that_is_asked_for_cannot_be_left_out() {
    let strict = Rules { oci_runtimes: vec!["runsc".into()], ..rules() };
    let rule = |body: Value| {
        let mut body: Create = serde_json::from_value(body).unwrap();
        strict.check(&mut body, &format!("flowcell-{SLOT}"), PEER).err().map(|refusal| refusal.rule)
    };
    assert_eq!(rule(cell()), Some("runtime"));
    assert_eq!(rule(with(cell(), "/HostConfig/Runtime", json!("runc"))), Some("runtime"));
    assert_eq!(rule(with(cell(), "/HostConfig/Runtime", json!("runsc"))), None);
}
