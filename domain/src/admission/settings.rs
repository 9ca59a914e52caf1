//! What is set for admission.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Terms, WEIGHT};
use crate::retry::RetrySettings;

/// What an operator sets for a tenant. What is absent is not limited.
///
/// Unknown keys are passed over: a newer program may have written them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct TenantSettings {
    /// Its share of the slots while others want them too, relative to theirs; the usual is 100.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub weight: Option<u32>,
    /// Most slots of a queue at once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub slots_max: Option<u32>,
    /// Most runs that are open at once; more wait.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub runs_max: Option<u32>,
    /// Most runs that wait; more are refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub queued_max: Option<u32>,
    /// Most runs that are accepted in a minute; more are refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub runs_per_minute: Option<u32>,
}

/// What is set for a flow.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct FlowSettings {
    /// Most runs of it that are open at once; more wait.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub runs_max: Option<u32>,
    /// The pool whose workers run it, where a run does not say.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pool: Option<String>,
    /// How its tasks are retried, where that is not as for the installation.
    #[serde(skip_serializing_if = "RetrySettings::is_empty")]
    pub retry: RetrySettings,
    /// What is set for its nodes, by id or display name.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub nodes: BTreeMap<String, NodeSettings>,
}

/// What is set for a node of a flow.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct NodeSettings {
    /// The pool whose workers run its cell, whatever its run says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pool: Option<String>,
    /// How its cell is retried, where that is not as for the flow.
    #[serde(skip_serializing_if = "RetrySettings::is_empty")]
    pub retry: RetrySettings,
}

impl TenantSettings {
    /// What a round has to know.
    #[must_use]
    pub fn terms(&self) -> Terms {
        Terms { weight: self.weight.unwrap_or(WEIGHT), slots_max: self.slots_max }
    }
}
