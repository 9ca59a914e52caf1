//! The database schema, step by step, for SQLite and Postgres.
