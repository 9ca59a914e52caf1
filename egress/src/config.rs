//! What an operator can set on the way out. Each field's comment is its entry in the manual.

use serde::{Deserialize, Serialize};

use crate::Network;
use crate::closed::endpoint;

/// Settings of the egress proxy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Networks that no rule opens, not even one that says `private`: the control plane.
    pub deny: Vec<Network>,
    /// Services that no rule opens, as `host:port`. The program adds what it knows of the cluster
    /// itself: its NATS servers, its database, its own endpoints for operators. Names are resolved
    /// when the worker starts.
    pub deny_endpoints: Vec<String>,
    /// Connections that one cell may have at once; more are refused.
    pub connections_max: u32,
    /// Connections that one cell may open in a second, and at once after a pause; more are
    /// refused.
    pub connections_per_s_max: u32,
    /// Bytes that one cell may move, both ways together; more are refused.
    pub bytes_max: u64,
    /// Bytes that one cell may move in a second, both ways together; more are slowed down. 0 means
    /// no bound.
    pub bytes_per_s_max: u64,
    /// How long name resolution and connecting may take, in milliseconds.
    pub connect_ms_max: u64,
    /// How long a connection may be silent, in milliseconds.
    pub idle_ms_max: u64,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            deny: Vec::new(),
            deny_endpoints: Vec::new(),
            connections_max: 64,
            connections_per_s_max: 50,
            bytes_max: 1024 * 1024 * 1024,
            bytes_per_s_max: 64 * 1024 * 1024,
            connect_ms_max: 10_000,
            idle_ms_max: 300_000,
        }
    }
}

impl Config {
    /// One of [`Self::deny_endpoints`] that is not `host:port`.
    #[must_use]
    pub fn wrong_endpoint(&self) -> Option<&str> {
        let wrong = |text: &&String| endpoint(text).is_none();
        self.deny_endpoints.iter().find(wrong).map(String::as_str)
    }
}
