//! What cells do outside of the cluster: a server that counts how often each was executed.
//!
//! It numbers the executions of a cell of a run. The number travels on in the run's values, so
//! every later cell, and the answer, tell which execution's result they were made from.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result};
use axum::extract::State;
use axum::routing::post;
use axum::{Json, Router};
use serde::{Deserialize, Serialize};
use tokio::net::TcpListener;
use tokio_util::task::AbortOnDropHandle;

/// One execution of a cell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Execution {
    /// What the cell got: the run's key, and the executions that it was made from.
    pub(crate) input: String,
}

/// Executions in their order, by the run's key and the cell.
pub(crate) type Counted = BTreeMap<(String, String), Vec<Execution>>;

#[derive(Debug)]
pub(crate) struct Effects {
    address: SocketAddr,
    counted: Arc<Mutex<Counted>>,
    _server: AbortOnDropHandle<()>,
}

#[derive(Debug, Deserialize)]
struct Effect {
    cell: String,
    text: String,
}

#[derive(Debug, Serialize)]
struct Reply {
    text: String,
    nap_seconds: f64,
}

impl Effects {
    /// Counts on a port of loopback.
    pub(crate) async fn serve() -> Result<Self> {
        let counted: Arc<Mutex<Counted>> = Arc::default();
        let listener = TcpListener::bind("127.0.0.1:0").await.context("opening the counter")?;
        let address = listener.local_addr()?;
        let routes = Router::new().route("/", post(count)).with_state(Arc::clone(&counted));
        let server = tokio::spawn(async move {
            // It ends with the drill.
            let _ = axum::serve(listener, routes).await;
        });
        Ok(Self { address, counted, _server: AbortOnDropHandle::new(server) })
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// What was counted until now.
    pub(crate) fn counted(&self) -> Counted {
        self.counted.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

async fn count(
    State(counted): State<Arc<Mutex<Counted>>>,
    Json(effect): Json<Effect>,
) -> Json<Reply> {
    let key = effect.text.split(' ').next().unwrap_or_default().to_owned();
    let nap_seconds = nap_seconds(&key, &effect.cell);
    let number = {
        let mut counted = counted.lock().unwrap_or_else(PoisonError::into_inner);
        let executions = counted.entry((key, effect.cell.clone())).or_default();
        executions.push(Execution { input: effect.text.clone() });
        executions.len()
    };
    let text = passed_on(&effect.text, &effect.cell, number);
    Json(Reply { text, nap_seconds })
}

/// What an execution hands to the next cell.
pub(crate) fn passed_on(input: &str, cell: &str, number: usize) -> String {
    format!("{input} {cell}#{number}")
}

/// From a tenth of a second to three, the same for every execution of a cell.
fn nap_seconds(key: &str, cell: &str) -> f64 {
    let sum: u32 = key
        .bytes()
        .chain(cell.bytes())
        .fold(7, |sum, byte| sum.wrapping_mul(31).wrapping_add(u32::from(byte)));
    0.1 + f64::from(sum % 30) / 10.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn executions_are_numbered_by_run_and_cell() {
        let counted: Arc<Mutex<Counted>> = Arc::default();
        let execute = async |cell: &str, text: &str| {
            let effect = Effect { cell: cell.to_owned(), text: text.to_owned() };
            count(State(Arc::clone(&counted)), Json(effect)).await.0.text
        };
        assert_eq!(execute("first", "k").await, "k first#1");
        assert_eq!(execute("first", "k").await, "k first#2");
        assert_eq!(execute("second", "k first#2").await, "k first#2 second#1");
        assert_eq!(execute("first", "l").await, "l first#1");
        let counted = counted.lock().unwrap();
        assert_eq!(counted[&("k".to_owned(), "first".to_owned())].len(), 2);
        assert_eq!(counted[&("k".to_owned(), "second".to_owned())][0].input, "k first#2");
    }
}
