//! What should not be there any more.

use super::{Check, Evidence};

pub(super) fn nothing_is_left(evidence: &Evidence) -> Check {
    let mut check = Check::new("nothing is left behind, and every process ends in order");
    let unfinished = evidence.rows.unfinished;
    for (count, what) in [
        (unfinished.unpublished, "messages that were never published"),
        (unfinished.leases, "leases"),
        (unfinished.open_tasks, "tasks that are not over"),
    ] {
        check.look((count > 0).then(|| format!("{count} {what}")));
    }
    for remains in &evidence.remains {
        check.look([remains.clone()]);
    }
    check
}
