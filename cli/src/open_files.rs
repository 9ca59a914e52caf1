//! How many files and sockets this process may have open.

use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// Takes all that the operator allows. Each stream of events is a socket, and the soft limit of
/// most shells (1,024) is there for programs that use `select`, as none of ours does.
pub(crate) fn take_all() {
    let resource = Resource::RLIMIT_NOFILE;
    let raised = getrlimit(resource).and_then(|(_, most)| setrlimit(resource, most, most));
    if let Err(error) = raised {
        // No reason to end: what is there may do.
        crate::output::note(format_args!("the limit of open files stays as it is: {error}"));
    }
}
