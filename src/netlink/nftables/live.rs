//! A consistent snapshot of the rules of all tables, and lookups in their sets, which are never dumped.

use super::decode::{Assembler, table_id};
use super::elements;
use super::snapshot::patiently;
use super::socket::Socket;
use crate::netlink::wire::attr::{Attributes, Fields};
use crate::netlink::wire::channel::End;
use crate::netlink::wire::error::NetlinkError;
use crate::netlink::wire::uapi::{self, NFTA_LIST_ELEM, data, elem, msg};
use crate::ruleset::{DYNAMIC_SIZE, Key, Ruleset, Set, SetFlags, Table, TableId};
use crate::simulate::{Answer, At, Hooked, Order, Sets};
use nix::errno::Errno;
use std::cell::RefCell;
use std::collections::BTreeMap;

/// All tables at one generation of the ruleset, without the elements of named sets.
#[derive(Debug, Default)]
pub struct Live {
    /// The generation.
    pub genid: u32,
    /// The tables.
    pub ruleset: Ruleset,
    /// The order of chains that have one priority.
    order: Order,
    /// All sets, each with how many elements it has, which kernels since 6.16 report.
    sets: BTreeMap<(TableId, String), Option<u32>>,
}

impl Live {
    /// Whether the kernel has told the order of its hooks.
    #[must_use]
    pub fn tells_order(&self) -> bool {
        !self.order.lists.is_empty()
    }
}

impl Socket {
    /// Reads the rules of all tables, as they were at one moment. Named sets come without their elements, even small
    /// ones: [`LiveSets`] looks them up.
    ///
    /// # Errors
    ///
    /// [`NetlinkError::Busy`] if the ruleset changed during each attempt, for ten seconds.
    pub fn live(&self) -> Result<Live, NetlinkError> {
        patiently(|| self.try_live())
    }

    /// Runs `ask` on the rules of all tables and lookups in their sets; nothing changed until it returned.
    ///
    /// # Errors
    ///
    /// As [`Socket::live`].
    pub fn ask_live<T>(&self, mut ask: impl FnMut(&Live) -> T) -> Result<T, NetlinkError> {
        patiently(|| {
            let Some(live) = self.try_live()? else { return Ok(None) };
            let answer = ask(&live);
            Ok((self.generation()? == live.genid).then_some(answer))
        })
    }

    /// Reads the rules once; `None` if they changed meanwhile.
    fn try_live(&self) -> Result<Option<Live>, NetlinkError> {
        let Some(genid) = self.settled_generation()? else { return Ok(None) };
        let mut reader =
            Reader { socket: self, genid, tables: BTreeMap::new(), live: Live::default(), changed: false };
        match reader.read() {
            // An anonymous set was deleted between two dumps.
            Err(NetlinkError::Refused { errno: Errno::ENOENT, .. }) => return Ok(None),
            result => result?,
        }
        if reader.changed {
            return Ok(None);
        }
        let mut live = reader.finish();
        live.order.lists = self.hooks(&live.ruleset);
        Ok((self.generation()? == genid).then_some(live))
    }

    /// Looks up a key in a set.
    fn find(&self, table: &TableId, name: &str, key: Option<&[u8]>) -> Result<Answer, NetlinkError> {
        const DOING: &str = "an element of a set";
        let mut answer = Answer::Absent;
        let asked = self.get(
            DOING,
            (msg::GETSETELEM, table.family.number()),
            |request| {
                request.text(elem::LIST_TABLE, &table.name);
                request.text(elem::LIST_SET, name);
                let list = request.open(elem::LIST_ELEMENTS);
                let one = request.open(NFTA_LIST_ELEM);
                match key {
                    Some(key) => {
                        let nest = request.open(elem::KEY);
                        request.bytes(data::VALUE, key);
                        request.close(&nest);
                    }
                    None => request.u32(elem::FLAGS, elem::CATCHALL),
                }
                request.close(&one);
                request.close(&list);
            },
            |message| {
                let fields = Fields::<{ elem::LIST_END }>::read(message.attributes()?)?;
                answer = elements::found(fields.get(elem::LIST_ELEMENTS)?)?;
                Some(())
            },
        );
        match (asked, key) {
            (Ok(()), _) => Ok(answer),
            (Err(NetlinkError::Refused { errno: Errno::ENOENT, .. }), _) => Ok(Answer::Absent),
            // This kernel has no catch-all elements.
            (Err(NetlinkError::Refused { errno: Errno::EINVAL | Errno::EOPNOTSUPP, .. }), None) => Ok(Answer::Absent),
            (Err(error), _) => Err(error),
        }
    }
}

struct Reader<'a> {
    socket: &'a Socket,
    genid: u32,
    tables: BTreeMap<TableId, Assembler>,
    live: Live,
    changed: bool,
}

impl Reader<'_> {
    fn read(&mut self) -> Result<(), NetlinkError> {
        self.dump("the list of tables", msg::GETTABLE, None)?;
        self.dump("the chains", msg::GETCHAIN, None)?;
        self.dump("the rules", msg::GETRULE, None)?;
        self.dump("the sets", msg::GETSET, None)?;
        let anonymous: Vec<(TableId, String)> = self
            .tables
            .iter()
            .flat_map(|(id, assembler)| assembler.anonymous_sets().into_iter().map(|name| (id.clone(), name)))
            .collect();
        anonymous.iter().try_for_each(|set| self.dump("the elements of a set", msg::GETSETELEM, Some(set)))
    }

    fn dump(&mut self, doing: &'static str, kind: u8, set: Option<&(TableId, String)>) -> Result<(), NetlinkError> {
        if self.changed {
            return Ok(());
        }
        let Self { socket, genid, tables, live, changed } = self;
        let family = set.map_or(0, |(table, _)| table.family.number());
        let end = socket.dump(
            doing,
            (kind, family),
            |request| {
                if let Some((table, name)) = set {
                    request.text(elem::LIST_TABLE, &table.name);
                    request.text(elem::LIST_SET, name);
                }
            },
            |message| {
                *changed |= message.resource() != Some((*genid & 0xffff) as u16);
                let id = table_id(message)?;
                match message.kind.to_le_bytes()[0] {
                    msg::NEWSET => {
                        let fields = Fields::<{ uapi::set::COUNT as usize + 1 }>::read(message.attributes()?)?;
                        let name = fields.string(uapi::set::NAME)?;
                        live.sets.insert((id.clone(), name), fields.u32(uapi::set::COUNT));
                    }
                    msg::NEWCHAIN => {
                        let fields = Fields::<{ uapi::chain::END }>::read(message.attributes()?)?;
                        let name = fields.string(uapi::chain::NAME)?;
                        live.order.created.entry(id.clone()).or_default().push(name);
                    }
                    _ => {}
                }
                tables.entry(id.clone()).or_insert_with(|| Assembler::new(id)).accept(message)
            },
        )?;
        self.changed |= end == End::Interrupted;
        Ok(())
    }

    fn finish(self) -> Live {
        let tables = self.tables.into_iter().filter_map(|(id, assembler)| Some((id, assembler.finish().0?)));
        Live { genid: self.genid, ruleset: Ruleset { tables: tables.collect() }, ..self.live }
    }
}

/// The contents of the kernel's sets, looked up one key at a time, however many elements there are.
#[derive(Debug)]
pub struct LiveSets<'a> {
    socket: &'a Socket,
    live: &'a Live,
    planned: Option<(&'a TableId, &'a Table)>,
    /// How many elements sets list, once that was asked.
    listed: RefCell<BTreeMap<(TableId, String), Option<u32>>>,
}

impl<'a> LiveSets<'a> {
    /// Lookups for the tables that were read. The sets of a planned table hold what it lists, except those that the
    /// packet path fills.
    #[must_use]
    pub fn new(socket: &'a Socket, live: &'a Live, planned: Option<(&'a TableId, &'a Table)>) -> Self {
        Self { socket, live, planned, listed: RefCell::default() }
    }

    /// How many elements a loaded set has; `Some(None)` if the kernel does not report it.
    fn count(&self, table: &TableId, name: &str) -> Option<Option<u32>> {
        self.live.sets.get(&(table.clone(), name.to_owned())).copied()
    }

    /// How many elements a set lists that the packet path fills or whose elements have their time, for a kernel that does not
    /// report it; `None` if it can't be read. Others are not asked: they may be very large.
    fn listed(&self, table: &TableId, name: &str, set: &Set) -> Option<u32> {
        if ![SetFlags::DYNAMIC, SetFlags::TIMEOUT].iter().any(|flag| set.spec.flags.contains(*flag)) {
            return None;
        }
        let which = (table.clone(), name.to_owned());
        *self.listed.borrow_mut().entry(which).or_insert_with(|| {
            let mut listed = 0;
            let end = self.socket.dump(
                "the elements of a set",
                (msg::GETSETELEM, table.family.number()),
                |request| {
                    request.text(elem::LIST_TABLE, &table.name);
                    request.text(elem::LIST_SET, name);
                },
                |message| {
                    let fields = Fields::<{ elem::LIST_ELEMENTS as usize + 1 }>::read(message.attributes()?)?;
                    let list = fields.get(elem::LIST_ELEMENTS).into_iter().flat_map(Attributes::new);
                    listed = list.fold(listed, |listed: u32, _| listed.saturating_add(1));
                    Some(())
                },
            );
            matches!(end, Ok(End::Complete)).then_some(listed)
        })
    }

    fn is_planned(&self, table: &TableId, set: &Set) -> bool {
        self.planned.is_some_and(|(id, _)| id == table) && !set.spec.flags.contains(SetFlags::DYNAMIC)
    }
}

impl Sets for LiveSets<'_> {
    fn find(&self, table: &TableId, name: &str, set: &Set, key: &[u8]) -> Answer {
        if self.is_planned(table, set) {
            return crate::simulate::JustLoaded.find(table, name, set, key);
        }
        let key = Key::from_slice(key);
        let asked = self.socket.find(table, name, Some(&key)).and_then(|answer| match answer {
            Answer::Absent => self.socket.find(table, name, None),
            other => Ok(other),
        });
        asked.unwrap_or_else(|error| Answer::Unknown(format!("set {name} can't be asked: {error}").into()))
    }

    fn is_empty(&self, table: &TableId, name: &str, set: &Set) -> bool {
        if self.is_planned(table, set) {
            return set.elements.is_empty();
        }
        match self.count(table, name) {
            // One that is planned and not loaded yet will hold what it lists.
            None => set.elements.is_empty(),
            Some(Some(count)) => count == 0,
            Some(None) => self.listed(table, name, set) == Some(0),
        }
    }

    fn has_room(&self, table: &TableId, name: &str, set: &Set) -> Option<bool> {
        let size = set.spec.size.unwrap_or(DYNAMIC_SIZE);
        match self.count(table, name) {
            Some(Some(count)) => Some(count < size),
            Some(None) if !set.spec.flags.contains(SetFlags::TIMEOUT) => {
                self.listed(table, name, set).map(|listed| listed < size)
            }
            // Elements whose time is over are not listed, and take room for some time.
            Some(None) => self.listed(table, name, set).filter(|listed| *listed < size / 2).map(|_| true),
            // It is planned, and will be empty.
            None => Some(true),
        }
    }

    fn is_before(&self, at: &At, one: &Hooked, other: &Hooked) -> Option<bool> {
        self.live.order.is_before(at, one, other)
    }

    fn is_later(&self, table: &TableId, one: &str, other: &str) -> Option<bool> {
        self.live.order.later_of(table, one, other)
    }
}
