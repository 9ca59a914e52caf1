//! From the lists to a program of the kernel's filter machine.
//!
//! One program, because a program's cost is paid by every cell: its arguments judged by chains that
//! `seccompiler` makes, its calls found by a search tree over ranges of numbers instead of
//! `seccompiler`'s row of comparisons. The row has 1,300 instructions and takes 0.6 ms to install,
//! the tree 0.1 ms, most of it in the kernel's own check of which calls need no filter. A test holds
//! the tree to what `seccompiler` makes of the same lists.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use seccompiler::{
    BpfProgram, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompRule, TargetArch,
    compile_from_json, sock_filter,
};

use crate::policy::{ADDED, Condition, JUDGED, Judged, REFUSED};

const LOAD: u16 = (libc::BPF_LD | libc::BPF_W | libc::BPF_ABS) as u16;
const AT_LEAST: u16 = (libc::BPF_JMP | libc::BPF_JGE | libc::BPF_K) as u16;
const EQUAL: u16 = (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16;
const JUMP: u16 = (libc::BPF_JMP | libc::BPF_JA) as u16;
const RETURN: u16 = (libc::BPF_RET | libc::BPF_K) as u16;

/// Where `struct seccomp_data` has the call's number, and where the caller's architecture.
const NUMBER: u32 = 0;
const ARCHITECTURE: u32 = 4;

/// On x86-64, the bit of a number that asks for the ABI of 32-bit pointers, and the end of such numbers.
const X32: (u32, u32) = (0x4000_0000, 0x8000_0000);

/// Why the lists do not make a filter.
#[derive(Debug)]
pub(crate) enum Error {
    /// No architecture has a call of this name.
    Unknown(String),
    /// A name in two lists.
    Twice(&'static str),
    /// An entry that does not say why.
    NoReason(String),
    /// A line that is not one of a census.
    Unreadable(String),
    /// seccompiler refused a condition.
    Condition(seccompiler::BackendError),
    /// The program exceeds what the kernel takes.
    TooLong(usize),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown(name) => write!(f, "no system call is named {name}"),
            Self::Twice(name) => write!(f, "{name} is in two lists"),
            Self::NoReason(name) => write!(f, "{name} is listed without a reason"),
            Self::Unreadable(line) => write!(f, "not a line of a census: {line}"),
            Self::Condition(error) => write!(f, "condition: {error}"),
            Self::TooLong(length) => write!(f, "{length} instructions are too many"),
        }
    }
}

impl std::error::Error for Error {}

/// What happens to a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Allow,
    Fail(i32),
    Kill,
    /// By its arguments: the entry of [`JUDGED`].
    Judge(usize),
}

impl Verdict {
    fn returned(self) -> u32 {
        match self {
            Self::Allow => libc::SECCOMP_RET_ALLOW,
            Self::Fail(errno) => libc::SECCOMP_RET_ERRNO | errno.unsigned_abs(),
            Self::Kill | Self::Judge(_) => libc::SECCOMP_RET_KILL_PROCESS,
        }
    }
}

/// Names in the census: lines that do not begin with a space or a `#`, up to the colon.
pub(crate) fn census(text: &str) -> Result<BTreeSet<&str>, Error> {
    text.lines()
        .filter(|line| !line.is_empty() && !line.starts_with(['#', ' ']))
        .map(|line| match line.split_once(": ") {
            Some((name, _)) => Ok(name),
            None => Err(Error::Unreadable(line.to_owned())),
        })
        .collect()
}

/// Every name that somebody decided about, with the decision.
pub(crate) fn decisions(census_text: &str) -> Result<BTreeMap<&str, Verdict>, Error> {
    let mut reasons = (ADDED.iter().map(|group| (group.calls.first(), group.reason)))
        .chain(REFUSED.iter().map(|refusal| (refusal.calls.first(), refusal.reason)))
        .chain(JUDGED.iter().map(|judged| (Some(&judged.call), judged.reason)));
    if let Some((name, _)) = reasons.find(|(_, reason)| reason.is_empty()) {
        return Err(Error::NoReason(name.map_or_else(String::new, ToString::to_string)));
    }
    let mut found = BTreeMap::new();
    for refusal in REFUSED {
        for name in refusal.calls {
            if found.insert(*name, Verdict::Fail(refusal.errno)).is_some() {
                return Err(Error::Twice(name));
            }
        }
    }
    for (index, judged) in JUDGED.iter().enumerate() {
        if found.insert(judged.call, Verdict::Judge(index)).is_some() {
            return Err(Error::Twice(judged.call));
        }
    }
    let mut added = BTreeSet::new();
    for name in ADDED.iter().flat_map(|group| group.calls) {
        if found.contains_key(name) || !added.insert(*name) {
            return Err(Error::Twice(name));
        }
    }
    for name in added.into_iter().chain(census(census_text)?) {
        found.entry(name).or_insert(Verdict::Allow);
    }
    for name in found.keys() {
        if number(name, TargetArch::x86_64).or_else(|| number(name, TargetArch::aarch64)).is_none()
        {
            return Err(Error::Unknown((*name).to_owned()));
        }
    }
    Ok(found)
}

/// The call's number there. seccompiler keeps its tables to itself, but a filter of one call has the
/// number in its first comparison of one.
pub(crate) fn number(name: &str, arch: TargetArch) -> Option<u32> {
    let filter = serde_json::json!({
        "one": { "mismatch_action": "trap", "match_action": "allow", "filter": [{ "syscall": name }] }
    });
    let compiled = compile_from_json(filter.to_string().as_bytes(), arch).ok()?;
    let after_load =
        compiled.get("one")?.iter().skip_while(|line| !(line.code == LOAD && line.k == NUMBER));
    after_load.skip(1).find(|line| line.code == EQUAL).map(|line| line.k)
}

/// The program for one architecture.
pub(crate) fn program(
    decisions: &BTreeMap<&str, Verdict>,
    arch: TargetArch,
) -> Result<BpfProgram, Error> {
    let ranges = ranges(decisions, arch);
    let mut program = vec![
        statement(LOAD, ARCHITECTURE),
        jump(EQUAL, audit(arch), 1, 0),
        // A call of another architecture: 32-bit code has other numbers for everything.
        statement(RETURN, libc::SECCOMP_RET_KILL_PROCESS),
        statement(LOAD, NUMBER),
    ];
    program.extend(search(&ranges)?);
    if program.len() > libc::BPF_MAXINSNS as usize {
        return Err(Error::TooLong(program.len()));
    }
    Ok(program)
}

/// All numbers, as ranges that share a verdict: the first number of each, ascending.
fn ranges(decisions: &BTreeMap<&str, Verdict>, arch: TargetArch) -> Vec<(u32, Verdict)> {
    let known: BTreeMap<u32, Verdict> = decisions
        .iter()
        .filter_map(|(name, verdict)| Some((number(name, arch)?, *verdict)))
        .collect();
    // A call that nobody decided about is younger than the lists, or belongs to no one: libraries
    // have to hear that it does not exist, or they would not fall back to an older one.
    let unknown = Verdict::Fail(libc::ENOSYS);
    let mut starts = BTreeMap::from([(0, unknown)]);
    for (number, verdict) in &known {
        starts.insert(*number, *verdict);
        starts.entry(number + 1).or_insert(unknown);
        if known.contains_key(&(number + 1)) {
            starts.remove(&(number + 1));
        }
    }
    if arch == TargetArch::x86_64 {
        starts.insert(X32.0, Verdict::Kill);
        starts.insert(X32.1, unknown);
    }
    let mut merged: Vec<(u32, Verdict)> = starts.into_iter().collect();
    merged.dedup_by_key(|(_, verdict)| *verdict);
    merged
}

/// Halves the ranges until one is left.
fn search(ranges: &[(u32, Verdict)]) -> Result<BpfProgram, Error> {
    let (low, high) = ranges.split_at(ranges.len() / 2);
    let Some((first, _)) = high.first().filter(|_| !low.is_empty()) else {
        return match ranges.first() {
            Some((_, Verdict::Judge(index))) => JUDGED.get(*index).map_or(Ok(Vec::new()), judge),
            Some((_, verdict)) => Ok(vec![statement(RETURN, verdict.returned())]),
            None => Ok(Vec::new()),
        };
    };
    let (low, high) = (search(low)?, search(high)?);
    let over = u32::try_from(low.len()).unwrap_or(u32::MAX);
    // A comparison jumps over 255 instructions at most, a plain jump over any number.
    let mut program = match u8::try_from(over) {
        Ok(over) => vec![jump(AT_LEAST, *first, over, 0)],
        Err(_) => vec![jump(AT_LEAST, *first, 0, 1), statement(JUMP, over)],
    };
    program.extend(low);
    program.extend(high);
    Ok(program)
}

/// A chain of rules; each falls through to the next, and after the last the call fails.
fn judge(judged: &Judged) -> Result<BpfProgram, Error> {
    let mut program = BpfProgram::new();
    for rule in rules(judged)? {
        program.extend(BpfProgram::from(rule));
        program.push(statement(RETURN, Verdict::Allow.returned()));
    }
    program.push(statement(RETURN, Verdict::Fail(judged.otherwise).returned()));
    Ok(program)
}

/// seccompiler's rules know one value per condition: every combination becomes a rule.
pub(crate) fn rules(judged: &Judged) -> Result<Vec<SeccompRule>, Error> {
    combinations(judged)
        .into_iter()
        .map(|conditions| {
            let conditions = conditions.into_iter().map(|(argument, mask, value)| {
                let operator = if mask == u32::MAX {
                    SeccompCmpOp::Eq
                } else {
                    SeccompCmpOp::MaskedEq(u64::from(mask))
                };
                SeccompCondition::new(argument, SeccompCmpArgLen::Dword, operator, u64::from(value))
            });
            SeccompRule::new(conditions.collect::<Result<_, _>>()?)
        })
        .collect::<Result<_, _>>()
        .map_err(Error::Condition)
}

/// One condition with one value: argument, mask, value.
pub(crate) type Single = (u8, u32, u32);

/// Every way in which the call is allowed.
pub(crate) fn combinations(judged: &Judged) -> Vec<Vec<Single>> {
    judged.rules.iter().flat_map(|conditions| product(conditions)).collect()
}

fn product(conditions: &[Condition]) -> Vec<Vec<Single>> {
    conditions.iter().fold(vec![Vec::new()], |before, condition| {
        let Condition { argument, mask, values } = condition;
        let extended = before.iter().flat_map(|singles| {
            values.iter().map(move |value| {
                let mut singles = singles.clone();
                singles.push((*argument, *mask, *value));
                singles
            })
        });
        extended.collect()
    })
}

/// The kernel's `AUDIT_ARCH_` numbers.
pub(crate) fn audit(arch: TargetArch) -> u32 {
    match arch {
        TargetArch::x86_64 => 0xc000_003e,
        TargetArch::aarch64 => 0xc000_00b7,
        TargetArch::riscv64 => 0xc000_00f3,
    }
}

fn statement(code: u16, k: u32) -> sock_filter {
    sock_filter { code, jt: 0, jf: 0, k }
}

fn jump(code: u16, k: u32, jt: u8, jf: u8) -> sock_filter {
    sock_filter { code, jt, jf, k }
}
