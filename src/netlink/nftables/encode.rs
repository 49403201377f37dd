//! Encodes a transaction as one nf_tables batch.

use super::batch::Batch;
use super::elements::{self, Destination};
use super::handles::Handles;
use super::problem::{EncodeError, MAX_EXPRS, Problem, anonymous_name, c_string, check_comment, comment_userdata};
use super::{expr, set};
use crate::netlink::wire::uapi;
use crate::netlink::wire::uapi::{flag, msg};
use crate::ruleset::{
    BaseChain, Expr, Family, Hook, Op, Policy, Rule, Set, SetRef, SetSpec, TableFlags, TableId, Transaction,
};
use nftnl::{MsgType, ProtoFamily};
use std::ffi::CString;

/// Encodes a transaction against the ruleset of generation `genid`, which `handles` belong to.
///
/// # Errors
///
/// The first operation that can't be encoded.
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

struct Encoder<'a> {
    batch: &'a mut Batch,
    id: &'a TableId,
    table: &'a nftnl::Table,
    handles: &'a Handles,
    /// How many sets this batch creates: the last id used.
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

    fn add_table(&mut self, op: usize, flags: TableFlags, comment: Option<&str>) -> Result<(), Problem> {
        let userdata = comment.map(comment_userdata).transpose()?;
        self.batch.nftnl(op, self.table, MsgType::Add);
        self.batch.set_flags(0, flag::CREATE);
        if !flags.is_empty() {
            // nftnl wrote `flags 0`; of two attributes of one type the kernel takes the last.
            self.batch.append(|table| table.u32(uapi::table::FLAGS, flags.0));
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

    /// Creates a set and returns its id; `anonymous` is the number of kernel elements of an anonymous set.
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
            // With APPEND a position means "after that rule", which would reverse a run of rules.
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

/// Makes the chain a base chain.
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
