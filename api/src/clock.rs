//! Times as each protocol writes them.

use domain::time::Timestamp;

/// `2026-11-21T23:02:31.259Z`: our own endpoints.
pub(crate) fn rfc3339(at: Timestamp) -> String {
    format(at, "%Y-%m-%dT%H:%M:%S%.3fZ")
}

/// `2026-11-21T23:02:31+00:00`: Langflow's flows and keys.
pub(crate) fn whole_seconds(at: Timestamp) -> String {
    format(at, "%Y-%m-%dT%H:%M:%S+00:00")
}

/// `2026-11-21T23:02:31.259000Z`: Langflow's users and files.
pub(crate) fn micros(at: Timestamp) -> String {
    format(at, "%Y-%m-%dT%H:%M:%S%.6fZ")
}

/// `2026-11-21 23:02:31.259000 UTC`: Langflow's messages.
pub(crate) fn message(at: Timestamp) -> String {
    format(at, "%Y-%m-%d %H:%M:%S%.6f UTC")
}

/// `2026-11-21_23-02-31`: before the name of a flow's file.
pub(crate) fn in_file_name(at: Timestamp) -> String {
    format(at, "%Y-%m-%d_%H-%M-%S")
}

/// `20261121_230231`: before the name of an archive.
pub(crate) fn in_archive_name(at: Timestamp) -> String {
    format(at, "%Y%m%d_%H%M%S")
}

/// The time that an RFC 3339 text names.
pub(crate) fn parse(text: &str) -> Option<Timestamp> {
    text.parse::<jiff::Timestamp>().ok().map(|at| Timestamp(at.as_millisecond()))
}

fn format(at: Timestamp, pattern: &str) -> String {
    // Times outside of jiff's range (years -9999 to 9999) come only from damaged rows.
    jiff::Timestamp::from_millisecond(at.millis()).unwrap_or_default().strftime(pattern).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms() {
        let at = parse("2026-11-21T23:02:31.259Z").unwrap();
        assert_eq!(rfc3339(at), "2026-11-21T23:02:31.259Z");
        assert_eq!(whole_seconds(at), "2026-11-21T23:02:31+00:00");
        assert_eq!(micros(at), "2026-11-21T23:02:31.259000Z");
        assert_eq!(message(at), "2026-11-21 23:02:31.259000 UTC");
        assert_eq!(in_file_name(at), "2026-11-21_23-02-31");
        assert_eq!(in_archive_name(at), "20261121_230231");
    }
}
