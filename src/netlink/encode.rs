//! A transaction as the bytes of one nf_tables batch.
#![allow(unsafe_code)]

use super::elements::{self, Destination};
use super::handles::Handles;
use super::uapi::{self, NFNL_BATCH_GENID, SUBSYSTEM, control, flag, msg};
use super::write::{Writer, put_udata};
use super::{expr, set};
use crate::ruleset::{BaseChain, Expr, Family, Hook, Policy, Rule, Set, SetRef, SetSpec, TableId};
use crate::transaction::{Op, Transaction};
use nftnl::{MsgType, NlMsg, ProtoFamily};
use std::ffi::CString;

/// The longest name, its closing zero not counted (`NFT_NAME_MAXLEN`).
const MAX_NAME: usize = 255;
/// The longest comment: libnftnl keeps 128 bytes with two of header and a zero.
const MAX_COMMENT: usize = 125;
/// `NFT_RULE_MAXEXPRS`. It also bounds a rule's message: 128 expressions of at most 350 bytes are less than the room
/// that [`nftnl::nft_nlmsg_maxsize`] promises.
const MAX_EXPRS: usize = 128;

/// Why an operation can't be written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("operation {op} can't be written to netlink: {problem}")]
pub struct EncodeError {
    /// The operation's index in the transaction.
    pub op: usize,
    /// What is wrong with it.
    pub problem: Problem,
}

/// What is wrong with an operation.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// Something that was read and not understood can't be written.
    #[error("{0} of a form that this version does not know")]
    Unknown(String),
    /// A name is empty, has a zero byte, or is longer than 255 bytes.
    #[error("`{0}` is no name: 1 to {MAX_NAME} bytes, none of them zero")]
    Name(String),
    /// A comment has a zero byte or is longer than 125 bytes.
    #[error("`{0}` is no comment: at most {MAX_COMMENT} bytes, none of them zero")]
    Comment(String),
    /// A log prefix is longer than 127 bytes.
    #[error("a log prefix of {0} bytes, where 127 are the most")]
    LogPrefix(usize),
    /// Data is empty, longer than a register, or of two lengths that should be one.
    #[error("data of {0} bytes does not fit a register")]
    DataLength(usize),
    /// An element does not fit the type of its set.
    #[error("an element does not fit the type of its set")]
    Element,
    /// A rule has more expressions than the kernel takes.
    #[error("a rule of {0} expressions, where {MAX_EXPRS} are the most")]
    TooManyExpressions(usize),
    /// The rule was not in the snapshot that the handles are from.
    #[error("chain `{chain}` has no rule {index}")]
    NoSuchRule {
        /// The chain.
        chain: String,
        /// The index asked for.
        index: usize,
    },
    /// A base chain's type, hook or devices are none that this version writes.
    #[error("base chains of that {0} are not written by this version")]
    BaseChain(&'static str),
    /// A family is none that this version writes.
    #[error("{0} is no family that this version writes")]
    Family(Family),
}

/// One batch: begin, messages, end, ready to be sent at once.
#[derive(Clone, Debug)]
pub struct Batch {
    bytes: Vec<u8>,
    /// The operation of each message; the first message has sequence number 1.
    ops: Vec<usize>,
    last: usize,
}

/// Encodes a transaction that was made against the ruleset of generation `genid`, where `handles` are from.
///
/// # Errors
///
/// The first operation that can't be written.
pub fn encode(transaction: &Transaction, handles: &Handles, genid: u32) -> Result<Batch, EncodeError> {
    let mut batch = Batch::new(genid);
    let in_op = |op| move |problem| EncodeError { op, problem };
    let table = nftnl_table(&transaction.table).map_err(in_op(0))?;
    let mut encoder = Encoder { batch: &mut batch, id: &transaction.table, table: &table, handles, sets: 0 };
    for (index, op) in transaction.ops.iter().enumerate() {
        encoder.op(index, op).map_err(in_op(index))?;
    }
    batch.close();
    Ok(batch)
}

impl Batch {
    fn new(genid: u32) -> Self {
        let mut bytes = Vec::with_capacity(4096);
        let mut begin = Writer::raw(&mut bytes, control::BATCH_BEGIN, 0, 0, 0, SUBSYSTEM);
        begin.u32(NFNL_BATCH_GENID, genid);
        begin.finish();
        Self { bytes, ops: Vec::new(), last: 0 }
    }

    /// The bytes to send.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Whether there is nothing between begin and end.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ops.is_empty()
    }

    /// The operation that a message was written for, by its sequence number; `None` for begin and end.
    #[must_use]
    pub fn op(&self, seq: u32) -> Option<usize> {
        self.ops.get((seq as usize).checked_sub(1)?).copied()
    }

    /// The sequence number of the last message between begin and end: the one that is acknowledged.
    #[must_use]
    pub fn last_seq(&self) -> u32 {
        u32::try_from(self.ops.len()).unwrap_or(u32::MAX)
    }

    /// Notes a message of that operation, which the caller writes at once, and gives its sequence number.
    fn next(&mut self, op: usize) -> u32 {
        self.last = self.bytes.len();
        self.ops.push(op);
        self.last_seq()
    }

    /// Begins a message that we write ourselves.
    pub(super) fn begin(&mut self, op: usize, kind: u8, flags: u16, family: u8) -> Writer<'_> {
        let seq = self.next(op);
        Writer::begin(&mut self.bytes, kind, flags, family, seq)
    }

    /// Lets nftnl write a message. Acknowledgements are asked for once, at the end.
    fn nftnl(&mut self, op: usize, message: &impl NlMsg, kind: MsgType) {
        let seq = self.next(op);
        let room = nftnl::nft_nlmsg_maxsize() as usize;
        self.bytes.reserve(room);
        let start = self.bytes.len();
        // SAFETY: `write` needs room for `nft_nlmsg_maxsize` bytes, which were just reserved behind `start`. Lengths in
        // this buffer are multiples of four and the allocator aligns its start, so the header is aligned. libmnl writes
        // each byte up to `nlmsg_len`, padding too, so that those are initialized.
        unsafe {
            let place = self.bytes.as_mut_ptr().add(start);
            message.write(place.cast(), seq, kind);
            let len = place.cast::<u32>().read_unaligned() as usize;
            self.bytes.set_len(start + len.min(room));
        }
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
        self.set_flags(flag::ACK, 0);
    }

    /// Changes the flags of the last message.
    fn set_flags(&mut self, clear: u16, set: u16) {
        let at = self.last + 6;
        if let Some(place) = self.bytes.get_mut(at..at + 2)
            && let Ok(flags) = <[u8; 2]>::try_from(&*place)
        {
            place.copy_from_slice(&((u16::from_ne_bytes(flags) & !clear) | set).to_ne_bytes());
        }
    }

    /// Adds an attribute to the last message.
    fn append(&mut self, add: impl FnOnce(&mut Writer<'_>)) {
        let mut writer = Writer::reopen(&mut self.bytes, self.last);
        add(&mut writer);
        writer.finish();
    }

    /// Asks for the acknowledgement, and ends the batch.
    fn close(&mut self) {
        if !self.is_empty() {
            self.set_flags(0, flag::ACK);
        }
        let end = self.last_seq().wrapping_add(1);
        Writer::raw(&mut self.bytes, control::BATCH_END, 0, 0, end, SUBSYSTEM).finish();
    }
}

struct Encoder<'a> {
    batch: &'a mut Batch,
    id: &'a TableId,
    table: &'a nftnl::Table,
    handles: &'a Handles,
    /// How many sets this batch makes: the last id given.
    sets: u32,
}

impl Encoder<'_> {
    fn op(&mut self, index: usize, op: &Op) -> Result<(), Problem> {
        match op {
            Op::AddTable { flags, comment } => self.add_table(index, *flags, comment.as_deref()),
            Op::DeleteTable => {
                self.batch.nftnl(index, self.table, MsgType::Del);
                Ok(())
            }
            Op::AddChain { name, base, comment } => self.add_chain(index, name, base.as_ref(), comment.as_deref()),
            Op::SetPolicy { name, base } => {
                let mut chain = nftnl::Chain::new(c_string(name)?, self.table);
                attach(&mut chain, base)?;
                self.batch.nftnl(index, &chain, MsgType::Add);
                Ok(())
            }
            Op::DeleteChain { name } => {
                self.batch.nftnl(index, &nftnl::Chain::new(c_string(name)?, self.table), MsgType::Del);
                Ok(())
            }
            Op::AddSet { name, spec } => {
                c_string(name)?;
                self.add_set(index, name, spec, None).map(drop)
            }
            Op::DeleteSet { name } => {
                c_string(name)?;
                let mut writer = self.batch.begin(index, msg::DELSET, 0, self.id.family.number());
                writer.text(uapi::set::TABLE, &self.id.name);
                writer.text(uapi::set::NAME, name);
                writer.finish();
                Ok(())
            }
            Op::AddElements { set, spec, elements } => {
                c_string(set)?;
                let to =
                    Destination { kind: msg::NEWSETELEM, flags: flag::CREATE, table: self.id, set, id: None, spec };
                elements::write(self.batch, index, to, elements)
            }
            Op::DeleteElements { set, spec, elements } => {
                c_string(set)?;
                let to = Destination { kind: msg::DELSETELEM, flags: 0, table: self.id, set, id: None, spec };
                elements::write(self.batch, index, to, elements)
            }
            Op::AddRule { chain, rule, before } => self.add_rule(index, chain, rule, *before),
            Op::DeleteRule { chain, index: rule, .. } => self.delete_rule(index, chain, *rule),
        }
    }

    fn add_table(&mut self, op: usize, flags: u32, comment: Option<&str>) -> Result<(), Problem> {
        let userdata = comment.map(comment_userdata).transpose()?;
        self.batch.nftnl(op, self.table, MsgType::Add);
        self.batch.set_flags(0, flag::CREATE);
        if flags != 0 {
            // nftnl has written `flags 0`; of two attributes with one type the kernel takes the last.
            self.batch.append(|table| table.u32(uapi::table::FLAGS, flags));
        }
        if let Some(userdata) = userdata {
            self.batch.append(|table| table.bytes(uapi::table::USERDATA, &userdata));
        }
        Ok(())
    }

    fn add_chain(
        &mut self,
        op: usize,
        name: &str,
        base: Option<&BaseChain>,
        comment: Option<&str>,
    ) -> Result<(), Problem> {
        let userdata = comment.map(comment_userdata).transpose()?;
        let mut chain = nftnl::Chain::new(c_string(name)?, self.table);
        if let Some(base) = base {
            attach(&mut chain, base)?;
        }
        self.batch.nftnl(op, &chain, MsgType::Add);
        self.batch.set_flags(0, flag::EXCL);
        if let Some(userdata) = userdata {
            self.batch.append(|chain| chain.bytes(uapi::chain::USERDATA, &userdata));
        }
        Ok(())
    }

    /// Makes a set, and gives its id; `anonymous` is the number of kernel elements of an anonymous one.
    fn add_set(&mut self, op: usize, name: &str, spec: &SetSpec, anonymous: Option<u32>) -> Result<u32, Problem> {
        self.sets += 1;
        let family = self.id.family.number();
        let mut writer = self.batch.begin(op, msg::NEWSET, flag::CREATE | flag::EXCL, family);
        writer.text(uapi::set::TABLE, &self.id.name);
        writer.text(uapi::set::NAME, name);
        set::write(&mut writer, spec, self.sets, anonymous)?;
        writer.finish();
        Ok(self.sets)
    }

    fn add_rule(&mut self, op: usize, chain: &str, rule: &Rule, before: Option<usize>) -> Result<(), Problem> {
        let mut ids = Vec::new();
        for expr in &rule.exprs {
            if let Expr::Lookup { set: SetRef::Anonymous(set), .. } = expr {
                ids.push(self.add_anonymous_set(op, set)?);
            }
        }
        let mut ids = ids.into_iter();
        let drafts = rule.exprs.iter().map(|expr| expr::draft(expr, &mut ids)).collect::<Result<Vec<_>, _>>()?;
        let count = drafts.iter().map(expr::Draft::count).sum();
        if count > MAX_EXPRS {
            return Err(Problem::TooManyExpressions(count));
        }
        let nftnl_chain = nftnl::Chain::new(c_string(chain)?, self.table);
        let mut nftnl_rule = nftnl::Rule::new(&nftnl_chain);
        if let Some(index) = before {
            nftnl_rule.set_position(self.handle(chain, index)?);
        }
        if let Some(comment) = &rule.comment {
            check_comment(comment)?;
            let text = CString::new(comment.as_str()).map_err(|_| Problem::Comment(comment.clone()))?;
            nftnl_rule.set_comment(text).map_err(|_| Problem::Comment(comment.clone()))?;
        }
        for draft in &drafts {
            nftnl_rule.add_expr(&expr::Built(draft));
        }
        self.batch.nftnl(op, &nftnl_rule, MsgType::Add);
        if before.is_some() {
            // With APPEND a position means behind that rule, and a run of rules would come out reversed.
            self.batch.set_flags(flag::APPEND, 0);
        }
        Ok(())
    }

    fn add_anonymous_set(&mut self, op: usize, set: &Set) -> Result<u32, Problem> {
        let name = anonymous_name(set);
        let count = elements::count(&set.spec, &set.elements);
        let id = self.add_set(op, name, &set.spec, Some(count))?;
        let to = Destination {
            kind: msg::NEWSETELEM,
            flags: flag::CREATE,
            table: self.id,
            set: name,
            id: Some(id),
            spec: &set.spec,
        };
        elements::write(self.batch, op, to, &set.elements)?;
        Ok(id)
    }

    fn delete_rule(&mut self, op: usize, chain: &str, index: usize) -> Result<(), Problem> {
        let nftnl_chain = nftnl::Chain::new(c_string(chain)?, self.table);
        let mut rule = nftnl::Rule::new(&nftnl_chain);
        rule.set_handle(self.handle(chain, index)?);
        self.batch.nftnl(op, &rule, MsgType::Del);
        Ok(())
    }

    fn handle(&self, chain: &str, index: usize) -> Result<u64, Problem> {
        self.handles.get(chain, index).ok_or_else(|| Problem::NoSuchRule { chain: chain.to_owned(), index })
    }
}

fn nftnl_table(id: &TableId) -> Result<nftnl::Table, Problem> {
    let family = match id.family {
        Family::Inet => ProtoFamily::Inet,
        Family::Ip => ProtoFamily::Ipv4,
        Family::Ip6 => ProtoFamily::Ipv6,
        Family::Arp => ProtoFamily::Arp,
        Family::Bridge => ProtoFamily::Bridge,
        Family::Netdev => ProtoFamily::NetDev,
        Family::Other(_) => return Err(Problem::Family(id.family)),
    };
    Ok(nftnl::Table::new(c_string(&id.name)?, family))
}

/// Makes it a base chain.
fn attach(chain: &mut nftnl::Chain<'_>, base: &BaseChain) -> Result<(), Problem> {
    chain.set_type(match base.kind.as_str() {
        "filter" => nftnl::ChainType::Filter,
        "nat" => nftnl::ChainType::Nat,
        "route" => nftnl::ChainType::Route,
        _ => return Err(Problem::BaseChain("type")),
    });
    let hook = match base.hook {
        Hook::Prerouting => nftnl::Hook::PreRouting,
        Hook::Input => nftnl::Hook::In,
        Hook::Forward => nftnl::Hook::Forward,
        Hook::Output => nftnl::Hook::Out,
        Hook::Postrouting => nftnl::Hook::PostRouting,
        Hook::Other(_) => return Err(Problem::BaseChain("hook")),
    };
    chain.set_hook(hook, base.priority);
    if !base.devices.is_empty() {
        return Err(Problem::BaseChain("device"));
    }
    chain.set_policy(match base.policy {
        Policy::Accept => nftnl::Policy::Accept,
        Policy::Drop => nftnl::Policy::Drop,
    });
    Ok(())
}

/// The name under which an anonymous set is sent; the kernel puts the first free number in.
pub(super) fn anonymous_name(set: &Set) -> &'static str {
    if set.spec.value.is_some() { "__map%d" } else { "__set%d" }
}

/// Whether the kernel takes it for a name.
pub(super) fn is_name(name: &str) -> bool {
    (1..=MAX_NAME).contains(&name.len()) && !name.contains('\0')
}

/// A name as libnftnl takes it.
pub(super) fn c_string(name: &str) -> Result<CString, Problem> {
    if is_name(name) {
        CString::new(name).map_err(|_| Problem::Name(name.to_owned()))
    } else {
        Err(Problem::Name(name.to_owned()))
    }
}

fn check_comment(comment: &str) -> Result<(), Problem> {
    if comment.len() > MAX_COMMENT || comment.contains('\0') {
        return Err(Problem::Comment(comment.to_owned()));
    }
    Ok(())
}

/// A comment with its closing zero.
pub(super) fn comment_bytes(comment: &str) -> Result<Vec<u8>, Problem> {
    check_comment(comment)?;
    Ok([comment.as_bytes(), &[0]].concat())
}

/// The userdata of a table or chain with a comment.
fn comment_userdata(comment: &str) -> Result<Vec<u8>, Problem> {
    let mut userdata = Vec::with_capacity(comment.len() + 3);
    put_udata(&mut userdata, uapi::udata::COMMENT, &comment_bytes(comment)?);
    Ok(userdata)
}
