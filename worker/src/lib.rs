//! Runs one cell in one throwaway container: dispatcher, pool, sandbox, egress proxy.
