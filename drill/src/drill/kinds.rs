//! Which kinds of fault can be made on this machine, as it was asked.

use anyhow::{Result, bail};

use super::Options;
use crate::clock;
use crate::disk;
use crate::engine;
use crate::fault::{Fault, Need};
use crate::report::LeftOut;

/// The kinds that can be made, and why others cannot.
pub(super) fn possible(options: &Options) -> Result<(Vec<Fault>, Vec<LeftOut>)> {
    let (mut kinds, mut left_out) = (Fault::all(), Vec::new());
    for need in [Need::SmallDisk, Need::OwnClock, Need::OtherBuild, Need::OwnEngine] {
        if let Some(why) = missing(options, need)? {
            kinds.retain(|fault| fault.needs() != Some(need));
            left_out.push(LeftOut { name: need.to_string(), why: why.to_owned() });
        }
    }
    Ok((kinds, left_out))
}

/// Why there is no such thing. What was asked for by name is not left out: that is an error.
fn missing(options: &Options, need: Need) -> Result<Option<&'static str>> {
    Ok(match need {
        Need::SmallDisk if !options.disks => Some("left out by --no-disks"),
        Need::SmallDisk => disk::unavailable(),
        Need::OwnClock if !options.clocks => Some("left out by --no-clocks"),
        Need::OwnClock => match clock::library() {
            Some(_) => None,
            None => Some("libfaketime is not here (Debian: apt install faketime)"),
        },
        Need::OtherBuild => match options.beside {
            Some(_) => None,
            None => Some("needs another build: --beside PROGRAM"),
        },
        Need::OwnEngine if !options.engine => Some("needs an engine of the drill's own: --engine"),
        Need::OwnEngine => match engine::unavailable() {
            Some(why) => bail!("--engine {why}"),
            None => None,
        },
    })
}
