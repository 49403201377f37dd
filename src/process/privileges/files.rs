//! What a thread may do with files, kept by Landlock (`Documentation/userspace-api/landlock.rst`): root's own files too,
//! which capabilities do not protect from root.
//!
//! Rights that the running kernel does not know are left out: 5.13 has the first version, with all that matters here but
//! renaming into another folder, truncation, and everything that is no file.

use landlock::{
    ABI, Access, AccessFs, AccessNet, BitFlags, LandlockStatus, PathBeneath, PathFd, Ruleset, RulesetAttr,
    RulesetCreatedAttr, RulesetError, Scope, make_bitflags,
};
use std::path::Path;

/// What palisade does in the folders that it writes to: files are written beside their places and renamed into them, some
/// in another folder of the same.
const WRITES: BitFlags<AccessFs> =
    make_bitflags!(AccessFs::{WriteFile | Truncate | MakeReg | MakeDir | RemoveFile | Refer});
const READS: BitFlags<AccessFs> = make_bitflags!(AccessFs::{ReadFile | ReadDir});

/// Why nothing is confined by Landlock; `None` when something is.
pub(super) type Absent = Option<&'static str>;

/// Lets this thread write below these folders and nowhere else, execute nothing, and use no TCP or UDP port; reading is as
/// before. It connects to no abstract sockets of processes outside. Signals are a matter of the system calls: what Landlock
/// refuses of them it refuses to the kernel, too, when that ends a child with its parent (`PR_SET_PDEATHSIG`).
pub(super) fn write_below(folders: &[&Path]) -> Result<Absent, RulesetError> {
    // Version 9 adds the sockets of engines, which are asked while reading.
    let files = AccessFs::from_all(ABI::V8) & !READS;
    let ruleset = Ruleset::default()
        .handle_access(files)?
        .handle_access(AccessNet::from_all(ABI::V10))?
        .scope(Scope::AbstractUnixSocket)?;
    restrict(ruleset, &[(folders, WRITES)])
}

/// Lets this thread read below `reads` and `writes` and nowhere else, and connect to no socket that has a path. What it may
/// write stays as it is.
pub(super) fn read_below(reads: &[&Path], writes: &[&Path]) -> Result<Absent, RulesetError> {
    // A ruleset that does not speak of renaming into other folders forbids it.
    let ruleset = Ruleset::default().handle_access(READS | AccessFs::Refer | AccessFs::ResolveUnix)?;
    restrict(ruleset, &[(reads, READS), (writes, READS | AccessFs::Refer)])
}

fn restrict(ruleset: Ruleset, rules: &[(&[&Path], BitFlags<AccessFs>)]) -> Result<Absent, RulesetError> {
    let mut created = ruleset.create()?;
    for (path, access) in rules.iter().flat_map(|(paths, access)| paths.iter().map(move |path| (path, *access))) {
        // What is not there needs no right.
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
