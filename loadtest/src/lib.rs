//! A scripted model server and a load generator.
