//! `flowcell rerun`.

use anyhow::Result;
use proto::http::{Rerun, RunAccepted};
use reqwest::Method;

use super::run::{started, tweaks};
use crate::args::RerunArguments;
use crate::client::{Client, percent_encode};
use crate::exit::Exit;

pub(crate) async fn execute(arguments: RerunArguments) -> Result<Exit> {
    let client = Client::new(&arguments.client)?;
    let path = format!("/api/flowcell/v1/runs/{}/rerun", percent_encode(&arguments.run));
    let request = Rerun {
        from: arguments.from,
        from_start: arguments.from_start,
        tweaks: tweaks(&arguments.tweaks)?,
        input_value: arguments.input,
        deadline_ms: None,
    };
    let accepted: RunAccepted =
        client.json(client.request(Method::POST, &path).json(&request)).await?;
    started(&client, accepted, arguments.watch).await
}
