//! The clients that components bring, unchanged, from a cell to a server with TLS: through the
//! proxy, by name, with a certificate that they check themselves.

use std::sync::Arc;

use flowcell_worker::config::Backend;
use proto::message::ReportOutcome;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring::default_provider;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;

use crate::real::{component, real_resolving};
use crate::world::{Names, ip, rule};

const HOST: &str = "models.internal";

/// Each client asks the server; the model's client streams its answer.
const CLIENTS: &str = r#"
import os, ssl, urllib.request
import aiohttp, httpx, openai, requests
url, said = "https://HOST:PORT/v1", []
with open("/tmp/authority.pem", "w") as file:
    file.write(AUTHORITY)
os.environ["SSL_CERT_FILE"] = os.environ["REQUESTS_CA_BUNDLE"] = "/tmp/authority.pem"

async def model(target):
    client = openai.AsyncOpenAI(base_url=target, api_key="k", max_retries=0)
    stream = await client.chat.completions.create(
        model="m", messages=[{"role": "user", "content": "x"}], stream=True)
    return "".join([chunk.choices[0].delta.content async for chunk in stream])

async def session(target):
    # It reads proxy variables only when told to; components do not tell it.
    async with aiohttp.ClientSession() as client, client.get(target, ssl=ssl.create_default_context()) as answer:
        return answer.status

async def asynchronous(target):
    async with httpx.AsyncClient() as client:
        return (await client.get(target)).status_code

async def attempt(name, call):
    try:
        answer = call()
        said.append(f"{name} {await answer if hasattr(answer, '__await__') else answer}")
    except Exception as error:
        said.append(f"{name} {type(error).__name__}")

await attempt("httpx", lambda: httpx.get(url).status_code)
await attempt("httpx async", lambda: asynchronous(url))
await attempt("requests", lambda: requests.get(url, timeout=9).status_code)
await attempt("urllib", lambda: urllib.request.urlopen(url, timeout=9).status)
await attempt("aiohttp", lambda: session(url))
await attempt("openai", lambda: model(url))
await attempt("another name", lambda: requests.get("https://other.internal:PORT/", timeout=9).status_code)
return Message(text="; ".join(said))
"#;

const STREAM: &str = "data: {\"id\":\"1\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"m\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"TOKEN\"},\"finish_reason\":null}]}\n\n";

/// A server of the name [`HOST`], its port, and the certificate that it has signed itself.
async fn server() -> (u16, String) {
    let identity = rcgen::generate_simple_self_signed([HOST.to_owned()]).unwrap();
    let key = PrivateKeyDer::try_from(identity.signing_key.serialize_der()).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![identity.cert.der().clone()], key)
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                // A client that does not trust it goes away.
                let Ok(mut stream) = acceptor.accept(stream).await else { return };
                let mut head = vec![0; 8_192];
                let length = stream.read(&mut head).await.unwrap_or(0);
                let answer = answer(&String::from_utf8_lossy(&head[..length]));
                let _ = stream.write_all(answer.as_bytes()).await;
                let _ = stream.shutdown().await;
            });
        }
    });
    (port, identity.cert.pem())
}

fn answer(head: &str) -> String {
    let body = if head.contains("/chat/completions") {
        let tokens = ["str", "ea", "med"].map(|token| STREAM.replace("TOKEN", token));
        format!("{}data: [DONE]\n\n", tokens.concat())
    } else {
        "ok".to_owned()
    };
    let kind = if body == "ok" { "text/plain" } else { "text/event-stream" };
    let length = body.len();
    format!(
        "HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_reach_a_server_with_tls_unchanged() {
    reach(Backend::Warm).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_in_a_forked_cell_reach_a_server_with_tls_unchanged() {
    reach(Backend::Zygote).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_in_a_cell_of_our_own_making_reach_a_server_with_tls_unchanged() {
    reach(Backend::Native).await;
}

async fn reach(backend: Backend) {
    let (port, authority) = server().await;
    let known = [HOST, "other.internal"].map(|name| (name, vec![ip("127.0.0.1")]));
    let Some(cluster) = real_resolving(Arc::new(Names(known.into())), backend).await else {
        return;
    };
    let code = CLIENTS
        .replace("HOST", HOST)
        .replace("PORT", &port.to_string())
        .replace("AUTHORITY", &format!("{authority:?}"));
    let mut assignment = component(&cluster, code.trim());
    assignment.egress = vec![rule(HOST, port, true)];
    let attempt = assignment.attempt;
    let (outcome, _) = cluster.run(assignment).await;
    let ReportOutcome::Done { result } = outcome else { panic!("{outcome:?}") };
    let output = serde_json::to_string(&result.nodes["Fetch-aaaaa"].outputs).unwrap();
    let expected = "httpx 200; httpx async 200; requests 200; urllib 200; aiohttp 200; \
                    openai streamed; another name ProxyError";
    assert!(output.contains(expected), "{output}");
    let told = cluster.connections(attempt).await;
    let to = |host: &str| told.iter().filter(|entry| entry.host == host).count();
    assert_eq!((to(HOST), to("other.internal")), (6, 1), "{told:?}");
    cluster.stop().await;
}
