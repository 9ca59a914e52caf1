//! `flowcell limits show|set|unset`.

mod units;

use std::collections::BTreeMap;

use anyhow::Result;
use domain::limits::Setting;
use proto::http::{LimitsSet, LimitsView};
use reqwest::Method;

use crate::args::{LimitsCommand, LimitsScope};
use crate::client::{Client, Refusal, percent_encode};
use crate::exit::Exit;
use crate::output;

pub(crate) async fn execute(command: LimitsCommand) -> Result<Exit> {
    match command {
        LimitsCommand::Show { scope, json } => {
            let view = Limits::of(&scope)?.view().await?;
            if json {
                output::line(serde_json::to_string_pretty(&view)?)?;
            } else {
                output::piece(table(&view))?;
            }
        }
        LimitsCommand::Set { values, maximum, scope } => {
            let values: Vec<(Setting, u64)> =
                values.iter().map(|value| units::assignment(value)).collect::<Result<_, _>>()?;
            let limits = Limits::of(&scope)?;
            let mut set = limits.view().await?.set;
            let changed = part(&mut set, maximum)?;
            for (setting, value) in &values {
                changed.insert(setting.name().to_owned(), *value);
            }
            let view = limits.put(&set).await?;
            for (setting, _) in values {
                output::line(line(setting, &view, maximum))?;
            }
        }
        LimitsCommand::Unset { names, maximum, scope } => {
            let names: Vec<Setting> =
                names.iter().map(|name| units::setting(name)).collect::<Result<_, _>>()?;
            let limits = Limits::of(&scope)?;
            if names.is_empty() && !maximum {
                limits.delete().await?;
                output::line(format_args!("nothing is set {}", limits.place()))?;
                return Ok(Exit::Done);
            }
            let mut set = limits.view().await?.set;
            let changed = part(&mut set, maximum)?;
            changed.retain(|name, _| {
                !names.is_empty() && !names.iter().any(|setting| setting.name() == name)
            });
            let view = limits.put(&set).await?;
            if names.is_empty() {
                output::line(format_args!("no maximum is set {}", limits.place()))?;
            }
            for setting in names {
                output::line(line(setting, &view, maximum))?;
            }
        }
    }
    Ok(Exit::Done)
}

/// The limits of one tenant or flow on the server.
struct Limits {
    client: Client,
    flow: Option<String>,
    path: String,
}

impl Limits {
    fn of(scope: &LimitsScope) -> Result<Self> {
        let path = match &scope.flow {
            Some(flow) => format!("/api/flowcell/v1/flows/{}/limits", percent_encode(flow)),
            None => scope.of.on("/api/flowcell/v1/limits"),
        };
        Ok(Self { client: Client::new(&scope.client)?, flow: scope.flow.clone(), path })
    }

    async fn view(&self) -> Result<LimitsView> {
        self.client.get(&self.path).await
    }

    async fn put(&self, set: &LimitsSet) -> Result<LimitsView> {
        self.client.json(self.client.request(Method::PUT, &self.path).json(set)).await
    }

    async fn delete(&self) -> Result<()> {
        self.client.send(self.client.request(Method::DELETE, &self.path)).await.map(drop)
    }

    fn place(&self) -> String {
        let tenant = || "for the tenant".to_owned();
        self.flow.as_ref().map_or_else(tenant, |flow| format!("for flow {flow:?}"))
    }
}

/// The values, or the maxima, which only a tenant has.
fn part(set: &mut LimitsSet, maximum: bool) -> Result<&mut BTreeMap<String, u64>> {
    match (maximum, &mut set.maximum) {
        (false, _) => Ok(&mut set.limits),
        (true, Some(maximum)) => Ok(maximum),
        (true, None) => {
            let text = "a flow has no maximum\n  leave out --flow or --maximum";
            Err(Refusal::Failed(text.to_owned()).into())
        }
    }
}

fn table(view: &LimitsView) -> String {
    let mut text = format!("{:<18}{:<14}{:<29}{}\n", "limit", "value", "from", "at most");
    for setting in Setting::ALL {
        let Some(limit) = view.limits.get(setting.name()) else { continue };
        let from = match &limit.lowered_by {
            Some(by) => format!("{}, lowered by {by}", limit.from),
            None => limit.from.clone(),
        };
        let (value, most) = (units::shown(setting, limit.value), units::shown(setting, limit.most));
        text.push_str(&format!("{:<18}{value:<14}{from:<29}{most}\n", setting.name()));
    }
    text
}

/// What holds now: of the value, or of the maximum.
fn line(setting: Setting, view: &LimitsView, maximum: bool) -> String {
    match view.limits.get(setting.name()) {
        Some(limit) if maximum => {
            format!("{setting} is now at most {}", units::shown(setting, limit.most))
        }
        Some(limit) => {
            let value = units::shown(setting, limit.value);
            let lowered = limit.lowered_by.as_ref().map(|by| format!(", lowered by {by}"));
            let lowered = lowered.unwrap_or_default();
            format!("{setting} is now {value} (from {}{lowered})", limit.from)
        }
        None => setting.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use proto::http::LimitView;

    use super::*;

    #[test]
    fn what_holds_is_shown_in_the_order_of_the_settings() {
        let limit = |value, from: &str, lowered_by: Option<&str>| LimitView {
            value,
            from: from.to_owned(),
            lowered_by: lowered_by.map(str::to_owned),
            least: 1,
            most: 4 << 30,
        };
        let limits = [
            ("wall_ms".to_owned(), limit(90_000, "flow", None)),
            ("memory_bytes".to_owned(), limit(2 << 30, "tenant", Some("platform"))),
            ("newer_than_this_program".to_owned(), limit(1, "flow", None)),
        ];
        let view = LimitsView { limits: limits.into(), set: LimitsSet::default() };
        let text = table(&view);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 3, "{text}");
        assert_eq!(lines[1], "memory_bytes      2GiB          tenant, lowered by platform  4GiB");
        assert!(lines[2].starts_with("wall_ms           90s"), "{text}");
        let line = |maximum| line(Setting::MemoryBytes, &view, maximum);
        assert_eq!(line(false), "memory_bytes is now 2GiB (from tenant, lowered by platform)");
        assert_eq!(line(true), "memory_bytes is now at most 4GiB");
    }
}
