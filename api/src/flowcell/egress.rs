//! Where a tenant's cells may connect to. Everybody of the tenant may read it; only a superuser
//! may change it, because a rule can open the inside of the network to user code.

use std::collections::HashMap;
use std::net::IpAddr;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use domain::id::FlowId;
use proto::egress::{FORWARDS_MAX, Place, place};
use proto::http::{AllowEgress, EgressView};
use proto::message::EgressRule;
use store::{EgressEntry, FlowFilter, NewEgressRule, Page, Tenant};

use super::runs::find;
use crate::app::App;
use crate::error::Error;
use crate::extract::{Params, Raw};
use crate::governed::Governed;

/// Longest name that DNS knows.
const HOST_BYTES_MAX: usize = 253;
/// Longest id or display name of a component.
const NODE_BYTES_MAX: usize = 256;
/// Rules of one tenant: they travel with every task.
const RULES_MAX: usize = 1_000;

/// What a rule applies to. One destination has at most one rule for each.
#[derive(Debug, PartialEq, Eq)]
struct Scope {
    flow: Option<FlowId>,
    node: Option<String>,
}

/// `GET /api/flowcell/v1/egress`.
pub(crate) async fn list(
    State(app): State<App>,
    Governed { tenant, .. }: Governed,
    params: Params,
) -> Result<Json<Vec<EgressView>>, Error> {
    let tenant = app.store.tenant(tenant);
    let entries = match params.text("flow") {
        Some(name) => tenant.egress_for(find(&tenant, name).await?.header.id).await?,
        None => tenant.egress_rules().await?,
    };
    let flows = tenant.flows(&FlowFilter::default(), Page::all()).await?.items;
    let names: HashMap<FlowId, String> =
        flows.into_iter().map(|flow| (flow.id, flow.name)).collect();
    let name = |entry: &EgressEntry| entry.flow.and_then(|flow| names.get(&flow).cloned());
    Ok(Json(entries.iter().map(|entry| view(entry, name(entry))).collect()))
}

/// `POST /api/flowcell/v1/egress`. A rule for the same destination, flow and node is replaced.
pub(crate) async fn allow(
    State(app): State<App>,
    Governed { principal, tenant }: Governed,
    body: Raw,
) -> Result<(StatusCode, Json<EgressView>), Error> {
    let wanted: AllowEgress = body.json()?;
    let tenant = app.store.tenant(tenant);
    let (scope, flow_name) = scope(&tenant, wanted.flow.as_deref(), wanted.node.as_deref()).await?;
    let AllowEgress { host, port, private, tcp, .. } = wanted;
    let rule = checked(EgressRule { host, port, private, tcp })?;
    let entries = tenant.egress_rules().await?;
    check_numbers(&entries, &rule)?;
    tracing::info!(
        user.id = %principal.user,
        tenant.id = %tenant.id(),
        egress.host = rule.host,
        egress.port = rule.port,
        egress.private = rule.private,
        egress.tcp = rule.tcp,
        flow.id = scope.flow.map(tracing::field::display),
        "egress allowed"
    );
    if let Some(entry) = same(&entries, &scope, &rule.host, rule.port) {
        let entry = match entry.rule == rule {
            true => entry.clone(),
            false => tenant.update_egress_rule(entry.id, rule).await?,
        };
        return Ok((StatusCode::OK, Json(view(&entry, flow_name))));
    }
    let new = NewEgressRule { flow: scope.flow, node: scope.node, rule };
    let created = tenant.create_egress_rule(new).await?;
    Ok((StatusCode::CREATED, Json(view(&created, flow_name))))
}

/// `DELETE /api/flowcell/v1/egress?host=…&port=…&flow=…&node=…`.
pub(crate) async fn forbid(
    State(app): State<App>,
    Governed { tenant, .. }: Governed,
    params: Params,
) -> Result<StatusCode, Error> {
    let port = params.number("port")?.and_then(|port| u16::try_from(port).ok());
    let (Some(host), Some(port)) = (params.text("host").map(normalised), port) else {
        return Err(invalid("host and port name the rule to delete"));
    };
    let tenant = app.store.tenant(tenant);
    let (scope, _) = scope(&tenant, params.text("flow"), params.text("node")).await?;
    let entries = tenant.egress_rules().await?;
    let entry = same(&entries, &scope, &host, port).ok_or(Error::NotFound("egress rule"))?;
    tenant.delete_egress_rule(entry.id).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// The rule of this very scope: one for all flows is not one for this flow.
fn same<'a>(
    entries: &'a [EgressEntry],
    scope: &Scope,
    host: &str,
    port: u16,
) -> Option<&'a EgressEntry> {
    entries.iter().find(|entry| {
        entry.flow == scope.flow
            && entry.node == scope.node
            && entry.rule.host == host
            && entry.rule.port == port
    })
}

async fn scope(
    tenant: &Tenant,
    flow: Option<&str>,
    node: Option<&str>,
) -> Result<(Scope, Option<String>), Error> {
    let node = node.map(|node| {
        let fits = (1..=NODE_BYTES_MAX).contains(&node.len()) && !node.contains(char::is_control);
        if fits { Ok(node.to_owned()) } else { Err(invalid("node is a component's id or name")) }
    });
    let flow = match flow {
        Some(name) => Some(find(tenant, name).await?.header),
        None => None,
    };
    let (flow, name) = flow.map(|flow| (flow.id, flow.name)).unzip();
    Ok((Scope { flow, node: node.transpose()? }, name))
}

fn view(entry: &EgressEntry, flow_name: Option<String>) -> EgressView {
    EgressView {
        host: entry.rule.host.clone(),
        port: entry.rule.port,
        private: entry.rule.private,
        tcp: entry.rule.tcp,
        flow_id: entry.flow.map(|flow| flow.to_string()),
        flow_name,
        node: entry.node.clone(),
    }
}

fn invalid(text: impl Into<String>) -> Error {
    Error::BodyInvalid(text.into())
}

/// Names are compared without case, so they are kept without.
fn normalised(host: &str) -> String {
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    bare.trim_end_matches('.').to_lowercase()
}

/// A rule that can be kept to.
fn checked(rule: EgressRule) -> Result<EgressRule, Error> {
    let rule = EgressRule { host: normalised(&rule.host), ..rule };
    if rule.is_any_host() {
        return public(rule);
    }
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-._:".contains(&byte);
    let name = rule.host.strip_prefix("*.").unwrap_or(&rule.host);
    if !(1..=HOST_BYTES_MAX).contains(&name.len()) || !name.bytes().all(is_allowed) {
        let text = "host must be a host name, an address, *.name, or *; no scheme, no path";
        return Err(invalid(text));
    }
    if rule.port == EgressRule::ANY_PORT {
        return Err(invalid("port must be 1 to 65535; 0, any port, goes with the host * only"));
    }
    if rule.tcp && place(&rule.host) == Place::Nowhere {
        return Err(invalid(match rule.host.parse::<IpAddr>() {
            Ok(_) => {
                "tcp needs a name: a cell finds the destination by it, and an address cannot lead \
                 elsewhere; give the server a name that the workers' hosts can resolve"
            }
            Err(_) => "tcp needs one name, which is not the cell's own",
        }));
    }
    Ok(rule)
}

/// A rule for everything that is not special.
fn public(rule: EgressRule) -> Result<EgressRule, Error> {
    if rule.private {
        let text = "* is the public internet; private goes with the host that is meant";
        return Err(invalid(text));
    }
    if rule.tcp {
        return Err(invalid("tcp needs one name; * is for HTTP and TLS"));
    }
    Ok(rule)
}

fn check_numbers(entries: &[EgressEntry], rule: &EgressRule) -> Result<(), Error> {
    if entries.len() >= RULES_MAX {
        return Err(invalid(format!("there are {RULES_MAX} rules, the most there can be")));
    }
    let others = entries.iter().filter(|entry| entry.rule.tcp);
    let others =
        others.filter(|entry| (&entry.rule.host, entry.rule.port) != (&rule.host, rule.port));
    if rule.tcp && others.count() >= FORWARDS_MAX {
        return Err(invalid(format!(
            "there are {FORWARDS_MAX} rules with tcp, the most there can be"
        )));
    }
    Ok(())
}
