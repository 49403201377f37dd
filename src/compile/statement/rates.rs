//! Statements that count: rates, logs within a rate, and sets that packets fill.

use super::Statement;
use crate::net::Version;
use crate::resolve::Rate;
use crate::ruleset::{CtKey, Direction, DynsetOp, Expr, Limit, Log, MetaKey, Register, SetRef};

impl Statement {
    /// `update @set { ... }`: adds what is loaded, and runs these expressions for that element.
    fn update(self, set: &str, exprs: Vec<Expr>) -> Self {
        let (set, op) = (set.to_owned(), DynsetOp::Update);
        self.add(Expr::Dynset { set, op, sreg_key: Register::ONE, timeout_ms: 0, exprs })
    }

    /// `update @containers.elsewhere-v4 { ip daddr }`. The network protocol must have been matched already.
    pub(in crate::compile) fn remember_destination(self, version: Version, set: &str) -> Self {
        self.destination(version).update(set, Vec::new())
    }

    /// `ip saddr`, `ip6 saddr & ffff:ffff:ffff:ffff::`: the source that a limit counts.
    fn counted_source(self, version: Version) -> Self {
        let source = self.version(version).source(version);
        match version {
            Version::V4 => source,
            Version::V6 => source.masked([[0xff; 8], [0; 8]].concat()),
        }
    }

    /// `update @ssh.limit-v4 { ip saddr limit rate over 6/minute burst 6 packets }`: matches what exceeds the rate.
    pub(in crate::compile) fn source_exceeds(self, version: Version, set: &str, rate: Rate) -> Self {
        self.counted_source(version).update(set, vec![Expr::Limit(over(rate))])
    }

    /// `ip saddr != @ssh.limit-v4`, after a rule that adds the source: matches if the set was full. A lookup that
    /// finds an element would run its limit again; a negated one matches only without an element, and runs nothing.
    pub(in crate::compile) fn source_is_not_counted(self, version: Version, set: &str) -> Self {
        self.counted_source(version).lookup(SetRef::Named(set.to_owned()), None, true)
    }

    /// `limit rate over 120/minute burst 120 packets`
    pub(in crate::compile) fn exceeds(self, rate: Rate) -> Self {
        self.add(Expr::Limit(over(rate)))
    }

    /// `limit rate 10/minute`
    pub(in crate::compile) fn limited(self, rate: Rate) -> Self {
        self.limited_to(rate, 5)
    }

    /// `limit rate 20/second burst 100 packets`
    pub(in crate::compile) fn limited_to(self, rate: Rate, burst: u32) -> Self {
        self.add(Expr::Limit(Limit { rate: rate.count.into(), unit: rate.unit, burst, over: false }))
    }

    /// `update @denied.incoming-v4 { ip saddr . meta l4proto . ct original proto-dst counter }`. The protocols
    /// must have been matched already: stock nft reads the port only of a known one.
    pub(in crate::compile) fn remember_asked(self, version: Version, set: &str) -> Self {
        let words = match version {
            Version::V4 => 1,
            Version::V6 => 4,
        };
        let dreg = Register::Data(words + 1);
        self.source(version)
            .add(Expr::Meta { key: MetaKey::L4proto, dreg: Register::Data(words) })
            .add(Expr::Ct { key: CtKey::ProtoDst, direction: Some(Direction::Original), dreg })
            .update(set, vec![Expr::Counter { packets: 0, bytes: 0 }])
    }

    /// `log prefix "..."`
    pub(in crate::compile) fn log(self, prefix: &str) -> Self {
        self.add(Expr::Log(Log { prefix: prefix.to_owned(), group: None }))
    }
}

fn over(rate: Rate) -> Limit {
    Limit { rate: rate.count.into(), unit: rate.unit, burst: rate.count, over: true }
}
