//! Decides: intake, engine, leases, retries, deadlines, outbox relay, answers to workers.
