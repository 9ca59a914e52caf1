//! What tests share: a database per test, a nats-server per test, builders. Never a runtime dependency.

pub mod nats;

pub mod database;
pub mod flows;
pub mod otlp;
pub mod s3;
