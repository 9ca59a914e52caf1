//! The API through its router, on a real SQLite store and the in-process bus, with a scripted
//! scheduler behind it. Bodies are compared with what a live Langflow 1.13.0 answered
//! (`tests/captures`).

mod admission;
mod auth;
mod crud;
mod egress;
mod events;
mod files;
mod human;
mod knowledge;
mod limits;
mod logs;
mod metrics;
mod pausing;
mod retention;
mod run;
mod runs;
mod runtime;
mod scheduler;
mod stream;
mod trace;
mod upload;
mod webhook;
mod websocket;
mod world;
