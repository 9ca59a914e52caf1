//! The kernel's filter machine, as far as filters of ours go. What it cannot run is a fault.

use libc::{
    BPF_ABS, BPF_ALU, BPF_AND, BPF_JA, BPF_JEQ, BPF_JGE, BPF_JGT, BPF_JMP, BPF_K, BPF_LD, BPF_RET,
    BPF_W,
};

/// One instruction: code, both jumps, operand.
pub(crate) type Line = (u16, u8, u8, u32);

/// What a filter sees of a call.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Call {
    pub(crate) number: u32,
    pub(crate) arch: u32,
    pub(crate) arguments: [u64; 6],
}

impl Call {
    /// The word at an offset of `struct seccomp_data`.
    fn word(&self, offset: u32) -> u32 {
        match offset {
            0 => self.number,
            4 => self.arch,
            16.. => {
                let index = (offset - 16) / 8;
                let argument = self.arguments[index as usize];
                let shift = if (offset - 16) % 8 == 4 { 32 } else { 0 };
                u32::try_from(argument >> shift & u64::from(u32::MAX)).unwrap()
            }
            _ => panic!("the instruction pointer is not judged: offset {offset}"),
        }
    }
}

/// The action, and how many instructions it took.
pub(crate) fn run(program: &[Line], call: &Call) -> (u32, usize) {
    let (mut accumulator, mut at) = (0_u32, 0_usize);
    for steps in 1..=program.len() {
        let (code, yes, no, k) = program[at];
        at += 1;
        let code = u32::from(code);
        if code == BPF_LD | BPF_W | BPF_ABS {
            accumulator = call.word(k);
        } else if code == BPF_ALU | BPF_AND | BPF_K {
            accumulator &= k;
        } else if code == BPF_RET | BPF_K {
            return (k, steps);
        } else if code == BPF_JMP | BPF_JA {
            at += k as usize;
        } else {
            let holds = match code {
                code if code == BPF_JMP | BPF_JEQ | BPF_K => accumulator == k,
                code if code == BPF_JMP | BPF_JGE | BPF_K => accumulator >= k,
                code if code == BPF_JMP | BPF_JGT | BPF_K => accumulator > k,
                _ => panic!("unknown instruction {code:#x}"),
            };
            at += usize::from(if holds { yes } else { no });
        }
    }
    panic!("a program without loops takes at most its length")
}
