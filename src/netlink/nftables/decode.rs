//! Assembles the messages of a dump into a table.
//!
//! Decoding is total: no message makes it panic. Anything unknown becomes an [`Expr::Unknown`], an entry in
//! [`SetSpec::unknown`] or one of [`Table::others`].

use super::elements::{self, Collector};
use super::handles::Handles;
use super::{expr, set};
use crate::netlink::wire::attr::{self, Attributes, Fields, Message, string};
use crate::netlink::wire::uapi::{self, SUBSYSTEM, msg, udata};
use crate::ruleset::{
    BaseChain, Chain, Digest, Elements, Expr, Family, Foreign, Hook, Policy, Rule, Set, SetFlags, SetRef, SetSpec,
    Table, TableFlags, TableId,
};
use std::collections::{BTreeMap, BTreeSet};

/// A table, as far as it has been read.
#[derive(Debug)]
pub(in crate::netlink) struct Assembler {
    id: TableId,
    table: Option<Table>,
    handles: Handles,
    sets: BTreeMap<String, (SetSpec, Collector)>,
    /// The kernel's element count of a set, if it reports one.
    counts: BTreeMap<String, u32>,
    /// The contents of sets that are not dumped.
    filled: BTreeMap<String, Elements>,
}

impl Assembler {
    /// Empty; ignores messages of other tables.
    pub(in crate::netlink) fn new(id: TableId) -> Self {
        Self {
            id,
            table: None,
            handles: Handles::default(),
            sets: BTreeMap::new(),
            counts: BTreeMap::new(),
            filled: BTreeMap::new(),
        }
    }

    /// Reads a message; `None` if it is malformed.
    pub(in crate::netlink) fn accept(&mut self, message: &Message<'_>) -> Option<()> {
        if message.kind >> 8 != SUBSYSTEM || Family::from_number(message.family()?) != self.id.family {
            return Some(());
        }
        let attributes = message.attributes()?;
        match message.kind.to_le_bytes()[0] {
            msg::NEWTABLE => self.table(attributes),
            msg::NEWCHAIN => self.chain(attributes),
            msg::NEWRULE => self.rule(attributes),
            msg::NEWSET => self.set(attributes),
            msg::NEWSETELEM => self.elements(attributes),
            msg::NEWOBJ => self.object(attributes),
            msg::NEWFLOWTABLE => self.flowtable(attributes),
            _ => Some(()),
        }
    }

    /// The sets read so far whose elements are policy, not filled by the packet path.
    pub(in crate::netlink) fn sets_with_elements(&self) -> Vec<String> {
        let policy = self.sets.iter().filter(|(_, (spec, _))| !spec.flags.contains(SetFlags::DYNAMIC));
        policy.map(|(name, _)| name.clone()).collect()
    }

    /// The digest of a set's contents according to the table, as far as its rules have been read.
    pub(in crate::netlink) fn digest(&self, set: &str) -> Option<Digest> {
        self.table.as_ref()?.manifest().remove(set)
    }

    /// Whether the kernel told how many elements a set that was read has: since 6.16 it does.
    pub(in crate::netlink) fn is_counted(&self, set: &str) -> bool {
        self.counts.contains_key(set)
    }

    /// Whether these elements fit a set that was read: its key type and the kernel's element count, if there is one.
    pub(in crate::netlink) fn may_hold(&self, set: &str, elements: &Elements) -> bool {
        let Some((spec, _)) = self.sets.get(set) else { return false };
        let fits = elements.packed().is_some_and(|packed| packed.width == spec.key.len as usize);
        let made = elements::count(spec, elements);
        // Recent kernels count an interval once; older ones count its end, too.
        let half = spec.flags.contains(SetFlags::INTERVAL).then_some(made / 2);
        fits && self.counts.get(set).is_none_or(|count| *count == made || Some(*count) == half)
    }

    /// The specification of a set that was read.
    pub(in crate::netlink) fn spec(&self, set: &str) -> Option<&SetSpec> {
        self.sets.get(set).map(|(spec, _)| spec)
    }

    /// Sets the contents of a set.
    pub(in crate::netlink) fn fill(&mut self, set: &str, elements: Elements) {
        self.filled.insert(set.to_owned(), elements);
    }

    /// The anonymous sets read so far.
    pub(in crate::netlink) fn anonymous_sets(&self) -> Vec<String> {
        let anonymous = self.sets.iter().filter(|(_, (spec, _))| spec.flags.contains(SetFlags::ANONYMOUS));
        anonymous.map(|(name, _)| name.clone()).collect()
    }

    /// The table, if it exists, and the handles of its rules.
    pub(in crate::netlink) fn finish(mut self) -> (Option<Table>, Handles) {
        let Some(mut table) = self.table else { return (None, Handles::default()) };
        let mut anonymous = BTreeMap::new();
        for (name, (spec, collector)) in self.sets {
            let elements = self.filled.remove(&name).unwrap_or_else(|| collector.finish().into());
            let set = Set { elements, spec };
            if set.spec.flags.contains(SetFlags::ANONYMOUS) {
                anonymous.insert(name, set);
            } else {
                table.sets.insert(name, set);
            }
        }
        for rule in table.chains.values_mut().flat_map(|chain| &mut chain.rules) {
            for expr in &mut rule.exprs {
                let reference = match expr {
                    Expr::Lookup { set, .. } | Expr::Foreign(Foreign::ObjectMap { set, .. }) => set,
                    _ => continue,
                };
                if let SetRef::Named(name) = &*reference
                    && let Some(set) = anonymous.remove(name)
                {
                    *reference = SetRef::Anonymous(Box::new(set::anonymous(set)));
                }
            }
        }
        // The rest belongs to unknown expressions, and must stay visible.
        table.sets.extend(anonymous);
        (Some(table), self.handles)
    }

    fn table(&mut self, attributes: &[u8]) -> Option<()> {
        let fields = Fields::<{ uapi::table::END }>::read(attributes)?;
        if fields.string(uapi::table::NAME)? != self.id.name {
            return Some(());
        }
        let table = self.table.get_or_insert_default();
        table.flags = TableFlags(fields.get(uapi::table::FLAGS).map_or(Some(0), |_| fields.u32(uapi::table::FLAGS))?);
        table.comment = comment(fields.get(uapi::table::USERDATA));
        Some(())
    }

    fn chain(&mut self, attributes: &[u8]) -> Option<()> {
        let fields = Fields::<{ uapi::chain::END }>::read(attributes)?;
        if fields.string(uapi::chain::TABLE)? != self.id.name {
            return Some(());
        }
        let chain = Chain {
            base: match fields.get(uapi::chain::HOOK) {
                Some(hook) => Some(base_chain(&fields, hook)?),
                None => None,
            },
            comment: comment(fields.get(uapi::chain::USERDATA)),
            rules: Vec::new(),
        };
        self.table.get_or_insert_default().chains.insert(fields.string(uapi::chain::NAME)?, chain);
        Some(())
    }

    fn rule(&mut self, attributes: &[u8]) -> Option<()> {
        let fields = Fields::<{ uapi::rule::END }>::read(attributes)?;
        if fields.string(uapi::rule::TABLE)? != self.id.name {
            return Some(());
        }
        let chain = fields.string(uapi::rule::CHAIN)?;
        self.handles.push(&chain, fields.u64(uapi::rule::HANDLE).unwrap_or_default());
        let exprs = fields.get(uapi::rule::EXPRESSIONS).map(expr::decode_list).unwrap_or_default();
        let rule = Rule { exprs, comment: comment(fields.get(uapi::rule::USERDATA)) };
        self.table.get_or_insert_default().chains.entry(chain).or_default().rules.push(rule);
        Some(())
    }

    fn set(&mut self, attributes: &[u8]) -> Option<()> {
        let fields = Fields::<{ uapi::set::END }>::read(attributes)?;
        if fields.string(uapi::set::TABLE)? != self.id.name {
            return Some(());
        }
        let spec = set::decode(attributes)?;
        if let Some(count) = set::count(attributes) {
            self.counts.insert(fields.string(uapi::set::NAME)?, count);
        }
        let collector = Collector::new(&spec);
        self.sets.insert(fields.string(uapi::set::NAME)?, (spec, collector));
        Some(())
    }

    fn elements(&mut self, attributes: &[u8]) -> Option<()> {
        use uapi::elem;
        let fields = Fields::<{ elem::LIST_END }>::read(attributes)?;
        if fields.string(elem::LIST_TABLE)? != self.id.name {
            return Some(());
        }
        let (_, collector) = self.sets.get_mut(&fields.string(elem::LIST_SET)?)?;
        // An empty set is dumped as one message without an element list.
        collector.add_list(fields.get(elem::LIST_ELEMENTS).unwrap_or_default())
    }

    fn object(&mut self, attributes: &[u8]) -> Option<()> {
        let fields = Fields::<{ uapi::object::END }>::read(attributes)?;
        if fields.string(uapi::object::TABLE)? == self.id.name {
            let kind = object_kind(fields.u32(uapi::object::TYPE)?);
            let name = fields.string(uapi::object::NAME)?;
            self.table.get_or_insert_default().others.insert(format!("{kind} {name}"));
        }
        Some(())
    }

    fn flowtable(&mut self, attributes: &[u8]) -> Option<()> {
        // The attributes of its table and name have the same numbers as an object's.
        let fields = Fields::<{ uapi::object::END }>::read(attributes)?;
        if fields.string(uapi::object::TABLE)? == self.id.name {
            let name = fields.string(uapi::object::NAME)?;
            self.table.get_or_insert_default().others.insert(format!("flowtable {name}"));
        }
        Some(())
    }
}

/// The table that a message belongs to.
pub(in crate::netlink) fn table_id(message: &Message<'_>) -> Option<TableId> {
    let fields = Fields::<{ uapi::table::END }>::read(message.attributes()?)?;
    Some(TableId { family: Family::from_number(message.family()?), name: fields.string(uapi::table::NAME)? })
}

fn comment(userdata: Option<&[u8]>) -> Option<String> {
    attr::comment(userdata?, udata::COMMENT)
}

fn base_chain(chain: &Fields<'_, { uapi::chain::END }>, hook: &[u8]) -> Option<BaseChain> {
    use uapi::hook;
    let fields = Fields::<{ hook::END }>::read(hook)?;
    let mut kind = chain.string(uapi::chain::TYPE).unwrap_or_default();
    if chain.u32(uapi::chain::FLAGS).unwrap_or_default() & uapi::chain::HW_OFFLOAD != 0 {
        // The model has no field for it; a separate chain type makes it show up as drift.
        kind.push_str(" offload");
    }
    let mut devices = BTreeSet::new();
    devices.extend(fields.string(hook::DEV));
    for device in Attributes::new(fields.get(hook::DEVS).unwrap_or_default()) {
        devices.insert(string(device.ok()?.1));
    }
    Some(BaseChain {
        kind,
        hook: Hook::from_number(fields.u32(hook::HOOKNUM)?),
        priority: fields.u32(hook::PRIORITY)?.cast_signed(),
        policy: if chain.is_default(uapi::chain::POLICY, 1) { Policy::Accept } else { Policy::Drop },
        devices,
    })
}

/// nft's word for an `NFT_OBJECT_*` number.
fn object_kind(number: u32) -> String {
    match number {
        1 => "counter",
        2 => "quota",
        3 => "ct helper",
        4 => "limit",
        5 => "connlimit",
        6 => "tunnel",
        7 => "ct timeout",
        8 => "secmark",
        9 => "ct expectation",
        10 => "synproxy",
        other => return format!("object-{other}"),
    }
    .to_owned()
}
