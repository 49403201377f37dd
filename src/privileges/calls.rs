//! The system calls that a confined process does not make, refused with EPERM to all its threads.
//!
//! It is a list of what is refused, not of what is allowed. What gives rights is known and named here; what a C library
//! calls differs from one release to the next, and a firewall that fails at boot for want of a harmless call leaves the
//! machine open. At boot systemd's list of what is allowed stands around this one (`SystemCallFilter=` of the unit).
//!
//! A list of refusals has to be closed on its other sides: calls that are newer than the list, and x86-64's second set of
//! numbers (x32), are answered as by a kernel that does not have them; a call of another architecture ends the process.

use super::filter::{Answer, Condition, Filter, NoFilter};
use libc::c_long;

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
/// The newest call that this list was made with. Palisade's minimum, 5.13, has none beyond 448, so nothing needs one.
const NEWEST: c_long = FILE_SETATTR;

/// The flags of `clone` that make a namespace.
const NAMESPACES: libc::c_int = libc::CLONE_NEWNS
    | libc::CLONE_NEWCGROUP
    | libc::CLONE_NEWUTS
    | libc::CLONE_NEWIPC
    | libc::CLONE_NEWUSER
    | libc::CLONE_NEWPID
    | libc::CLONE_NEWNET;

/// From the first step on. `namespace`: whether a network namespace may be made, and no other.
pub(super) fn refuse_while_reading(namespace: bool) -> Result<(), NoFilter> {
    while_reading(namespace).install()
}

/// From the second step on: no namespace at all, and no socket but those of netlink.
pub(super) fn refuse_after_reading() -> Result<(), NoFilter> {
    after_reading().install()
}

fn while_reading(namespace: bool) -> Filter {
    let mut filter = Filter::new(NEWEST);
    for &number in REFUSED.iter().chain(REFUSED_OLD) {
        filter.answer(number, Answer::NotPermitted);
    }
    match namespace {
        true => filter.refuse_when(libc::SYS_unshare, Condition::IsNot { argument: 0, value: libc::CLONE_NEWNET }),
        false => filter.answer(libc::SYS_unshare, Answer::NotPermitted),
    }
    filter.refuse_when(libc::SYS_clone, Condition::HasAny { argument: 0, bits: NAMESPACES });
    // Its flags are in memory, where no filter sees them; the C library then takes `clone`.
    filter.answer(libc::SYS_clone3, Answer::NotImplemented);
    // abort(3) signals a thread of its own process.
    let own = libc::c_int::try_from(std::process::id()).unwrap_or_default();
    filter.refuse_when(libc::SYS_tgkill, Condition::IsNot { argument: 0, value: own });
    // To open a file for reading may truncate it, which Landlock watches since 6.2 alone.
    let (mask, value) = (libc::O_TRUNC | libc::O_ACCMODE, libc::O_TRUNC | libc::O_RDONLY);
    filter.refuse_when(libc::SYS_openat, Condition::Has { argument: 2, mask, value });
    #[cfg(target_arch = "x86_64")]
    filter.refuse_when(libc::SYS_open, Condition::Has { argument: 1, mask, value });
    filter
}

fn after_reading() -> Filter {
    let mut filter = Filter::new(NEWEST);
    filter.answer(libc::SYS_unshare, Answer::NotPermitted);
    filter.refuse_when(libc::SYS_socket, Condition::IsNot { argument: 0, value: libc::AF_NETLINK });
    filter
}
