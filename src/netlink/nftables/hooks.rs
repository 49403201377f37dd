//! The order in which the kernel runs its hooks (`net/netfilter/nfnetlink_hook.c`).

use super::socket::Socket;
use crate::net::Version;
use crate::netlink::wire::attr::{Fields, Message};
use crate::netlink::wire::channel::End;
use crate::netlink::wire::error::NetlinkError;
use crate::netlink::wire::uapi::hooks;
use crate::ruleset::{Family, Hook, Ruleset, TableId};
use crate::simulate::{At, Hooked};
use std::collections::{BTreeMap, BTreeSet};

const DOING: &str = "the order of the hooks";

impl Socket {
    /// The lists of all hooks at which these tables have chains, as far as the kernel tells them: before 5.14, and
    /// without `nfnetlink_hook`, it tells none.
    pub(super) fn hooks(&self, rules: &Ruleset) -> BTreeMap<At, Vec<Hooked>> {
        let mut lists = BTreeMap::new();
        for at in places(rules) {
            match self.list(&at) {
                Ok(Some(list)) => {
                    lists.insert(at, list);
                }
                Ok(None) => {}
                Err(error) => {
                    tracing::debug!("in which order chains of one priority run is not known: {error}");
                    break;
                }
            }
        }
        lists
    }

    /// One list; `None` if it changed meanwhile.
    fn list(&self, at: &At) -> Result<Option<Vec<Hooked>>, NetlinkError> {
        let (family, hook, device) = match at {
            At::Hook(version, hook) => (version.nfproto(), hook.number(), None),
            At::Ingress(device) => (Family::Netdev.number(), hooks::INGRESS, Some(device)),
            At::Egress(device) => (Family::Netdev.number(), hooks::EGRESS, Some(device)),
        };
        let mut list = Vec::new();
        let end = self.dump_of_another(
            DOING,
            (hooks::SUBSYSTEM << 8 | hooks::GET, family),
            |request| {
                request.u32(hooks::HOOKNUM, hook);
                if let Some(device) = device {
                    request.text(hooks::DEV, device);
                }
            },
            |message| {
                list.extend(read_hook(message)?);
                Some(())
            },
        )?;
        Ok((end == End::Complete).then_some(list))
    }
}

/// The lists that these tables have chains in.
fn places(rules: &Ruleset) -> BTreeSet<At> {
    let mut places = BTreeSet::new();
    let bases = rules.tables.iter().flat_map(|(id, table)| {
        table.chains.values().filter_map(move |chain| Some((id.family, chain.base.as_ref()?)))
    });
    for (family, base) in bases {
        let devices = base.devices.iter().cloned();
        match (family, base.hook) {
            (Family::Netdev, hook) if hook.number() == hooks::EGRESS => places.extend(devices.map(At::Egress)),
            (Family::Netdev, _) | (Family::Inet, Hook::Other(_)) => places.extend(devices.map(At::Ingress)),
            (Family::Inet, hook) => places.extend(Version::ALL.map(|version| At::Hook(version, hook))),
            (Family::Ip, hook) => places.extend([At::Hook(Version::V4, hook)]),
            (Family::Ip6, hook) => places.extend([At::Hook(Version::V6, hook)]),
            (Family::Arp | Family::Bridge | Family::Other(_), _) => {}
        }
    }
    places
}

/// An entry of a list, which is `None` if it is neither a chain nor one of the kernel's that rules depend on; the outer
/// `None` stands for a malformed one.
pub(in crate::netlink) fn read_hook(message: &Message<'_>) -> Option<Option<Hooked>> {
    let fields = Fields::<{ hooks::END }>::read(message.attributes()?)?;
    if let Some(info) = fields.get(hooks::CHAIN_INFO) {
        let info = Fields::<{ hooks::INFO_END }>::read(info)?;
        if info.u32(hooks::INFO_TYPE) != Some(hooks::TYPE_NFTABLES) {
            return Some(None);
        }
        let chain = Fields::<{ hooks::CHAIN_END }>::read(info.get(hooks::INFO_DESC)?)?;
        let family = Family::from_number(chain.u8(hooks::CHAIN_FAMILY)?);
        let id = TableId { family, name: chain.string(hooks::CHAIN_TABLE)? };
        return Some(Some(Hooked::Chain(id, chain.string(hooks::CHAIN_NAME)?)));
    }
    // `ipv4_conntrack_in`, `ipv6_conntrack_local` and so on, and `nf_nat_ipv4_pre_routing` and its kind.
    let function = fields.string(hooks::FUNCTION).unwrap_or_default();
    let is_conntrack = ["_conntrack_in", "_conntrack_local"].iter().any(|end| function.ends_with(end));
    Some(match function {
        _ if is_conntrack => Some(Hooked::Conntrack),
        function if function.starts_with("nf_nat_") => Some(Hooked::Nat),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::netlink::wire::attr::Messages;
    use crate::netlink::wire::write::Writer;

    /// An entry as `nfnl_hook_dump_one` of Linux 6.12 writes it.
    fn entry(function: &str, chain: Option<(&str, u8, &str)>) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut writer = Writer::raw(&mut bytes, hooks::SUBSYSTEM << 8, 2, 2, 1, 0);
        writer.text(hooks::FUNCTION, function);
        writer.u32(hooks::HOOKNUM, 1);
        writer.u32(2, 0);
        if let Some((table, family, name)) = chain {
            let info = writer.open(hooks::CHAIN_INFO);
            writer.u32(hooks::INFO_TYPE, 1);
            let desc = writer.open(hooks::INFO_DESC);
            writer.text(hooks::CHAIN_TABLE, table);
            writer.text(hooks::CHAIN_NAME, name);
            writer.bytes(hooks::CHAIN_FAMILY, &[family]);
            writer.close(&desc);
            writer.close(&info);
        }
        writer.finish();
        bytes
    }

    #[test]
    fn chains_and_the_kernels_own_hooks_are_read_in_their_order() {
        let list = [
            entry("ipv4_conntrack_defrag", None),
            entry("nft_do_chain_ipv4", Some(("filter", 2, "INPUT"))),
            entry("ipv4_conntrack_in", None),
            entry("nft_do_chain_inet", Some(("palisade", 1, "filter-input"))),
            entry("nf_nat_ipv4_local_in", None),
        ]
        .concat();

        let read: Vec<_> = Messages::new(&list).map(|message| read_hook(&message)).collect();

        let chain = |family, table: &str, name: &str| {
            Some(Hooked::Chain(TableId { family, name: table.to_owned() }, name.to_owned()))
        };
        let expected = [
            None,
            chain(Family::Ip, "filter", "INPUT"),
            Some(Hooked::Conntrack),
            chain(Family::Inet, "palisade", "filter-input"),
            Some(Hooked::Nat),
        ];
        assert_eq!(read, expected.map(Some));
    }
}
