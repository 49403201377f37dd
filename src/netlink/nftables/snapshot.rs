//! Reads consistent snapshots of tables from the kernel.

use super::decode::{Assembler, table_id};
use super::handles::Handles;
use super::socket::{GENERATION, Socket};
use crate::netlink::wire::attr::Fields;
use crate::netlink::wire::channel::End;
use crate::netlink::wire::error::NetlinkError;
use crate::netlink::wire::uapi::{self, NFTA_GEN_ID, msg};
use crate::process::progress::{doing, in_thousands};
use crate::ruleset::{Digest, Elements, Table, TableId};
use nix::errno::Errno;
use std::collections::BTreeSet;
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// How long to retry while others keep changing the ruleset.
///
/// An attempt takes a millisecond for most policies. Beside a program that commits once a millisecond, a few in a
/// hundred succeed. A limit on attempts would have to be large; a limit in seconds matters to whoever waits.
const PATIENCE: Duration = Duration::from_secs(10);

/// A table as it was at one generation of the ruleset.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// The generation: a batch with this number is committed only if nothing has changed since.
    pub genid: u32,
    /// The table; `None` if it does not exist.
    pub table: Option<Table>,
    /// The handles of its rules.
    pub handles: Handles,
}

/// A source of the elements behind a digest, other than the kernel.
pub trait Known {
    /// The elements, if known.
    fn elements(&self, digest: &Digest) -> Option<Elements>;
}

/// A table knows the elements of its own sets.
impl Known for Table {
    fn elements(&self, digest: &Digest) -> Option<Elements> {
        let name = self.manifest().into_iter().find(|(_, known)| known == digest)?.0;
        self.sets.get(name).map(|set| set.elements.clone())
    }
}

/// Asks each in turn; the first answer wins.
impl<A: Known + ?Sized, B: Known + ?Sized> Known for (&A, &B) {
    fn elements(&self, digest: &Digest) -> Option<Elements> {
        self.0.elements(digest).or_else(|| self.1.elements(digest))
    }
}

/// Knows nothing.
impl Known for () {
    fn elements(&self, _: &Digest) -> Option<Elements> {
        None
    }
}

/// How many elements of a set are dumped where the kernel does not count them. It takes about a second.
const DUMPED_UNCOUNTED: usize = 131_072;

/// How to read the elements of large sets: those with a digest in the table.
///
/// The kernel starts over for each part of a dump, so dumping a million elements takes a minute. Before 6.16 it does not count a
/// set's elements: without a dump, nobody knows whether somebody has added one.
#[derive(Clone, Copy)]
pub enum Reading<'a> {
    /// Trusts a digest whose elements are known and match the kernel's count; dumps all other sets. Of a set that the kernel does
    /// not count, and that is too large to be dumped, a warning says that what was added to it is not known.
    ByDigest(&'a dyn Known),
    /// Like `ByDigest`, but also looks each element up, and dumps every set that the kernel does not count.
    LookedUp(&'a dyn Known),
}

impl<'a> Reading<'a> {
    /// `LookedUp` if `deep`, else `ByDigest`.
    #[must_use]
    pub fn new(known: &'a dyn Known, deep: bool) -> Self {
        if deep { Self::LookedUp(known) } else { Self::ByDigest(known) }
    }
}

impl std::fmt::Debug for Reading<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::ByDigest(_) => "ByDigest",
            Self::LookedUp(_) => "LookedUp",
        })
    }
}

impl Socket {
    /// The current generation of the ruleset: it grows with each change of any table.
    ///
    /// # Errors
    ///
    /// [`NetlinkError::NotPermitted`], [`NetlinkError::NoNfTables`], or the error of the socket.
    pub fn generation(&self) -> Result<u32, NetlinkError> {
        let mut genid = None;
        self.get(
            GENERATION,
            (msg::GETGEN, 0),
            |_| {},
            |message| {
                let fields = Fields::<{ NFTA_GEN_ID as usize + 1 }>::read(message.attributes()?)?;
                genid = Some(fields.u32(NFTA_GEN_ID)?);
                Some(())
            },
        )?;
        genid.ok_or(NetlinkError::Malformed(GENERATION))
    }

    /// All tables of this network namespace.
    ///
    /// # Errors
    ///
    /// As [`Socket::snapshot`].
    pub fn list_tables(&self) -> Result<Vec<TableId>, NetlinkError> {
        patiently(|| {
            let Some(genid) = self.settled_generation().map_err(first)? else { return Ok(None) };
            let mut tables = Vec::new();
            let read = |message: &crate::netlink::wire::attr::Message<'_>| {
                tables.push(table_id(message)?);
                Some(())
            };
            let end = self.dump("the list of tables", (msg::GETTABLE, 0), |_| {}, read).map_err(first)?;
            Ok((end == End::Complete && self.generation()? == genid).then_some(tables))
        })
    }

    /// Reads a table with everything in it, as it was at one moment.
    ///
    /// # Errors
    ///
    /// [`NetlinkError::Busy`] if the ruleset changed during each attempt, for ten seconds.
    pub fn snapshot(&self, table: &TableId) -> Result<Snapshot, NetlinkError> {
        self.snapshot_reading(table, Reading::ByDigest(&()))
    }

    /// Like [`Socket::snapshot`], reading large sets as `reading` says.
    ///
    /// # Errors
    ///
    /// As [`Socket::snapshot`].
    pub fn snapshot_reading(&self, table: &TableId, reading: Reading<'_>) -> Result<Snapshot, NetlinkError> {
        patiently(|| self.try_snapshot(table, reading))
    }

    /// Reads a table once; `None` if the ruleset changed meanwhile.
    ///
    /// # Errors
    ///
    /// As [`Socket::generation`], and the kernel's error for the table.
    pub fn try_snapshot(&self, table: &TableId, reading: Reading<'_>) -> Result<Option<Snapshot>, NetlinkError> {
        let Some(genid) = self.settled_generation()? else { return Ok(None) };
        let Some(snapshot) = self.attempt(table, Some(genid), reading)? else { return Ok(None) };
        Ok((self.generation()? == genid).then_some(Snapshot { genid, ..snapshot }))
    }

    /// Reads a table once, for a caller that knows the snapshot's generation and whether the table changed meanwhile.
    ///
    /// The kernel marks an interrupted dump of rules, but not one of set elements. So each message must also carry
    /// the lower half of the generation; without a generation, others may change their tables meanwhile.
    pub(in crate::netlink) fn attempt(
        &self,
        id: &TableId,
        genid: Option<u32>,
        reading: Reading<'_>,
    ) -> Result<Option<Snapshot>, NetlinkError> {
        let mut reader =
            Reader { socket: self, id, genid, reading, assembler: Assembler::new(id.clone()), changed: false };
        match reader.table() {
            Err(NetlinkError::Refused { errno: Errno::ENOENT, .. }) => return Ok(Some(Snapshot::default())),
            result => result?,
        }
        match reader.contents() {
            // A set or the table was deleted between two dumps.
            Err(NetlinkError::Refused { errno: Errno::ENOENT, .. }) => return Ok(None),
            result => result?,
        }
        if reader.changed {
            return Ok(None);
        }
        let (table, handles) = reader.assembler.finish();
        Ok(Some(Snapshot { genid: 0, table, handles }))
    }
}

/// Retries until there is a result, for up to [`PATIENCE`].
pub(in crate::netlink) fn patiently<T>(
    mut attempt: impl FnMut() -> Result<Option<T>, NetlinkError>,
) -> Result<T, NetlinkError> {
    let (begun, mut attempts) = (Instant::now(), 0);
    while attempts == 0 || begun.elapsed() < PATIENCE {
        attempts += 1;
        if let Some(answer) = attempt()? {
            return Ok(answer);
        }
    }
    Err(NetlinkError::Busy(attempts))
}

/// Without the capability or the subsystem the first request fails; `EINVAL` means that the subsystem is missing.
fn first(error: NetlinkError) -> NetlinkError {
    match error {
        NetlinkError::Refused { errno: Errno::EINVAL | Errno::EOPNOTSUPP, .. } => NetlinkError::NoNfTables,
        other => other,
    }
}

struct Reader<'a> {
    socket: &'a Socket,
    id: &'a TableId,
    /// The generation that each message must carry; `None` if others may change their tables meanwhile.
    genid: Option<u32>,
    reading: Reading<'a>,
    assembler: Assembler,
    changed: bool,
}

impl Reader<'_> {
    fn table(&mut self) -> Result<(), NetlinkError> {
        let Self { socket, id, genid, assembler, changed, .. } = self;
        socket.get(
            "the table",
            (msg::GETTABLE, id.family.number()),
            |request| request.text(uapi::table::NAME, &id.name),
            |message| {
                *changed |= genid.is_some_and(|genid| message.resource() != Some(lower_half(genid)));
                assembler.accept(message)
            },
        )
    }

    fn contents(&mut self) -> Result<(), NetlinkError> {
        self.dump("the chains", msg::GETCHAIN, uapi::chain::TABLE, None)?;
        self.dump("the rules", msg::GETRULE, uapi::rule::TABLE, None)?;
        self.dump("the sets", msg::GETSET, uapi::set::TABLE, None)?;
        for set in self.assembler.sets_with_elements() {
            if self.is_known(&set)? {
                continue;
            }
            let _doing = doing(format!("reading the elements of {set}"));
            self.dump("the elements of a set", msg::GETSETELEM, uapi::elem::LIST_TABLE, Some(&set))?;
        }
        self.dump("the objects", msg::GETOBJ, uapi::object::TABLE, None)?;
        self.dump("the flowtables", msg::GETFLOWTABLE, uapi::object::TABLE, None)
    }

    /// Whether the elements of a set are known without a dump.
    fn is_known(&mut self, set: &str) -> Result<bool, NetlinkError> {
        let (Reading::ByDigest(known) | Reading::LookedUp(known)) = self.reading;
        let Some(digest) = self.assembler.digest(set).filter(|_| !self.changed) else { return Ok(false) };
        let known = known.elements(&digest).filter(|elements| elements.len() == digest.count);
        let Some(elements) = known.filter(|elements| self.assembler.may_hold(set, elements)) else {
            tracing::warn!(count = digest.count, "reading set {set}, which takes its time");
            return Ok(false);
        };
        let is_deep = matches!(self.reading, Reading::LookedUp(_));
        if !self.assembler.is_counted(set) {
            if is_deep || elements.len() <= DUMPED_UNCOUNTED {
                return Ok(false);
            }
            tell_uncounted(set, elements.len());
        }
        let _doing = doing(format!("looking for each of the {} elements of {set}", in_thousands(elements.len())));
        if is_deep && !self.holds_all(set, &elements)? {
            tracing::warn!("set {set} differs from what was loaded: reading all of it, which takes a while");
            return Ok(false);
        }
        self.assembler.fill(set, elements);
        Ok(true)
    }

    fn holds_all(&self, set: &str, elements: &Elements) -> Result<bool, NetlinkError> {
        match (self.assembler.spec(set), elements.packed()) {
            (Some(spec), Some(packed)) => self.socket.holds_all(self.id, (set, spec), packed),
            _ => Ok(false),
        }
    }

    /// Dumps one kind of object; does nothing once the ruleset is known to have changed.
    fn dump(&mut self, doing: &'static str, kind: u8, table: u16, set: Option<&str>) -> Result<(), NetlinkError> {
        if self.changed {
            return Ok(());
        }
        let Self { socket, id, genid, assembler, changed, .. } = self;
        let end = socket.dump(
            doing,
            (kind, id.family.number()),
            |request| {
                request.text(table, &id.name);
                if let Some(set) = set {
                    request.text(uapi::elem::LIST_SET, set);
                }
            },
            |message| {
                *changed |= genid.is_some_and(|genid| message.resource() != Some(lower_half(genid)));
                assembler.accept(message)
            },
        )?;
        // The kernel's dump of rules counts those of this table alone and resumes correctly; that of chains counts
        // over all tables.
        let own = kind == msg::GETRULE && self.genid.is_none();
        self.changed |= end == End::Interrupted && !own;
        Ok(())
    }
}

/// Says, once for each set, that it is not known whether somebody has added to it.
fn tell_uncounted(set: &str, count: usize) {
    static TOLD: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());
    let is_new = TOLD.lock().is_ok_and(|mut told| told.insert(set.to_owned()));
    if is_new {
        let count = in_thousands(count);
        tracing::warn!(
            "whether somebody has added to set {set} ({count} elements) is not known: this kernel does not count them; \
             `palisade diff --deep` reads all of them, which takes a minute for a million"
        );
    }
}

fn lower_half(genid: u32) -> u16 {
    (genid & 0xffff) as u16
}
