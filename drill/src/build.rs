//! The builds of Flowcell that a cluster is made of: the one under test, and another one beside it.

use std::fmt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use serde::Serialize;

use crate::command::Program;

/// Characters of a digest that tell two builds apart.
const DIGEST_SHOWN: usize = 12;

/// Which of the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Which {
    /// The program under test.
    This,
    /// The one that `--beside` names.
    Other,
}

/// The programs.
#[derive(Clone, Debug)]
pub(crate) struct Builds {
    this: PathBuf,
    other: Option<PathBuf>,
}

impl Builds {
    pub(crate) fn new(this: &Path, beside: Option<&Path>) -> Result<Self> {
        if let Some(other) = beside {
            ensure!(other.is_file(), "there is no program at {}", other.display());
        }
        // A process sees neither this one's working folder nor its search path.
        let other = beside.map(std::path::absolute).transpose()?;
        Ok(Self { this: this.to_owned(), other })
    }

    /// What a process of this number begins as: each second one as the other build.
    pub(crate) fn first(&self, instance: u8) -> Which {
        if self.other.is_some() && instance.is_multiple_of(2) { Which::Other } else { Which::This }
    }

    /// A build's program; the one under test where there is no other.
    pub(crate) fn program(&self, which: Which) -> String {
        let program = match which {
            Which::This => &self.this,
            Which::Other => self.other.as_ref().unwrap_or(&self.this),
        };
        program.display().to_string()
    }

    /// Each once, the other one first: it is the older one, as a rule, and what it writes the newer
    /// one has to read.
    pub(crate) fn all(&self) -> Vec<Which> {
        if self.other.is_some() { vec![Which::Other, Which::This] } else { vec![Which::This] }
    }

    /// Each as its own `--version` and its digest have it: versions of two builds may be equal.
    pub(crate) fn names(&self) -> Result<Vec<String>> {
        self.all().into_iter().map(|which| self.name(which)).collect()
    }

    fn name(&self, which: Which) -> Result<String> {
        let program = self.program(which);
        let version = Program::new([program.clone(), "--version".to_owned()]).output()?;
        let digest = Program::new(["sha256sum".to_owned(), program]).output()?;
        let digest = digest.get(..DIGEST_SHOWN).context("sha256sum printed no digest")?;
        Ok(format!("{which}: {} (sha256 {digest}…)", version.trim()))
    }
}

impl fmt::Display for Which {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::This => "this build",
            Self::Other => "the other build",
        })
    }
}
