//! The system calls that a confined process may not make; they fail with EPERM in all its threads.
//!
//! This is a deny list, not an allow list. The calls that grant rights are known and listed here; the calls that a C
//! library makes change from one release to the next, and a firewall that fails at boot for want of a harmless call
//! leaves the machine open. At boot systemd's allow list applies in addition (`SystemCallFilter=` of the unit).
//!
//! A deny list must have no ways around it: calls newer than the list, and x86-64's second set of numbers (x32), fail
//! as on a kernel that does not have them; a call of another architecture ends the process.

use super::filter::{Answer, Condition, Filter, NoFilter};
use libc::c_long;

/// Refused from the first step on, with any arguments.
const REFUSED: &[c_long] = &[
    // Running programs.
    libc::SYS_execve,
    libc::SYS_execveat,
    // Other processes: their memory, their descriptors, signals to them.
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
    // No filter sees the operations that io_uring submits.
    libc::SYS_io_uring_setup,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
    // File operations that Landlock does not cover: modes, owners, attributes, times, and before 6.2 truncation.
    // openat2 passes its flags in memory, where no filter sees them.
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
/// Further calls that only x86-64 has.
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

/// Calls newer than some C libraries, by number; from 424 on all architectures share the numbers.
const FCHMODAT2: c_long = 452;
const SETXATTRAT: c_long = 463;
const REMOVEXATTRAT: c_long = 466;
const FILE_SETATTR: c_long = 469;
/// The newest call known to this list. Palisade's minimum, 5.13, has none beyond 448, so nothing needs a newer one.
const NEWEST: c_long = FILE_SETATTR;

/// The flags of `clone` that make a namespace.
const NAMESPACES: libc::c_int = libc::CLONE_NEWNS
    | libc::CLONE_NEWCGROUP
    | libc::CLONE_NEWUTS
    | libc::CLONE_NEWIPC
    | libc::CLONE_NEWUSER
    | libc::CLONE_NEWPID
    | libc::CLONE_NEWNET;

/// The filter from the first step on. `namespace`: whether the process may make a network namespace, but no other
/// kind.
pub(super) fn refuse_while_reading(namespace: bool) -> Result<(), NoFilter> {
    while_reading(namespace).install()
}

/// The filter from the second step on: no namespaces, and no sockets but netlink sockets.
pub(super) fn refuse_after_reading() -> Result<(), NoFilter> {
    after_reading().install()
}

fn while_reading(namespace: bool) -> Filter {
    let mut filter = Filter::new(NEWEST);
    for &number in REFUSED.iter().chain(REFUSED_OLD) {
        filter.answer(number, Answer::NotPermitted);
    }
    if namespace {
        filter.refuse_when(libc::SYS_unshare, Condition::IsNot { argument: 0, value: libc::CLONE_NEWNET })
    } else {
        filter.answer(libc::SYS_unshare, Answer::NotPermitted)
    }
    filter.refuse_when(libc::SYS_clone, Condition::HasAny { argument: 0, bits: NAMESPACES });
    // clone3 passes its flags in memory, where no filter sees them; after ENOSYS the C library uses `clone`.
    filter.answer(libc::SYS_clone3, Answer::NotImplemented);
    // abort(3) signals a thread of its own process.
    let own = libc::c_int::try_from(std::process::id()).unwrap_or_default();
    filter.refuse_when(libc::SYS_tgkill, Condition::IsNot { argument: 0, value: own });
    // Opening a file for reading can truncate it; Landlock covers that only since 6.2.
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    /// All numbers up to beyond the newest call, and x32's numbers for them.
    fn numbers() -> impl Iterator<Item = u32> {
        (0..1_000).chain((0..1_000).map(|number| number | 0x4000_0000))
    }

    fn refused(filter: &Filter, arguments: [u32; 6]) -> BTreeSet<u32> {
        numbers().filter(|&number| filter.answers(number, arguments) == Answer::NotPermitted).collect()
    }

    fn of(calls: &[&[c_long]]) -> BTreeSet<u32> {
        calls.concat().into_iter().map(|number| u32::try_from(number).expect("a number")).collect()
    }

    #[test]
    fn what_is_listed_is_refused_and_nothing_else_that_the_list_knows() {
        let own = std::process::id();
        let newnet = libc::CLONE_NEWNET.cast_unsigned();
        let (read, truncate) = (libc::O_RDONLY.cast_unsigned(), (libc::O_RDONLY | libc::O_TRUNC).cast_unsigned());
        let always: &[&[c_long]] = &[REFUSED, REFUSED_OLD];
        let filter = while_reading(true);

        assert_eq!(refused(&filter, [own, read, read, 0, 0, 0]), of(&[always, &[&[libc::SYS_unshare]]].concat()));
        let harmless = refused(&filter, [newnet, read, read, 0, 0, 0]);
        assert_eq!(harmless, of(&[always, &[&[libc::SYS_clone, libc::SYS_tgkill]]].concat()));
        let harmful: &[c_long] =
            &[libc::SYS_unshare, libc::SYS_tgkill, libc::SYS_clone, libc::SYS_openat, libc::SYS_open];
        let user = (libc::CLONE_NEWUSER | libc::CLONE_VM).cast_unsigned();
        assert_eq!(refused(&filter, [user, truncate, truncate, 0, 0, 0]), of(&[always, &[harmful]].concat()));
        let without = while_reading(false);
        assert!(refused(&without, [newnet, 0, 0, 0, 0, 0]).is_superset(&of(&[&[libc::SYS_unshare]])));
    }

    #[test]
    fn after_reading_no_socket_is_made_but_one_of_netlink() {
        let [netlink, unix, packet] =
            [libc::AF_NETLINK, libc::AF_UNIX, libc::AF_PACKET].map(|family| family.cast_unsigned());
        let filter = after_reading();

        assert_eq!(refused(&filter, [netlink, 3, 12, 0, 0, 0]), of(&[&[libc::SYS_unshare]]));
        for family in [unix, packet] {
            assert_eq!(refused(&filter, [family, 3, 0, 0, 0, 0]), of(&[&[libc::SYS_unshare, libc::SYS_socket]]));
        }
    }

    #[test]
    fn what_is_newer_than_the_list_and_what_is_x32s_is_not_there() {
        for filter in [while_reading(true), while_reading(false), after_reading()] {
            let absent = numbers().filter(|&number| filter.answers(number, [0; 6]) == Answer::NotImplemented);
            let clone3 = u32::try_from(libc::SYS_clone3).expect("a number");
            assert_eq!(
                absent.filter(|&number| number != clone3).collect::<Vec<_>>(),
                numbers().filter(|&number| number > 469).collect::<Vec<_>>()
            );
        }
        assert_eq!(while_reading(true).answers(435, [0; 6]), Answer::NotImplemented);
    }
}
