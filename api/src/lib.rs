//! The HTTP edge: authentication, Langflow's routes, ours, live streams.
