//! What moves: task queue, requests, control messages and run event logs; in-process or NATS JetStream.
