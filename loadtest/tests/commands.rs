//! Both binaries, as a person or a script starts them: the model server is found through its first
//! line and its port file, and the load generator writes its table, its JSON and its picture.

use std::io::{BufRead as _, BufReader};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use anyhow::{Context as _, Result};
use serde_json::Value;

/// A process which does not outlive its test.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn load(arguments: &[&str]) -> Result<Output> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_flowcell-load"));
    Ok(command.args(arguments).env_remove("FLOWCELL_API_KEY").output()?)
}

fn text(path: &Path) -> Result<String> {
    std::fs::read_to_string(path).with_context(|| path.display().to_string())
}

#[test]
fn the_model_server_says_where_it_is() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let port_file = folder.path().join("port");
    let mut child = Command::new(env!("CARGO_BIN_EXE_flowcell-model"))
        .arg("--port-file")
        .arg(&port_file)
        .stdout(Stdio::piped())
        .spawn()?;
    let stdout = child.stdout.take().context("stdout")?;
    let process = Process(child);
    let mut line = String::new();
    BufReader::new(stdout).read_line(&mut line)?;
    let url = line.trim().strip_prefix("listening on ").context("the first line")?;
    // The port is written after the line; a port that answers has been written by then or will be
    // at once, so the file is what is waited for.
    while !port_file.exists() {
        std::thread::yield_now();
    }
    assert!(url.ends_with(&format!(":{}", text(&port_file)?.trim())), "{url}");
    drop(process);
    Ok(())
}

#[test]
fn a_bad_script_or_option_exits_with_64() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let script = folder.path().join("script.json");
    std::fs::write(&script, r#"{"rules":[{"text":"a","delay":3}]}"#)?;
    let model =
        Command::new(env!("CARGO_BIN_EXE_flowcell-model")).arg("--script").arg(&script).output()?;
    assert_eq!(model.status.code(), Some(64));
    let said = String::from_utf8(model.stderr)?;
    assert!(said.contains("script.json") && said.contains("unknown field `delay`"), "{said}");

    let target = ["--url", "http://127.0.0.1:9", "--flow", "f", "--input", "i"];
    for wrong in [
        vec!["run"],
        vec!["run", "--runs", "1", "--rate", "0"],
        vec!["run", "--runs", "1", "--rate", "1", "--concurrency", "2"],
        vec!["sweep", "--runs", "1", "--concurrency", "4,2"],
    ] {
        let output = load(&[wrong.as_slice(), &target].concat())?;
        assert_eq!(output.status.code(), Some(64), "{wrong:?}");
    }
    Ok(())
}

#[test]
fn the_load_generator_writes_its_report() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let (json, plot) = (folder.path().join("r.json"), folder.path().join("r.svg"));
    // A port which was free a moment ago: every run fails, which must be reported and not hidden.
    let free = TcpListener::bind(("127.0.0.1", 0))?.local_addr()?;
    let url = format!("http://{free}");
    let files =
        ["--json", json.to_str().context("path")?, "--plot", plot.to_str().context("path")?];
    let common = ["--url", &url, "--api-key", "sk-hidden", "--flow", "f", "--input", "i"];
    let run = ["run", "--runs", "3", "--concurrency", "2"];
    let output = load(&[&run[..], &common, &files].concat())?;
    assert_eq!(output.status.code(), Some(1));
    let table = String::from_utf8(output.stdout)?;
    assert!(table.contains("3 × unreachable"), "{table}");
    let report = text(&json)?;
    assert!(!report.contains("sk-hidden"));
    let report: Value = serde_json::from_str(&report)?;
    assert_eq!(report["targets"][0]["runs"]["failed"], 3);
    assert_eq!(report["config"]["pace"]["concurrency"], 2);
    assert!(text(&plot)?.contains("runs per second"));

    let run = ["sweep", "--runs", "2", "--concurrency", "1,2"];
    let output = load(&[&run[..], &common, &files].concat())?;
    assert!(String::from_utf8(output.stdout)?.contains("knee of A"));
    let report: Value = serde_json::from_str(&text(&json)?)?;
    assert_eq!(report["steps"].as_array().map(Vec::len), Some(2));
    assert!(text(&plot)?.contains("the knee is marked"));
    Ok(())
}
