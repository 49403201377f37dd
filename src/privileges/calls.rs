//! The system calls that a confined process does not make, refused with EPERM by a seccomp filter for all its threads.
//!
//! It is a list of what is refused, not of what is allowed. What gives rights is known and named here; what a C library
//! calls differs from one release to the next, and a firewall that fails at boot for want of a harmless call leaves the
//! machine open. At boot systemd's list of what is allowed stands around this one (`SystemCallFilter=` of the unit).
//!
//! A list of refusals has to be closed on three sides. Another architecture's calls end the process. x86-64 has a second
//! set of numbers (x32), which are refused with their calls. `clone3` has its flags in memory, where no filter sees them:
//! it is answered as by a kernel that does not have it, and the C library takes `clone`.

use libc::c_long;
use seccompiler::{
    BackendError, BpfProgram, SeccompAction, SeccompCmpArgLen::Dword, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule, apply_filter_all_threads,
};
use std::collections::BTreeMap;

/// Refused from the first step on, whatever their arguments.
const REFUSED: &[c_long] = &[
    // Programs.
    libc::SYS_execve,
    libc::SYS_execveat,
    // Other processes: their memory, their descriptors, their end.
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_process_madvise,
    libc::SYS_kcmp,
    libc::SYS_pidfd_open,
    libc::SYS_pidfd_getfd,
    libc::SYS_pidfd_send_signal,
    libc::SYS_kill,
    libc::SYS_tkill,
    libc::SYS_rt_sigqueueinfo,
    libc::SYS_rt_tgsigqueueinfo,
    // Namespaces and mounts.
    libc::SYS_setns,
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_pivot_root,
    libc::SYS_chroot,
    libc::SYS_move_mount,
    libc::SYS_open_tree,
    libc::SYS_fsopen,
    libc::SYS_fsconfig,
    libc::SYS_fsmount,
    libc::SYS_fspick,
    libc::SYS_mount_setattr,
    libc::SYS_name_to_handle_at,
    libc::SYS_open_by_handle_at,
    libc::SYS_fanotify_init,
    libc::SYS_quotactl,
    libc::SYS_quotactl_fd,
    libc::SYS_swapon,
    libc::SYS_swapoff,
    // The kernel itself.
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_delete_module,
    libc::SYS_kexec_load,
    libc::SYS_kexec_file_load,
    libc::SYS_bpf,
    libc::SYS_perf_event_open,
    libc::SYS_userfaultfd,
    libc::SYS_reboot,
    libc::SYS_acct,
    libc::SYS_syslog,
    libc::SYS_settimeofday,
    libc::SYS_clock_settime,
    libc::SYS_clock_adjtime,
    libc::SYS_adjtimex,
    libc::SYS_sethostname,
    libc::SYS_setdomainname,
    // Keys.
    libc::SYS_add_key,
    libc::SYS_request_key,
    libc::SYS_keyctl,
    // What it submits passes no filter.
    libc::SYS_io_uring_setup,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
    // What Landlock does not watch of files: modes, owners, attributes, times, and before 6.2 truncation. The flags of
    // openat2 are in memory, where no filter sees them.
    libc::SYS_fchmod,
    libc::SYS_fchmodat,
    FCHMODAT2,
    libc::SYS_fchown,
    libc::SYS_fchownat,
    libc::SYS_setxattr,
    libc::SYS_lsetxattr,
    libc::SYS_fsetxattr,
    SETXATTRAT,
    libc::SYS_removexattr,
    libc::SYS_lremovexattr,
    libc::SYS_fremovexattr,
    REMOVEXATTRAT,
    FILE_SETATTR,
    libc::SYS_utimensat,
    libc::SYS_truncate,
    libc::SYS_openat2,
];
/// The same of calls that x86-64 alone has.
#[cfg(target_arch = "x86_64")]
const REFUSED_OLD: &[c_long] = &[
    libc::SYS_iopl,
    libc::SYS_ioperm,
    libc::SYS_modify_ldt,
    libc::SYS_chmod,
    libc::SYS_chown,
    libc::SYS_lchown,
    libc::SYS_utime,
    libc::SYS_utimes,
    libc::SYS_futimesat,
];
#[cfg(not(target_arch = "x86_64"))]
const REFUSED_OLD: &[c_long] = &[];

/// Calls newer than some C libraries, by their numbers, which all architectures share from 424 on.
const FCHMODAT2: c_long = 452;
const SETXATTRAT: c_long = 463;
const REMOVEXATTRAT: c_long = 466;
const FILE_SETATTR: c_long = 469;

/// `__X32_SYSCALL_BIT`.
#[cfg(target_arch = "x86_64")]
const X32: c_long = 0x4000_0000;
/// The calls of [`REFUSED`] that x32 has numbers of its own for (`arch/x86/entry/syscalls/syscall_64.tbl`): execve, ptrace,
/// rt_sigqueueinfo, kexec_load, rt_tgsigqueueinfo, process_vm_readv, process_vm_writev, execveat.
#[cfg(target_arch = "x86_64")]
const X32_NUMBERS: [c_long; 8] = [520, 521, 524, 528, 536, 539, 540, 545];

/// The flags of `clone` that make a namespace.
const NAMESPACES: [libc::c_int; 7] = [
    libc::CLONE_NEWNS,
    libc::CLONE_NEWCGROUP,
    libc::CLONE_NEWUTS,
    libc::CLONE_NEWIPC,
    libc::CLONE_NEWUSER,
    libc::CLONE_NEWPID,
    libc::CLONE_NEWNET,
];

/// Why there is no filter.
#[derive(Debug, thiserror::Error)]
pub(super) enum CallsError {
    #[error("this architecture has no filter: {0}")]
    Filter(#[from] BackendError),
    #[error(transparent)]
    Kernel(#[from] seccompiler::Error),
}

type Rules = BTreeMap<c_long, Vec<SeccompRule>>;

/// From the first step on. `namespace`: whether a network namespace may be made, and no other.
pub(super) fn refuse_while_reading(namespace: bool) -> Result<(), CallsError> {
    let mut rules: Rules = REFUSED.iter().chain(REFUSED_OLD).map(|&number| (number, Vec::new())).collect();
    let others = if namespace { vec![when(0, SeccompCmpOp::Ne, libc::CLONE_NEWNET)?] } else { Vec::new() };
    rules.insert(libc::SYS_unshare, others);
    let made = NAMESPACES.map(|flag| when(0, SeccompCmpOp::MaskedEq(bits(flag)), flag));
    rules.insert(libc::SYS_clone, made.into_iter().collect::<Result<_, _>>()?);
    // abort(3) signals its own process.
    let own = libc::c_int::try_from(std::process::id()).unwrap_or_default();
    rules.insert(libc::SYS_tgkill, vec![when(0, SeccompCmpOp::Ne, own)?]);
    // Truncates although it opens for reading.
    let truncates = |argument| {
        let mask = SeccompCmpOp::MaskedEq(bits(libc::O_TRUNC | libc::O_ACCMODE));
        when(argument, mask, libc::O_TRUNC | libc::O_RDONLY)
    };
    rules.insert(libc::SYS_openat, vec![truncates(2)?]);
    #[cfg(target_arch = "x86_64")]
    {
        rules.insert(libc::SYS_open, vec![truncates(1)?]);
        rules.extend(X32_NUMBERS.map(|number| (number | X32, Vec::new())));
    }
    install(rules, libc::EPERM)?;
    install(Rules::from([(libc::SYS_clone3, Vec::new())]), libc::ENOSYS)
}

/// From the second step on: no namespace at all, and no socket but those of netlink.
pub(super) fn refuse_after_reading() -> Result<(), CallsError> {
    let others = when(0, SeccompCmpOp::Ne, libc::AF_NETLINK)?;
    install(Rules::from([(libc::SYS_unshare, Vec::new()), (libc::SYS_socket, vec![others])]), libc::EPERM)
}

/// When an argument, of 32 bits, compares so.
fn when(argument: u8, how: SeccompCmpOp, value: libc::c_int) -> Result<SeccompRule, BackendError> {
    SeccompRule::new(vec![SeccompCondition::new(argument, Dword, how, bits(value))?])
}

const fn bits(value: libc::c_int) -> u64 {
    value as u32 as u64
}

/// Refuses these calls to all threads of this process, with that error.
fn install(rules: Rules, errno: libc::c_int) -> Result<(), CallsError> {
    #[cfg(target_arch = "x86_64")]
    let rules: Rules =
        rules.into_iter().flat_map(|(number, when)| [(number | X32, when.clone()), (number, when)]).collect();
    let refused = SeccompAction::Errno(errno.unsigned_abs());
    let filter = SeccompFilter::new(rules, SeccompAction::Allow, refused, std::env::consts::ARCH.try_into()?)?;
    Ok(apply_filter_all_threads(&BpfProgram::try_from(filter)?)?)
}
