//! System call filters (`Documentation/userspace-api/seccomp_filter.rst`) as classic BPF programs.
//!
//! The program is built here because the kernel runs it once for every call number at installation, to learn which
//! calls always pass: binary search costs a tenth of a linear one (measured on 6.18: 0.1 ms instead of 1.0).

use seccompiler::{BpfProgram, apply_filter_all_threads, sock_filter};
use std::collections::BTreeMap;

/// `AUDIT_ARCH_*`: the ELF machine with the flags for 64 bits and little-endian.
const ARCHITECTURE: Option<u32> = if cfg!(target_arch = "x86_64") {
    Some(0xc000_003e)
} else if cfg!(target_arch = "aarch64") {
    Some(0xc000_00b7)
} else {
    None
};

/// Offsets in `struct seccomp_data`: the number, the architecture, and the lower half of the first argument.
const NUMBER: u32 = 0;
const ARCHITECTURE_AT: u32 = 4;
const ARGUMENTS: u32 = 16;

const LOAD: u32 = libc::BPF_LD | libc::BPF_W | libc::BPF_ABS;
const MASK: u32 = libc::BPF_ALU | libc::BPF_AND | libc::BPF_K;
const IF_EQUAL: u32 = libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K;
const IF_GREATER: u32 = libc::BPF_JMP | libc::BPF_JGT | libc::BPF_K;
const IF_AT_LEAST: u32 = libc::BPF_JMP | libc::BPF_JGE | libc::BPF_K;
const IF_ANY_BIT: u32 = libc::BPF_JMP | libc::BPF_JSET | libc::BPF_K;
const RETURN: u32 = libc::BPF_RET | libc::BPF_K;

/// The binary search switches to linear comparison at this many numbers.
const NEAR: usize = 3;

/// The result of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// The kernel executes the call.
    Made,
    /// EPERM.
    NotPermitted,
    /// ENOSYS, as from a kernel that does not have the call.
    NotImplemented,
    /// The process is killed.
    Killed,
}

impl Answer {
    const fn code(self) -> u32 {
        match self {
            Self::Made => libc::SECCOMP_RET_ALLOW,
            Self::NotPermitted => libc::SECCOMP_RET_ERRNO | libc::EPERM.unsigned_abs(),
            Self::NotImplemented => libc::SECCOMP_RET_ERRNO | libc::ENOSYS.unsigned_abs(),
            Self::Killed => libc::SECCOMP_RET_KILL_PROCESS,
        }
    }
}

/// A condition on an argument, counted from 0; the kernel reads it as 32 bits.
#[derive(Clone, Copy, Debug)]
pub(super) enum Condition {
    IsNot { argument: u8, value: libc::c_int },
    HasAny { argument: u8, bits: libc::c_int },
    Has { argument: u8, mask: libc::c_int, value: libc::c_int },
}

/// Why no filter was installed.
#[derive(Debug, thiserror::Error)]
pub(super) enum NoFilter {
    #[error("none is made for this architecture")]
    Architecture,
    #[error(transparent)]
    Kernel(#[from] seccompiler::Error),
}

/// The results of filtered calls; all other calls are made.
#[derive(Debug)]
pub(super) struct Filter {
    newest: u32,
    /// For each call number, instructions that end in a result.
    calls: BTreeMap<u32, BpfProgram>,
}

impl Filter {
    /// A filter that answers ENOSYS to every number above `newest`: to unknown newer calls, and to x32's, whose
    /// numbers begin at 2³⁰.
    pub(super) fn new(newest: libc::c_long) -> Self {
        Self { newest: number(newest), calls: BTreeMap::new() }
    }

    pub(super) fn answer(&mut self, call: libc::c_long, answer: Answer) {
        self.calls.insert(number(call), vec![end(answer)]);
    }

    /// Refuses a call when its argument meets the condition.
    pub(super) fn refuse_when(&mut self, call: libc::c_long, condition: Condition) {
        let load = |argument: u8| instruction(LOAD, ARGUMENTS + 8 * u32::from(argument));
        let ends = |holds, else_| [end(holds), end(else_)];
        let (mut block, [holds, else_]) = match condition {
            Condition::IsNot { argument, value } => (
                vec![load(argument), jump(IF_EQUAL, value.cast_unsigned(), 0, 1)],
                ends(Answer::Made, Answer::NotPermitted),
            ),
            Condition::HasAny { argument, bits } => (
                vec![load(argument), jump(IF_ANY_BIT, bits.cast_unsigned(), 0, 1)],
                ends(Answer::NotPermitted, Answer::Made),
            ),
            Condition::Has { argument, mask, value } => (
                vec![
                    load(argument),
                    instruction(MASK, mask.cast_unsigned()),
                    jump(IF_EQUAL, value.cast_unsigned(), 0, 1),
                ],
                ends(Answer::NotPermitted, Answer::Made),
            ),
        };
        block.extend([holds, else_]);
        self.calls.insert(number(call), block);
    }

    /// Installs the filter for all threads of this process, irrevocably.
    pub(super) fn install(&self) -> Result<(), NoFilter> {
        let architecture = ARCHITECTURE.ok_or(NoFilter::Architecture)?;
        Ok(apply_filter_all_threads(&self.program(architecture))?)
    }

    fn program(&self, architecture: u32) -> BpfProgram {
        let mut program = vec![
            instruction(LOAD, ARCHITECTURE_AT),
            jump(IF_EQUAL, architecture, 1, 0),
            end(Answer::Killed),
            instruction(LOAD, NUMBER),
            jump(IF_GREATER, self.newest, 0, 1),
            end(Answer::NotImplemented),
        ];
        program.extend(search(&self.calls.iter().collect::<Vec<_>>()));
        program
    }
}

/// A binary search for the number in a sorted list.
fn search(calls: &[(&u32, &BpfProgram)]) -> BpfProgram {
    if let Some((lower, upper @ [(first, _), ..])) =
        calls.split_at_checked(calls.len() / 2).filter(|_| calls.len() > NEAR)
    {
        let lower = search(lower);
        if let Ok(past) = u8::try_from(lower.len()) {
            let mut program = vec![jump(IF_AT_LEAST, **first, past, 0)];
            program.extend(lower);
            program.extend(search(upper));
            return program;
        }
    }
    let mut program = BpfProgram::new();
    for (number, block) in calls {
        // A block has five instructions at most.
        program.push(jump(IF_EQUAL, **number, 0, u8::try_from(block.len()).unwrap_or(u8::MAX)));
        program.extend_from_slice(block);
    }
    program.push(end(Answer::Made));
    program
}

fn number(call: libc::c_long) -> u32 {
    // The kernel's numbers fit; any other becomes a number that no call has.
    u32::try_from(call).unwrap_or(u32::MAX)
}

const fn end(answer: Answer) -> sock_filter {
    instruction(RETURN, answer.code())
}

const fn instruction(code: u32, k: u32) -> sock_filter {
    sock_filter { code: code as u16, jt: 0, jf: 0, k }
}

/// A conditional jump, in instructions to skip.
const fn jump(code: u32, k: u32, if_so: u8, if_not: u8) -> sock_filter {
    sock_filter { code: code as u16, jt: if_so, jf: if_not, k }
}

#[cfg(test)]
mod tests {
    use super::*;

    impl Filter {
        /// The program's result for a call of this architecture, executed as the kernel does.
        pub(crate) fn answers(&self, number: u32, arguments: [u32; 6]) -> Answer {
            run(&self.program(NATIVE), NATIVE, number, arguments)
        }
    }

    const NATIVE: u32 = 0xc000_003e;

    fn run(program: &[sock_filter], architecture: u32, number: u32, arguments: [u32; 6]) -> Answer {
        let (mut at, mut held) = (0, 0);
        loop {
            let sock_filter { code, jt, jf, k } = program[at];
            at += 1;
            let holds = match u32::from(code) {
                LOAD => {
                    held = match k {
                        NUMBER => number,
                        ARCHITECTURE_AT => architecture,
                        offset => arguments[(offset - ARGUMENTS) as usize / 8],
                    };
                    continue;
                }
                MASK => {
                    held &= k;
                    continue;
                }
                RETURN => {
                    let all = [Answer::Made, Answer::NotPermitted, Answer::NotImplemented, Answer::Killed];
                    return all.into_iter().find(|answer| answer.code() == k).expect("an answer");
                }
                IF_EQUAL => held == k,
                IF_GREATER => held > k,
                IF_AT_LEAST => held >= k,
                IF_ANY_BIT => held & k != 0,
                other => panic!("no instruction of ours: {other}"),
            };
            at += usize::from(if holds { jt } else { jf });
        }
    }

    #[test]
    fn a_call_of_another_architecture_ends_the_process() {
        let program = Filter::new(400).program(NATIVE);

        let i386 = 0x4000_0003;
        assert_eq!(run(&program, i386, 1, [0; 6]), Answer::Killed);
        assert_eq!(run(&program, NATIVE, 1, [0; 6]), Answer::Made);
    }

    #[test]
    fn each_of_many_numbers_is_found_and_none_beside_them() {
        for many in 0..120 {
            let mut filter = Filter::new(1_000);
            (0..many).for_each(|number| filter.answer(3 * number + 1, Answer::NotPermitted));

            let found = (0..400).filter(|&number| filter.answers(number, [0; 6]) == Answer::NotPermitted);

            assert_eq!(found.collect::<Vec<_>>(), (0..many).map(|number| 3 * number as u32 + 1).collect::<Vec<_>>());
        }
    }
}
