//! What a rerun's caller changes: the request of the new run, and the nodes that it builds
//! otherwise.

use std::collections::BTreeSet;

use domain::flow::Graph;
use domain::input::Input;
use domain::rerun::{Form, changed};
use domain::tweaks;
use proto::http::Rerun;
use proto::run::RunRequest;
use serde_json::{Map, Value};

use crate::error::Error;
use crate::start_run::{input_type, tweaked};

/// The earlier run's request with what is wanted otherwise.
pub(super) fn request(earlier: RunRequest, wanted: &Rerun) -> RunRequest {
    RunRequest {
        input_value: wanted.input_value.clone().or(earlier.input_value),
        tweaks: merged(earlier.tweaks, &wanted.tweaks),
        ..earlier
    }
}

/// The nodes that the new request builds otherwise than the earlier one, by id.
///
/// # Errors
/// Tweaks that a new run would be refused for, and those that name nothing: here a mistake in a
/// name would otherwise be a run that does nothing.
pub(super) fn nodes(
    graph: &Graph,
    earlier: &RunRequest,
    new: &RunRequest,
    wanted: &Rerun,
    policy: tweaks::Policy,
) -> Result<BTreeSet<String>, Error> {
    let kind = input_type(&new.input_type);
    tweaks::check_input(&new.tweaks, new.input_value.is_some(), kind)?;
    tweaks::check(graph, &wanted.tweaks, policy)?;
    let unmatched = tweaks::apply(&mut graph.clone(), &wanted.tweaks, None)?.unmatched;
    if let Some(name) = unmatched.first() {
        return Err(Error::BodyInvalid(format!("tweaks: the flow has no {name:?}")));
    }
    let (before, after) = (tweaked(graph, earlier)?, tweaked(graph, new)?);
    let (said, says) = (input(earlier), input(new));
    let before = Form { graph: &before, input: &said };
    Ok(changed(&before, &Form { graph: &after, input: &says }))
}

/// Later tweaks win; what names the same node is put together field by field.
fn merged(mut tweaks: Map<String, Value>, more: &Map<String, Value>) -> Map<String, Value> {
    for (key, value) in more {
        // Of two names for one node the later one wins, so what is changed goes to the end.
        let mut value = value.clone();
        if let (Some(Value::Object(old)), Value::Object(new)) =
            (tweaks.shift_remove(key), &mut value)
        {
            let new = std::mem::replace(new, old);
            if let Value::Object(all) = &mut value {
                all.extend(new);
            }
        }
        tweaks.insert(key.clone(), value);
    }
    tweaks
}

fn input(request: &RunRequest) -> Input {
    Input {
        value: request.input_value.clone(),
        input_type: input_type(&request.input_type),
        ..Input::default()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn later_tweaks_win_field_by_field() {
        let map = |value: Value| value.as_object().cloned().unwrap();
        let earlier = map(json!({"A": {"x": 1, "y": 2}, "B": {"z": 3}, "temperature": 0}));
        let more = map(json!({"A": {"y": 4}, "temperature": 1}));
        let text = serde_json::to_string(&merged(earlier, &more)).unwrap();
        assert_eq!(text, r#"{"B":{"z":3},"A":{"x":1,"y":4},"temperature":1}"#);
    }
}
