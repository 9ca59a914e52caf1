//! A second wall, should a mount or a namespace be wrong: Landlock, which the process cannot take
//! down and its children inherit.

use std::io;

use landlock::{
    ABI, Access as _, AccessFs, BitFlags, CompatLevel, Compatible as _, PathBeneath, PathFd,
    RestrictionStatus, Ruleset, RulesetAttr as _, RulesetCreated, RulesetCreatedAttr as _,
    RulesetError, Scope,
};

/// Newer rights than these are not known here; on older kernels those that they lack are left out.
const KNOWN: ABI = ABI::V6;
/// Where a program may make and change files. What is mounted there allows less than this.
const WRITABLE: [&str; 3] = ["/tmp", "/dev/shm", "/dev/mqueue"];
/// Where it may write to files that are there: devices and terminals. Not in `/proc`, where it could
/// have others killed for want of memory before itself (`oom_score_adj`).
const CHANGEABLE: &str = "/dev";

/// From now on files are read everywhere and written in a few places, and neither signals nor
/// abstract sockets reach anybody but this process and its children. Does nothing on a kernel
/// without Landlock (before 5.13, or switched off).
///
/// # Errors
/// What the kernel says.
pub(crate) fn raise() -> io::Result<()> {
    restrict().map(drop).map_err(io::Error::other)
}

fn restrict() -> Result<RestrictionStatus, RulesetError> {
    let mut rules = Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(KNOWN))?
        .scope(Scope::from_all(KNOWN))?
        .create()?
        .set_compatibility(CompatLevel::BestEffort);
    let change = AccessFs::WriteFile | AccessFs::Truncate | AccessFs::IoctlDev;
    let all = [("/", AccessFs::from_read(KNOWN))]
        .into_iter()
        .chain(WRITABLE.map(|path| (path, AccessFs::from_all(KNOWN))))
        .chain([(CHANGEABLE, change)]);
    for (path, access) in all {
        rules = allow(rules, path, access)?;
    }
    rules.restrict_self()
}

/// A place that this image does not have needs no rule.
fn allow(
    rules: RulesetCreated,
    path: &str,
    access: BitFlags<AccessFs>,
) -> Result<RulesetCreated, RulesetError> {
    match PathFd::new(path) {
        Ok(place) => rules.add_rule(PathBeneath::new(place, access)),
        Err(_) => Ok(rules),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::ErrorKind;

    use landlock::RulesetStatus;

    use super::*;

    #[test]
    fn files_are_written_in_a_few_places_only() {
        let elsewhere = tempfile::tempdir_in(env!("CARGO_MANIFEST_DIR")).unwrap();
        let path = elsewhere.path().join("file");
        fs::write(&path, "before").unwrap();
        // It holds for a thread and what that starts.
        let thread = std::thread::spawn(move || {
            if restrict().unwrap().ruleset == RulesetStatus::NotEnforced {
                eprintln!("skipped: this kernel has no Landlock");
                return;
            }
            assert_eq!(fs::read_to_string(&path).unwrap(), "before");
            let score = fs::write("/proc/self/oom_score_adj", "999");
            for denied in [fs::write(&path, "after"), fs::remove_file(&path), score] {
                assert_eq!(denied.unwrap_err().kind(), ErrorKind::PermissionDenied);
            }
            fs::write("/dev/null", "anything").unwrap();
            let inside = tempfile::tempdir_in("/tmp").unwrap();
            fs::write(inside.path().join("file"), "anything").unwrap();
        });
        thread.join().unwrap();
        fs::write(elsewhere.path().join("other"), "the others are as free as before").unwrap();
    }
}
