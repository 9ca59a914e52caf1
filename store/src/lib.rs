//! What must survive: tenants, flows, runs, messages, sealed variables, outbox; on SQLite or Postgres.
