//! The fake runner as images: one per way to behave before it is ready.

use std::fs::{self, File};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::Path;
use std::process::{Command, Stdio};

use nix::fcntl::{Flock, FlockArg};

const SOURCE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/fake_runner.rs");

/// The image of a mode (`normal`, `exit-at-once`, …), built when it is not there.
pub(crate) fn of(mode: &str) -> String {
    let mut hasher = DefaultHasher::new();
    fs::read(SOURCE).unwrap().hash(&mut hasher);
    let tag = format!("flowcell/fake-runner:{:016x}-{mode}", hasher.finish());
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
    // Tests are processes of their own and start together.
    let lock = File::create(folder.join("fake-runner.lock")).unwrap();
    let _lock = Flock::lock(lock, FlockArg::LockExclusive).map_err(|(_, error)| error).unwrap();
    if run(Command::new("docker").args(["image", "inspect", &tag])) {
        return tag;
    }
    let root = tempfile::tempdir_in(folder).unwrap();
    for directory in ["tmp", "proc", "sys", "dev", "etc", "run/flowcell"] {
        fs::create_dir_all(root.path().join(directory)).unwrap();
    }
    let binary = root.path().join("runner");
    let options = ["-O", "-Cpanic=abort", "-Cstrip=symbols", "-Ctarget-feature=+crt-static"];
    let mut rustc = Command::new("rustc");
    rustc.args(["--edition", "2024"]).args(options).arg("-o").arg(&binary).arg(SOURCE);
    assert!(run(&mut rustc), "the fake runner does not compile");
    let mut tar = Command::new("tar")
        .args(["-C", root.path().to_str().unwrap(), "-c", "."])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut import = Command::new("docker");
    import
        .args(["import", "--change", "ENTRYPOINT [\"/runner\"]"])
        .args(["--change", &format!("CMD [\"{mode}\"]"), "-", &tag])
        .stdin(tar.stdout.take().unwrap());
    assert!(run(&mut import), "docker import failed");
    assert!(tar.wait().unwrap().success());
    tag
}

fn run(command: &mut Command) -> bool {
    let output = command.stdout(Stdio::null()).output().unwrap();
    if !output.status.success() {
        eprintln!("{}", String::from_utf8_lossy(&output.stderr));
    }
    output.status.success()
}
