//! What commands print, and that nobody has to read it.

use serde_json::Value;

use crate::server::flowcell;

#[test]
fn a_reader_that_is_gone_is_no_error() {
    let home = tempfile::tempdir().unwrap();
    for command in [&["doctor", "--json"][..], &["doctor"], &["completions", "bash"]] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let output = flowcell(home.path()).args(command).stdout(writer).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!((output.status.code(), said.as_str()), (Some(0), ""), "{command:?}");
    }
}

#[test]
fn a_result_that_cannot_be_written_is_an_error() {
    let home = tempfile::tempdir().unwrap();
    let full = std::fs::File::create("/dev/full").unwrap();
    let mut command = flowcell(home.path());
    let output = command.args(["completions", "bash"]).stdout(full).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.starts_with("error: cannot write to standard output"), "{said}");
}

#[test]
fn the_doctor_looks_at_the_data_folder_and_makes_nothing() {
    let home = tempfile::tempdir().unwrap();
    let configuration = home.path().join("flowcell.toml");
    std::fs::write(&configuration, "[worker]\nsocket_dir = \"/dev/null/sockets\"\n").unwrap();
    let data = home.path().join("data");
    let (data, configuration) = (data.to_str().unwrap(), configuration.to_str().unwrap());
    let own = home.path().join(".local/share/flowcell/sockets");
    let cases = [
        (&["--data-dir", data][..], format!("{data}/sockets"), "ok"),
        (&[], own.to_str().unwrap().to_owned(), "ok"),
        (&["--config", configuration], "/dev/null/sockets".to_owned(), "fail"),
        (&["--config", configuration, "--data-dir", data], "/dev/null/sockets".to_owned(), "fail"),
    ];
    for (arguments, directory, verdict) in cases {
        let mut command = flowcell(home.path());
        let output = command.args(["doctor", "--json"]).args(arguments).output().unwrap();
        let checks: Vec<Value> = serde_json::from_slice(&output.stdout).unwrap();
        let check = checks.iter().find(|check| check["name"] == "socket directory").unwrap();
        assert_eq!(check["status"], verdict, "{arguments:?}: {check}");
        assert!(check["found"].as_str().unwrap().starts_with(&directory), "{check}");
    }
    assert_eq!(std::fs::read_dir(home.path()).unwrap().count(), 1, "only the configuration");
}
