//! The connection, and what happens to it.

use std::sync::Arc;
use std::time::Duration;

use async_nats::{Client, ConnectErrorKind, ConnectOptions, Event};
use tokio::sync::{Notify, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::{Credentials, Settings};
use crate::Error;

/// A dead connection is noticed after two of these. The library's minute is too long for leases.
const PING_EVERY: Duration = Duration::from_secs(10);

/// Longest pause between two attempts to connect again, besides jitter.
const RECONNECT_AFTER_MAX: Duration = Duration::from_secs(1);

/// Pause between two attempts at the start.
const FIRST_CONNECT_EVERY: Duration = Duration::from_millis(250);

/// Messages that one subscription may hold before the library drops further ones. The largest is
/// an inline request, so this bounds a server that is far too slow to half a gigabyte.
const SUBSCRIPTION_MESSAGES_MAX: usize = 4096;

/// What the library's callback passes on.
#[derive(Debug)]
struct Monitor {
    connections: watch::Sender<u64>,
    lame_duck: Notify,
}

pub(super) async fn connect(
    settings: &Settings,
    inbox: &str,
    closed: &CancellationToken,
) -> Result<(Client, watch::Receiver<u64>), Error> {
    let (sender, connections) = watch::channel(0);
    let monitor = Arc::new(Monitor { connections: sender, lame_duck: Notify::new() });
    let until = Instant::now() + settings.connect_wait;
    let mut told = false;
    let client = loop {
        let options = options(settings, inbox, &monitor).await?;
        let servers: Vec<_> = settings.url.split(',').map(str::trim).collect();
        match options.connect(servers).await {
            Ok(client) => break client,
            Err(error) => {
                let hopeless = matches!(
                    error.kind(),
                    ConnectErrorKind::ServerParse
                        | ConnectErrorKind::Authentication
                        | ConnectErrorKind::AuthorizationViolation
                );
                if hopeless || Instant::now() >= until {
                    return Err(Error::server("connecting to", "NATS", error));
                }
                // Half a minute of silence looks like a program that hangs.
                if !std::mem::replace(&mut told, true) {
                    let wait_s = settings.connect_wait.as_secs();
                    tracing::warn!(error = %error, wait_s, "NATS cannot be reached yet; trying on");
                }
            }
        }
        tokio::time::sleep(FIRST_CONNECT_EVERY).await;
    };
    tokio::spawn(leave_lame_ducks(client.clone(), monitor, closed.clone()));
    Ok((client, connections))
}

async fn options(
    settings: &Settings,
    inbox: &str,
    monitor: &Arc<Monitor>,
) -> Result<ConnectOptions, Error> {
    // Without a choice, a connection with TLS panics: the tree has two providers, `ring` by the
    // database's driver. An earlier choice of the process stays.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let events = Arc::clone(monitor);
    let mut options = ConnectOptions::new()
        .name("flowcell")
        .custom_inbox_prefix(inbox)
        .ping_interval(PING_EVERY)
        .max_reconnects(None)
        .reconnect_delay_callback(reconnect_after)
        .subscription_capacity(SUBSCRIPTION_MESSAGES_MAX)
        .event_callback(move |event| {
            notice(&events, &event);
            async {}
        });
    if let Some(path) = &settings.tls_ca_file {
        options = options.add_root_certificates(path.clone());
    }
    Ok(match &settings.credentials {
        Credentials::None => options,
        Credentials::Password { user, password } => {
            options.user_and_password(user.clone(), password.clone())
        }
        Credentials::Token(token) => options.token(token.clone()),
        Credentials::Nkey(seed) => options.nkey(seed.clone()),
        Credentials::File(path) => {
            let loaded = options.credentials_file(path).await;
            loaded.map_err(|source| Error::File {
                doing: "reading credentials from",
                path: path.clone(),
                source,
            })?
        }
    })
}

fn reconnect_after(attempts: usize) -> Duration {
    let attempts = u32::try_from(attempts).unwrap_or(u32::MAX);
    let after = Duration::from_millis(50).saturating_mul(attempts);
    let jitter = Duration::from_millis(rand::random_range(0..100));
    after.min(RECONNECT_AFTER_MAX) + jitter
}

fn notice(monitor: &Monitor, event: &Event) {
    match event {
        Event::Connected => {
            monitor.connections.send_modify(|count| *count += 1);
            tracing::debug!("connected to NATS");
        }
        Event::Disconnected => tracing::warn!("lost the connection to NATS"),
        Event::LameDuckMode => {
            tracing::info!("the NATS server asks its clients to leave");
            monitor.lame_duck.notify_one();
        }
        // One event per lost message: a warning each would flood the log.
        Event::SlowConsumer(subscription) => {
            tracing::debug!(nats.subscription = subscription, "messages were dropped");
        }
        // Permission violations come this way only; the call itself just times out.
        Event::ServerError(error) => tracing::error!(error = %error, "NATS refused something"),
        Event::ClientError(error) => tracing::warn!(error = %error, "the NATS client failed"),
        Event::Draining | Event::Closed => {}
    }
}

/// A server in lame duck mode closes connections at its leisure; until then pulls on it may stall.
async fn leave_lame_ducks(client: Client, monitor: Arc<Monitor>, closed: CancellationToken) {
    loop {
        tokio::select! {
            () = monitor.lame_duck.notified() => {}
            () = closed.cancelled() => return,
        }
        if let Err(error) = client.force_reconnect().await {
            tracing::warn!(error = %error, "could not leave the NATS server");
        }
    }
}
