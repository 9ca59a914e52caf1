//! What a server does when a part of its data folder is missing.

use std::fs;

use crate::server::{Server, flowcell};
use crate::skip;

#[test]
fn a_database_without_its_key_is_refused() {
    let home = tempfile::tempdir().unwrap();
    let data = home.path().join("data");
    fs::create_dir(&data).unwrap();
    fs::write(data.join("flowcell.db"), "").unwrap();
    let output = flowcell(home.path())
        .args(["up", "--listen", "127.0.0.1:0", "--data-dir"])
        .arg(&data)
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8(output.stderr).unwrap();
    let key = data.join("key");
    assert!(said.contains(&format!("{} is gone", key.display())), "{said}");
    assert!(said.contains("restore it from a backup"), "{said}");
    assert!(!key.exists(), "another key would hide that the old one is missing");
    assert_eq!(fs::read(data.join("flowcell.db")).unwrap(), b"", "nothing was written");
}

#[test]
fn a_new_client_key_replaces_one_that_is_gone_and_the_old_one_stays_good() {
    if skip() {
        return;
    }
    let home = tempfile::tempdir().unwrap();
    let client_env = home.path().join("data/client.env");
    let list = |key: Option<&str>| {
        let mut command = flowcell(home.path());
        if let Some(key) = key {
            command.env("FLOWCELL_API_KEY", key);
        }
        command.args(["flow", "list", "--json", "--data-dir"]).arg(home.path().join("data"));
        command.output().unwrap().status.code()
    };
    let mut first = Server::start(home.path());
    let (_, old) = first.credentials();
    assert!(first.stop().success());
    fs::remove_file(&client_env).unwrap();

    let mut second = Server::start(home.path());
    let (_, new) = second.credentials();
    assert_ne!(new, old);
    assert_eq!(list(None), Some(0), "the new key");
    assert_eq!(list(Some(&old)), Some(0), "the old key");
    assert_eq!(list(Some("sk-wrong")), Some(3), "no key");
    assert!(second.stop().success());

    let mut third = Server::start(home.path());
    assert_eq!(third.credentials().1, new, "a key that is known is not made again");
    assert!(third.stop().success());
}

#[test]
fn tenants_are_added_beside_a_running_server() {
    if skip() {
        return;
    }
    let home = tempfile::tempdir().unwrap();
    let tenant = |words: &[&str]| {
        let mut command = flowcell(home.path());
        command.arg("tenant").args(words).arg("--data-dir").arg(home.path().join("data"));
        command.output().unwrap()
    };
    let early = tenant(&["add", "acme"]);
    assert_eq!(early.status.code(), Some(1));
    let said = String::from_utf8(early.stderr).unwrap();
    assert!(said.contains("start `flowcell up` once"), "{said}");

    let mut server = Server::start(home.path());
    let added = tenant(&["add", "acme", "--user", "ann"]);
    assert_eq!(added.status.code(), Some(0));
    let shown = String::from_utf8(added.stdout).unwrap();
    let key = shown.lines().find_map(|line| line.strip_prefix("API key  ")).unwrap();
    let mut list = flowcell(home.path());
    list.env("FLOWCELL_API_KEY", key).args(["flow", "list", "--data-dir"]);
    let listed = list.arg(home.path().join("data")).output().unwrap();
    assert_eq!(listed.status.code(), Some(0), "its key is good at once");
    let tenants = String::from_utf8(tenant(&["list"]).stdout).unwrap();
    assert!(tenants.contains("  default\n") && tenants.contains("  acme\n"), "{tenants}");
    assert_eq!(tenant(&["add", "acme"]).status.code(), Some(1), "the name is taken");
    assert!(server.stop().success());
}
