//! The queue of a task: a pool, and how many runs stand above the task's.

use std::fmt;
use std::str::FromStr;

/// Written `pool`, or `pool/depth` for tasks of runs that components started. A pool's name has
/// no `/`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct TaskQueue {
    pub(crate) pool: String,
    pub(crate) depth: u32,
}

impl fmt::Display for TaskQueue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.depth {
            0 => f.write_str(&self.pool),
            depth => write!(f, "{}/{depth}", self.pool),
        }
    }
}

impl FromStr for TaskQueue {
    type Err = std::num::ParseIntError;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        let (pool, depth) = match name.split_once('/') {
            None => (name, 0),
            Some((pool, depth)) => (pool, depth.parse()?),
        };
        Ok(Self { pool: pool.to_owned(), depth })
    }
}
