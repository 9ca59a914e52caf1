//! The lists decide about everything, and the program does what they say.

use std::collections::{BTreeMap, BTreeSet};

use libc::{SECCOMP_RET_ALLOW, SECCOMP_RET_ERRNO, SECCOMP_RET_KILL_PROCESS};
use seccompiler::{BpfProgram, SeccompAction, SeccompFilter, TargetArch};

use crate::compile::{self, Verdict};
use crate::machine::{Call, Line, run};
use crate::policy::JUDGED;

pub(crate) const CENSUS: &str = include_str!("../../census.txt");

const BOTH: [TargetArch; 2] = [TargetArch::x86_64, TargetArch::aarch64];

/// 32-bit code on x86-64 and on aarch64.
const AUDIT_I386: u32 = 0x4000_0003;
const AUDIT_ARM: u32 = 0x4000_0028;

fn lines(program: &BpfProgram) -> Vec<Line> {
    program.iter().map(|line| (line.code, line.jt, line.jf, line.k)).collect()
}

fn numbers(arch: TargetArch) -> BTreeMap<u32, Verdict> {
    let decisions = compile::decisions(CENSUS).unwrap();
    decisions
        .iter()
        .filter_map(|(name, verdict)| Some((compile::number(name, arch)?, *verdict)))
        .collect()
}

/// Values around every one that a condition names, with and without other bits.
fn arguments_to_try() -> Vec<u64> {
    let mut values: BTreeSet<u64> = [0, 1, 2, 3, 17, 29, 40, 0xffff_ffff, u64::MAX].into();
    for judged in JUDGED {
        for (_, mask, value) in compile::combinations(judged).into_iter().flatten() {
            let value = u64::from(value);
            values.extend([
                value,
                value + 1,
                value.wrapping_sub(1),
                value | 0x8_0800,
                value | 1 << 32,
            ]);
            values.extend([u64::from(mask), u64::from(!mask) | value]);
        }
    }
    values.extend((0..32).map(|bit| 1 << bit));
    values.into_iter().collect()
}

#[test]
fn somebody_decided_about_every_call_of_the_tables() {
    let decided: BTreeSet<u32> = numbers(TargetArch::x86_64).into_keys().collect();
    let all: BTreeSet<u32> = (0..=335).chain(424..=462).collect();
    let missing: Vec<&u32> = all.difference(&decided).collect();
    assert!(missing.is_empty(), "nobody decided about {missing:?}");
    assert_eq!(decided, all);
    // Every call of aarch64 exists on x86-64 as well; its table has 318.
    assert_eq!(numbers(TargetArch::aarch64).len(), 318);
}

/// Names in two lists and entries without a reason do not get this far: they fail the build.
#[test]
fn the_census_is_mostly_allowed() {
    let decisions = compile::decisions(CENSUS).unwrap();
    let allowed = decisions.values().filter(|verdict| **verdict == Verdict::Allow).count();
    let census = compile::census(CENSUS).unwrap();
    let refused = census.iter().filter(|name| matches!(decisions[**name], Verdict::Fail(_)));
    eprintln!(
        "census {}, allowed {allowed}, judged {}, known {}, refused though in the census: {}",
        census.len(),
        JUDGED.len(),
        decisions.len(),
        refused.copied().collect::<Vec<_>>().join(" ")
    );
    assert!(census.len() > 100, "a census of a part only");
    assert!(allowed < 280, "{allowed} calls are no short list");
}

#[test]
fn the_program_says_what_the_lists_say() {
    for arch in BOTH {
        let audit = compile::audit(arch);
        let program = lines(&compile::program(&compile::decisions(CENSUS).unwrap(), arch).unwrap());
        let verdicts = numbers(arch);
        for number in (0..2_000).chain([0x3fff_ffff, u32::MAX]) {
            let (action, _) = run(&program, &Call { number, arch: audit, ..Call::default() });
            match verdicts.get(&number) {
                Some(Verdict::Allow) => assert_eq!(action, SECCOMP_RET_ALLOW, "{number}"),
                Some(Verdict::Judge(_)) => assert_ne!(action, SECCOMP_RET_KILL_PROCESS, "{number}"),
                Some(Verdict::Fail(errno)) => {
                    assert_eq!(action, SECCOMP_RET_ERRNO | errno.unsigned_abs(), "{number}");
                }
                Some(Verdict::Kill) | None => {
                    let absent = SECCOMP_RET_ERRNO | libc::ENOSYS.unsigned_abs();
                    assert_eq!(action, absent, "{number}");
                }
            }
        }
    }
}

#[test]
fn foreign_architectures_and_x32_are_killed() {
    for arch in BOTH {
        let audit = compile::audit(arch);
        let program = lines(&compile::program(&compile::decisions(CENSUS).unwrap(), arch).unwrap());
        let others = [AUDIT_I386, AUDIT_ARM, audit ^ 1, 0];
        for other in others {
            let call = Call { number: 0, arch: other, ..Call::default() };
            assert_eq!(run(&program, &call).0, SECCOMP_RET_KILL_PROCESS);
        }
        for number in [0, 1, 39, 59, 512, 547, 0x3fff_ffff] {
            let call = Call { number: 0x4000_0000 | number, arch: audit, ..Call::default() };
            let killed = run(&program, &call).0 == SECCOMP_RET_KILL_PROCESS;
            assert_eq!(killed, arch == TargetArch::x86_64);
        }
    }
}

/// The oracle: seccompiler's own filter of the same lists, which only knows yes and no.
#[test]
fn seccompiler_allows_the_same() {
    let values = arguments_to_try();
    for arch in BOTH {
        let audit = compile::audit(arch);
        let ours = lines(&compile::program(&compile::decisions(CENSUS).unwrap(), arch).unwrap());
        let verdicts = numbers(arch);
        let rules = verdicts.iter().filter_map(|(number, verdict)| match verdict {
            Verdict::Allow => Some((i64::from(*number), Vec::new())),
            Verdict::Judge(index) => {
                Some((i64::from(*number), compile::rules(&JUDGED[*index]).unwrap()))
            }
            Verdict::Fail(_) | Verdict::Kill => None,
        });
        let (no, yes) = (SeccompAction::Trap, SeccompAction::Allow);
        let filter = SeccompFilter::new(rules.collect(), no, yes, arch).unwrap();
        let theirs = lines(&BpfProgram::try_from(filter).unwrap());
        eprintln!("{arch:?}: {} instructions, {} of seccompiler's", ours.len(), theirs.len());
        let mut allowed = 0;
        for number in 0..600 {
            for value in &values {
                let shapes: &[[u64; 6]] = match verdicts.get(&number) {
                    Some(Verdict::Judge(_)) => &[
                        [*value, 0, 0, 0, 0, 0],
                        [*value, 1, 6, 0, 0, 0],
                        [*value, 0x8_0802, 17, 0, 0, 0],
                        [2, *value, 0, 0, 0, 0],
                        [10, *value, 6, 0, 0, 0],
                        [2, 1, *value, 0, 0, 0],
                        [2, 2, *value, 0, 0, 0],
                        [0, 0, *value, 0, 0, 0],
                    ],
                    _ => &[[0; 6]],
                };
                for arguments in shapes {
                    let call = Call { number, arch: audit, arguments: *arguments };
                    let (ours, theirs) = (run(&ours, &call).0, run(&theirs, &call).0);
                    let agree = (ours == SECCOMP_RET_ALLOW) == (theirs == SECCOMP_RET_ALLOW);
                    assert!(agree, "{arch:?} {call:?}: {ours:#x}, seccompiler {theirs:#x}");
                    allowed += usize::from(ours == SECCOMP_RET_ALLOW);
                }
            }
        }
        assert!(allowed > 1_000);
    }
}

#[test]
fn a_call_is_decided_in_few_steps() {
    let program = flowcell_seccomp::program();
    let program: Vec<Line> =
        program.iter().map(|line| (line.code, line.jt, line.jf, line.k)).collect();
    let arch = if cfg!(target_arch = "x86_64") { BOTH[0] } else { BOTH[1] };
    let most = numbers(arch)
        .into_iter()
        .filter(|(_, verdict)| !matches!(verdict, Verdict::Judge(_)))
        .map(|(number, _)| {
            run(&program, &Call { number, arch: compile::audit(arch), ..Call::default() }).1
        })
        .max()
        .unwrap();
    assert!(most <= 20, "{most} instructions for a call");
}
