//! Restricts a thread's file access with Landlock (`Documentation/userspace-api/landlock.rst`), also to root's own
//! files, which dropping capabilities does not protect from root.
//!
//! Rights that the running kernel does not know are left out. Landlock's first version, in 5.13, has all that matters
//! here except renaming into another folder, truncation, and everything beyond files.

use landlock::{
    ABI, Access, AccessFs, AccessNet, BitFlags, LandlockStatus, PathBeneath, PathFd, Ruleset, RulesetAttr,
    RulesetCreatedAttr, RulesetError, Scope, make_bitflags,
};
use std::path::Path;

/// The rights in the folders that palisade writes to: it writes a file beside its destination and renames it, in some
/// cases into a sibling folder.
const WRITES: BitFlags<AccessFs> =
    make_bitflags!(AccessFs::{WriteFile | Truncate | MakeReg | MakeDir | RemoveFile | Refer});
const READS: BitFlags<AccessFs> = make_bitflags!(AccessFs::{ReadFile | ReadDir});

/// Why Landlock confines nothing; `None` when it does.
pub(super) type Absent = Option<&'static str>;

/// Lets this thread write below these folders and nowhere else, execute nothing, and, unless it asks name servers, use no
/// TCP or UDP port. Reading
/// is unchanged. It can't connect to abstract sockets of processes outside. The system call filter restricts signals:
/// Landlock's restriction would also stop the kernel from ending a child with its parent (`PR_SET_PDEATHSIG`).
pub(super) fn write_below(folders: &[&Path], asks_name_servers: bool) -> Result<Absent, RulesetError> {
    // Version 9 adds connecting to path sockets; the engines' sockets are still needed while reading.
    let files = AccessFs::from_all(ABI::V8) & !READS;
    let ruleset = Ruleset::default().handle_access(files)?.scope(Scope::AbstractUnixSocket)?;
    let ruleset = if asks_name_servers { ruleset } else { ruleset.handle_access(AccessNet::from_all(ABI::V10))? };
    restrict(ruleset, &[(folders, WRITES)])
}

/// Lets this thread read below `reads` and `writes` and nowhere else, and connect to no socket that has a path. Write
/// access is unchanged.
pub(super) fn read_below(reads: &[&Path], writes: &[&Path]) -> Result<Absent, RulesetError> {
    // A ruleset that does not handle renaming into other folders forbids it.
    let ruleset = Ruleset::default().handle_access(READS | AccessFs::Refer | AccessFs::ResolveUnix)?;
    restrict(ruleset, &[(reads, READS), (writes, READS | AccessFs::Refer)])
}

/// Lets this thread read below these folders and nowhere else, and connect to the sockets there.
pub(super) fn look_up_below(folders: &[&Path]) -> Result<Absent, RulesetError> {
    let access = READS | AccessFs::ResolveUnix;
    restrict(Ruleset::default().handle_access(access)?, &[(folders, access)])
}

fn restrict(ruleset: Ruleset, rules: &[(&[&Path], BitFlags<AccessFs>)]) -> Result<Absent, RulesetError> {
    let mut created = ruleset.create()?;
    for (path, access) in rules.iter().flat_map(|(paths, access)| paths.iter().map(move |path| (path, *access))) {
        // A missing path needs no right.
        let Ok(opened) = PathFd::new(path) else { continue };
        let access = if path.is_dir() { access } else { access & AccessFs::from_file(ABI::V8) };
        created = created.add_rule(PathBeneath::new(opened, access))?;
    }
    Ok(match created.restrict_self()?.landlock {
        LandlockStatus::NotEnabled => Some("is switched off on this kernel (`lsm=`)"),
        LandlockStatus::NotImplemented => Some("is not in this kernel, or may not be used"),
        LandlockStatus::Available { effective_abi, .. } => {
            tracing::debug!("Landlock, version {effective_abi}");
            None
        }
    })
}
