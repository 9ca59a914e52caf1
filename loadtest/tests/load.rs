//! The load generator against a small target whose behaviour is known.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result};
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Json, Router};
use flowcell_loadtest::ApiKey;
use flowcell_loadtest::load::{Arrivals, Bound, Config, Job, Pace, Report, Target, measure, sweep};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// What the target counts.
#[derive(Debug, Default)]
struct Counts {
    runs: AtomicU64,
    in_flight: AtomicU64,
    in_flight_max: AtomicU64,
}

#[derive(Debug, Deserialize)]
struct Asked {
    stream: bool,
}

async fn start() -> Result<(SocketAddr, Arc<Counts>)> {
    let counts = Arc::new(Counts::default());
    let router =
        Router::new().route("/base/api/v1/run/{flow}", post(run)).with_state(Arc::clone(&counts));
    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    let address = listener.local_addr()?;
    tokio::spawn(async move { axum::serve(listener, router).await });
    Ok((address, counts))
}

async fn run(
    State(counts): State<Arc<Counts>>,
    Path(flow): Path<String>,
    Query(asked): Query<Asked>,
    headers: HeaderMap,
    Json(body): Json<Value>,
) -> Response {
    let number = counts.runs.fetch_add(1, Ordering::SeqCst);
    let now = counts.in_flight.fetch_add(1, Ordering::SeqCst) + 1;
    counts.in_flight_max.fetch_max(now, Ordering::SeqCst);
    let answer = answer(&flow, number, asked.stream, &headers, &body).await;
    counts.in_flight.fetch_sub(1, Ordering::SeqCst);
    answer
}

async fn answer(
    flow: &str,
    number: u64,
    stream: bool,
    headers: &HeaderMap,
    body: &Value,
) -> Response {
    let key = headers.get("x-api-key").and_then(|key| key.to_str().ok());
    let known = ["input_value", "input_type", "output_type", "session_id"];
    if key != Some("sk-load") || known.iter().any(|field| !body[*field].is_string()) {
        return StatusCode::FORBIDDEN.into_response();
    }
    let text = format!("Hello {}!", body["input_value"].as_str().unwrap_or_default());
    let result = json!({"session_id": body["session_id"], "outputs": [{"outputs": [
        {"results": {"message": {"text": text}}}]}]});
    let end = format!("{}\n\n", json!({"event": "end", "data": {"result": result}}));
    let token = format!("{}\n\n", json!({"event": "token", "data": {"chunk": "Hello"}}));
    match flow {
        "good" if stream => (StatusCode::OK, format!("{token}{token}{end}")).into_response(),
        "slow" => {
            tokio::time::sleep(Duration::from_millis(30)).await;
            Json(result).into_response()
        }
        "every-third-fails" if number % 3 == 2 => {
            let detail = json!({"detail": "{\"message\":\"kaboom\"}"});
            (StatusCode::INTERNAL_SERVER_ERROR, Json(detail)).into_response()
        }
        "garbage" => "garbage".into_response(),
        "no-end" => token.into_response(),
        "error-event" => {
            let error = json!({"event": "error", "data": {"error": "500: boom"}});
            format!("{token}{error}\n\n").into_response()
        }
        _ => Json(result).into_response(),
    }
}

fn config(address: SocketAddr, flow: &str, runs: u64) -> Result<Config> {
    let target = Target {
        label: "A".to_owned(),
        url: format!("http://{address}/base/").parse()?,
        api_key: Some(ApiKey::new("sk-load")),
        flow: flow.to_owned(),
    };
    Ok(Config {
        targets: vec![target],
        job: Job {
            input: "Bob".to_owned(),
            stream: false,
            accept: false,
            expect: None,
            timeout: Duration::from_secs(20),
        },
        pace: Pace::Closed { concurrency: 4 },
        bound: Bound { runs: Some(runs), duration: None },
        slices: 1,
    })
}

async fn measured(config: &Config) -> Result<Report> {
    measure(config, &CancellationToken::new()).await
}

/// The first target's errors.
fn classes(report: &Report) -> Vec<(&str, u64)> {
    let errors = report.targets.iter().take(1).flat_map(|target| &target.errors);
    errors.map(|error| (error.class.as_str(), error.count)).collect()
}

#[tokio::test]
async fn a_closed_loop_makes_its_runs_and_no_more_at_once() -> Result<()> {
    let (address, counts) = start().await?;
    let mut config = config(address, "slow", 22)?;
    config.job.expect = Some("Hello Bob".to_owned());
    let report = measured(&config).await?;
    let target = &report.targets[0];
    assert_eq!(counts.runs.load(Ordering::SeqCst), 22);
    assert_eq!(counts.in_flight_max.load(Ordering::SeqCst), 4);
    assert_eq!((target.runs.ok, target.runs.failed), (22, 0));
    assert!(report.all_good());
    let latency = target.latency_ms.context("latency")?;
    assert_eq!(latency.count, 22);
    assert!(latency.min >= 30.0 && latency.p50 <= latency.p95 && latency.p95 <= latency.max);
    let by_second: u64 = target.series.iter().map(|row| row.ok).sum();
    assert_eq!(by_second, 22);
    assert_eq!(target.offered_per_s, None);
    // Four callers, 30 ms a run.
    assert!(target.achieved_per_s <= 4.0 / 0.030, "{}", target.achieved_per_s);
    Ok(())
}

#[tokio::test]
async fn a_duration_bounds_a_closed_loop() -> Result<()> {
    let (address, counts) = start().await?;
    let mut config = config(address, "slow", 1)?;
    config.bound = Bound { runs: None, duration: Some(Duration::from_millis(300)) };
    let report = measured(&config).await?;
    let made = report.targets[0].runs.ok;
    assert_eq!(made, counts.runs.load(Ordering::SeqCst));
    assert!((4..=44).contains(&made), "{made}");
    Ok(())
}

#[tokio::test]
async fn an_open_loop_keeps_its_schedule() -> Result<()> {
    let (address, counts) = start().await?;
    let mut config = config(address, "good", 40)?;
    config.pace =
        Pace::Open { rate_per_s: 200.0, arrivals: Arrivals::Uniform, seed: 1, in_flight_max: 100 };
    let report = measured(&config).await?;
    let target = &report.targets[0];
    assert_eq!((target.runs.ok, counts.runs.load(Ordering::SeqCst)), (40, 40));
    let offered = target.offered_per_s.context("offered")?;
    assert!((offered - 200.0).abs() < 0.1, "{offered}");
    assert!(target.elapsed_s >= 0.2, "{}", target.elapsed_s);
    assert!(target.achieved_per_s <= 200.1, "{}", target.achieved_per_s);
    Ok(())
}

#[tokio::test]
async fn an_open_loop_counts_the_wait_before_sending() -> Result<()> {
    let (address, counts) = start().await?;
    let mut config = config(address, "slow", 10)?;
    config.pace =
        Pace::Open { rate_per_s: 1_000.0, arrivals: Arrivals::Poisson, seed: 1, in_flight_max: 1 };
    let report = measured(&config).await?;
    let target = &report.targets[0];
    assert_eq!(counts.in_flight_max.load(Ordering::SeqCst), 1);
    // The tenth run was due after about 10 ms and answered after ten times 30.
    let slowest = target.latency_ms.context("latency")?.max;
    assert!(slowest >= 250.0, "{slowest}");
    assert!(target.send_lag_ms.context("lag")?.max >= 220.0);
    Ok(())
}

#[tokio::test]
async fn an_overloaded_open_loop_ends_and_owns_up() -> Result<()> {
    let (address, counts) = start().await?;
    let mut config = config(address, "slow", 1)?;
    config.bound = Bound { runs: None, duration: Some(Duration::from_millis(200)) };
    config.pace =
        Pace::Open { rate_per_s: 500.0, arrivals: Arrivals::Uniform, seed: 1, in_flight_max: 1 };
    let report = measured(&config).await?;
    let runs = report.targets[0].runs;
    assert_eq!(runs.due(), 100);
    assert_eq!(runs.ok, counts.runs.load(Ordering::SeqCst));
    assert!(runs.unsent >= 80 && runs.ok > 0, "{runs:?}");
    assert_eq!(classes(&report), [("unsent", runs.unsent)]);
    Ok(())
}

#[tokio::test]
async fn answers_without_the_expected_text_are_wrong() -> Result<()> {
    let (address, _) = start().await?;
    for stream in [false, true] {
        let mut config = config(address, "good", 6)?;
        config.job.expect = Some("Hello Ann".to_owned());
        config.job.stream = stream;
        let report = measured(&config).await?;
        let runs = report.targets[0].runs;
        assert_eq!((runs.ok, runs.failed, runs.wrong), (0, 6, 6));
        assert_eq!(classes(&report), [("wrong answer", 6)]);
        assert!(report.targets[0].errors[0].example.contains("Hello Bob!"));
        assert!(!report.any_good());
    }
    Ok(())
}

#[tokio::test]
async fn a_stream_is_timed_to_its_first_token() -> Result<()> {
    let (address, _) = start().await?;
    let mut config = config(address, "good", 8)?;
    config.job.stream = true;
    config.job.expect = Some("Hello Bob".to_owned());
    let report = measured(&config).await?;
    let target = &report.targets[0];
    assert_eq!((target.runs.ok, target.runs.without_token), (8, 0));
    let first = target.first_token_ms.context("first token")?;
    assert_eq!(first.count, 8);
    assert!(first.p50 <= target.latency_ms.context("latency")?.p50);
    Ok(())
}

#[tokio::test]
async fn errors_are_told_apart() -> Result<()> {
    let (address, _) = start().await?;
    let report = measured(&config(address, "every-third-fails", 9)?).await?;
    assert_eq!(classes(&report), [("http 500", 3)]);
    assert_eq!(report.targets[0].runs.ok, 6);
    assert!(report.targets[0].errors[0].example.contains("kaboom"));
    assert!(report.any_good() && !report.all_good());

    for (flow, stream, class) in [
        ("garbage", false, "unreadable"),
        ("garbage", true, "unreadable"),
        ("no-end", true, "no end event"),
        ("error-event", true, "error event"),
    ] {
        let mut config = config(address, flow, 2)?;
        config.job.stream = stream;
        assert_eq!(classes(&measured(&config).await?), [(class, 2)], "{flow}");
    }

    let mut config = config(address, "good", 2)?;
    config.targets[0].api_key = None;
    assert_eq!(classes(&measured(&config).await?), [("http 403", 2)]);

    config.targets[0].flow = "slow".to_owned();
    config.targets[0].api_key = Some(ApiKey::new("sk-load"));
    config.job.timeout = Duration::from_millis(5);
    assert_eq!(classes(&measured(&config).await?), [("timed out", 2)]);

    // A port which was free a moment ago.
    let free = TcpListener::bind(("127.0.0.1", 0)).await?.local_addr()?;
    config.targets[0].url = format!("http://{free}").parse()?;
    config.job.timeout = Duration::from_secs(5);
    assert_eq!(classes(&measured(&config).await?), [("unreachable", 2)]);
    Ok(())
}

#[tokio::test]
async fn two_targets_take_turns_and_are_compared() -> Result<()> {
    let (first, first_counts) = start().await?;
    let (second, second_counts) = start().await?;
    let mut both = config(first, "good", 10)?;
    let slow = config(second, "slow", 10)?.targets.remove(0);
    both.targets.push(Target { label: "B".to_owned(), ..slow });
    both.slices = 3;
    let report = measured(&both).await?;
    assert_eq!(first_counts.runs.load(Ordering::SeqCst), 10);
    assert_eq!(second_counts.runs.load(Ordering::SeqCst), 10);
    let ratios = report.ratios.context("ratios")?;
    let expected = report.targets[1].achieved_per_s / report.targets[0].achieved_per_s;
    assert_eq!(ratios.throughput, Some(expected));
    assert!(ratios.p50.context("p50")? > 1.0);
    Ok(())
}

#[tokio::test]
async fn a_sweep_finds_a_knee() -> Result<()> {
    let (address, counts) = start().await?;
    let report = sweep(&config(address, "slow", 12)?, &[1, 3], &CancellationToken::new()).await?;
    assert_eq!(counts.runs.load(Ordering::SeqCst), 24);
    assert_eq!(report.steps.len(), 2);
    // Three callers of a target which only waits make three times as many runs.
    assert_eq!(report.knees.len(), 1);
    assert_eq!(report.knees[0].concurrency, 3);
    Ok(())
}

#[tokio::test]
async fn a_stopped_measurement_reports_what_it_has() -> Result<()> {
    let (address, _) = start().await?;
    let stop = CancellationToken::new();
    stop.cancel();
    let report = measure(&config(address, "good", 1_000_000)?, &stop).await?;
    assert!(report.interrupted);
    assert_eq!(report.targets[0].runs.due(), 0);
    Ok(())
}

#[tokio::test]
async fn what_cannot_be_measured_is_refused() -> Result<()> {
    let address = SocketAddr::from(([127, 0, 0, 1], 9));
    let good = config(address, "good", 1)?;
    assert!(good.check().is_ok());
    let unbounded = Config { bound: Bound { runs: None, duration: None }, ..good.clone() };
    assert!(unbounded.check().is_err());
    let idle = Config { pace: Pace::Closed { concurrency: 0 }, ..good.clone() };
    assert!(idle.check().is_err());
    let mut nowhere = good.clone();
    nowhere.targets[0].url = "data:text/plain,x".parse()?;
    assert!(nowhere.check().is_err());
    let mut few = good;
    few.targets.push(few.targets[0].clone());
    few.slices = 2;
    assert!(few.check().is_err());
    Ok(())
}
