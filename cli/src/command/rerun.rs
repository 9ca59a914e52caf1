//! `flowcell rerun`.

use anyhow::Result;
use proto::http::{Rerun, RunAccepted};
use reqwest::Method;

use super::run::started;
use crate::args::RerunArguments;
use crate::client::{Client, percent_encode};
use crate::exit::Exit;

pub(crate) async fn execute(arguments: RerunArguments) -> Result<Exit> {
    let client = Client::new(&arguments.client)?;
    let path = format!("/api/flowcell/v1/runs/{}/rerun", percent_encode(&arguments.run));
    let request = Rerun { from: arguments.from, ..Rerun::default() };
    let accepted: RunAccepted =
        client.json(client.request(Method::POST, &path).json(&request)).await?;
    started(&client, accepted, arguments.detach, arguments.json).await
}
