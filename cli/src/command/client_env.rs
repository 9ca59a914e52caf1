//! `flowcell env`.

use anyhow::Result;

use crate::args::ClientArguments;
use crate::client::Client;
use crate::credentials::Credentials;
use crate::exit::Exit;
use crate::output;

pub(crate) fn execute(arguments: &ClientArguments) -> Result<Exit> {
    let client = Client::new(arguments)?;
    let credentials =
        Credentials { url: client.url().to_owned(), api_key: client.key().to_owned() };
    output::piece(credentials.exports())?;
    Ok(Exit::Done)
}
