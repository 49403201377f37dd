//! Whatever the policy, what is exported is never more open than it, and as open where nothing was left out: the documents
//! are read back by an own model of each vendor, and proved against the policy's rules for all sources at once.
#![allow(missing_docs)]

#[path = "support/clouds.rs"]
mod clouds;
#[path = "support/policies.rs"]
mod policies;

use clouds::{Firewall, Lets, Out};
use ipnet::IpNet;
use palisade::access::unmet;
use palisade::compile::compile;
use palisade::export::{Asked, Exported, Refusal, Sources, Target, Vendor, export};
use palisade::net::{AddressRange, Addresses, IfPattern, Ports, Transport, Version};
use palisade::policy::parse;
use palisade::resolve::{Action, Expectation, PRIVATE, Peers, Resolved, resolve};
use palisade::ruleset::TableId;
use policies::{Written, config_of, facts, policy};
use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::{TestCaseError, TestRunner};
use std::cell::Cell;
use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

const FORMATS: [(&str, Vendor, bool); 6] = [
    ("hetzner", Vendor::Hetzner, false),
    ("terraform-hetzner", Vendor::Hetzner, true),
    ("digitalocean", Vendor::DigitalOcean, false),
    ("terraform-digitalocean", Vendor::DigitalOcean, true),
    ("aws", Vendor::Aws, false),
    ("terraform-aws", Vendor::Aws, true),
];

fn resolved(written: &Written) -> Resolved {
    let parsed = parse(&written.text, "policy.yaml");
    resolve(&parsed.policy.expect("a policy"), &facts(written)).unwrap_or_else(|all| panic!("{all:?}"))
}

/// Addresses that no packet comes in with, whatever a firewall before the machine lets through.
fn loopback() -> Sources {
    let v4 = AddressRange::V4(Ipv4Addr::new(127, 0, 0, 0), Ipv4Addr::new(127, 255, 255, 255));
    [v4, AddressRange::V6(Ipv6Addr::LOCALHOST, Ipv6Addr::LOCALHOST)].into_iter().collect()
}

fn of_networks<'a>(networks: impl Iterator<Item = &'a IpNet>) -> Sources {
    let ranges = networks.map(|net| match net {
        IpNet::V4(net) => AddressRange::V4(net.network(), net.broadcast()),
        IpNet::V6(net) => AddressRange::V6(net.network(), net.broadcast()),
    });
    ranges.collect()
}

fn addresses(sources: &Sources) -> Addresses {
    let range = |(first, last): (IpAddr, IpAddr)| match (first, last) {
        (IpAddr::V4(first), IpAddr::V4(last)) => AddressRange::V4(first, last),
        (IpAddr::V6(first), IpAddr::V6(last)) => AddressRange::V6(first, last),
        other => panic!("{other:?}"),
    };
    let ends = Version::ALL.into_iter().flat_map(|version| {
        let address = move |number| version.address(number).expect("an address");
        sources.over(version).iter().map(move |&(first, last)| (address(first), address(last)))
    });
    ends.map(range).collect()
}

/// Whom `block` names, of those who come in by the public interface.
fn blocked(policy: &Resolved, public: &str) -> Sources {
    let block = policy.members(&policy.block);
    let is_public = block.interfaces.iter().any(|pattern| pattern.covers(public));
    if is_public { Sources::everyone() } else { Sources::from(&block.addresses) }
}

/// The policy that lets in who may reach every address of this machine: the cloud's firewall does not tell them apart, and an
/// expectation is content with one.
fn at_every_address(policy: &Resolved) -> Resolved {
    let mut policy = policy.clone();
    for service in policy.services.values_mut().filter(|service| !service.to.is_empty()) {
        let to = Sources::from(&service.to);
        let is_whole = |version: &Version| to.is_everyone_over(*version);
        if service.action != Action::Allow {
            service.to = Addresses::default();
        } else if Version::ALL.iter().any(is_whole) {
            let whole = Version::ALL.into_iter().filter(is_whole).map(|version| Sources::everyone().only(version));
            service.to = addresses(&whole.fold(Sources::default(), |all, one| all.and(&one)));
        } else {
            service.to = Addresses::default();
            service.from = Peers::default();
        }
    }
    policy
}

/// What is held against the rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum What {
    Ports(Ports),
    Ping,
    Protocol(u8),
    All,
}

fn expectation(public: &str, allow: bool, what: What, sources: &Sources) -> Expectation {
    let of = |ports| Some(ports).into_iter().collect();
    Expectation {
        span: palisade::policy::Span::default(),
        allow,
        ports: if let What::Ports(ports) = what { of(ports) } else { BTreeSet::new() },
        protocols: if let What::Protocol(number) = what { BTreeSet::from([number]) } else { BTreeSet::new() },
        ping: what == What::Ping,
        all: what == What::All,
        any: false,
        addresses: Arc::new(addresses(&sources.without(&loopback()))),
        interfaces: BTreeSet::new(),
        on: BTreeSet::from([IfPattern { name: public.to_owned(), wildcard: false }]),
        elsewhere: None,
    }
}

/// What a rule opens by the policy's words. The errors of ICMP are always open; of `icmp` only echo requests are the
/// policy's where the vendor can't tell types apart.
fn meant(vendor: Vendor, lets: &Lets) -> Vec<What> {
    match lets {
        Lets::Ports(transport, first, last) => {
            vec![What::Ports(Ports { transport: *transport, first: *first, last: *last })]
        }
        Lets::Icmp(six, None) if vendor == Vendor::Aws => vec![What::Ping, What::Protocol(if *six { 58 } else { 1 })],
        Lets::Icmp(_, None) | Lets::Icmp(false, Some(8)) | Lets::Icmp(true, Some(128)) => vec![What::Ping],
        Lets::Icmp(six, Some(kind)) => {
            assert!(if *six { [1, 2, 3, 4].contains(kind) } else { [3, 11, 12].contains(kind) });
            Vec::new()
        }
        Lets::Protocol(number) => vec![What::Protocol(*number)],
        Lets::All => vec![What::All],
    }
}

/// Each thing that rules open, with all who may.
fn opened(vendor: Vendor, firewall: &Firewall) -> Vec<(What, Sources)> {
    let mut all: Vec<(What, Vec<IpNet>)> = Vec::new();
    for (lets, net) in &firewall.lets_in {
        for what in meant(vendor, lets) {
            match all.iter_mut().find(|(known, _)| *known == what) {
                Some((_, networks)) => networks.push(*net),
                None => all.push((what, vec![*net])),
            }
        }
    }
    all.into_iter().map(|(what, networks)| (what, of_networks(networks.iter()))).collect()
}

/// For each run of ports that no rule tells apart, and for pings, who may not.
fn shut(opened: &[(What, Sources)]) -> Vec<(What, Sources)> {
    let mut runs = vec![What::Ping];
    for transport in Transport::ALL {
        // Answers of DHCP are always let in, and are no service's.
        let mut cuts = BTreeSet::from([1_u32, 68, 69, 546, 547]);
        for (what, _) in opened {
            if let What::Ports(ports) = what
                && ports.transport == transport
            {
                cuts.extend([u32::from(ports.first), u32::from(ports.last) + 1]);
            }
        }
        let ends = cuts.iter().skip(1).map(|next| next - 1).chain([65_535]);
        for (first, last) in cuts.iter().copied().zip(ends).filter(|(first, last)| first <= last) {
            let is_dhcp = transport == Transport::Udp && [68, 546].contains(&first);
            let number = |port: u32| u16::try_from(port).expect("a port");
            let ports = Ports { transport, first: number(first), last: number(last) };
            runs.extend((!is_dhcp).then_some(What::Ports(ports)));
        }
    }
    let contains = |outer: &What, inner: &What| match (outer, inner) {
        (What::All, _) => true,
        (What::Ports(a), What::Ports(b)) => a.transport == b.transport && a.first <= b.first && b.last <= a.last,
        (a, b) => a == b,
    };
    let who = |run: &What| {
        let may = opened.iter().filter(|(what, _)| contains(what, run));
        may.fold(Sources::everyone(), |left, (_, sources)| left.without(sources))
    };
    runs.into_iter().map(|run| (run, who(&run))).filter(|(_, sources)| !sources.is_empty()).collect()
}

fn problems(policy: &Resolved, expectations: &[Expectation]) -> Vec<String> {
    let meant = expectations.iter().filter(|one| !one.addresses.is_empty()).cloned().collect::<Vec<_>>();
    let unmet = unmet(&TableId::palisade(), &compile(policy), &meant);
    unmet.into_iter().map(|problem| format!("{} {:?}", problem.message, problem.help)).collect()
}

/// How many policies were exported, and how many of them whole.
#[derive(Default)]
struct Count {
    exported: Cell<u32>,
    whole: Cell<u32>,
}

fn holds(policy: &Resolved, index: usize, public: &str, leave: bool, count: &Count) -> Result<(), TestCaseError> {
    let (format, vendor, terraform) = FORMATS[index];
    let asked = Asked { name: "palisade", public: Some(public), leave_block_to_host: leave };
    let Exported { document, remarks, .. } = match export(policy, Target { vendor, terraform }, &asked) {
        Ok(exported) => exported,
        Err(Refusal::TooMany { .. } | Refusal::OfContainers(_)) => return Ok(()),
        Err(other) => return Err(TestCaseError::fail(other.to_string())),
    };
    count.exported.set(count.exported.get() + 1);
    let firewall = clouds::read(format, &document);
    let sends = if policy.defaults.outgoing == Action::Allow { Out::Everything } else { Out::Nothing };
    prop_assert_eq!(firewall.lets_out, sends);
    let opened = opened(vendor, &firewall);
    let blocked = if leave { Sources::default() } else { blocked(policy, public) };
    for (what, sources) in &opened {
        prop_assert!(sources.within(&blocked).is_empty(), "{:?}: {} lets in who is blocked", what, document);
    }
    // The rules of `block` drop the answers of containers and of targets, too, if these are named: not who may open.
    let policy = at_every_address(&Resolved { block: Peers::default(), ..policy.clone() });
    let allowed = opened.iter().map(|(what, sources)| expectation(public, true, *what, sources));
    prop_assert_eq!(problems(&policy, &allowed.collect::<Vec<_>>()), Vec::<String>::new(), "{}", document);

    let block = |remark: &palisade::export::Remark| leave && remark.about == "block";
    let whole = remarks.iter().all(|remark| remark.kind == palisade::export::Kind::Note || block(remark));
    if whole {
        count.whole.set(count.whole.get() + 1);
        let denied = shut(&opened);
        let denied =
            denied.iter().map(|(what, sources)| expectation(public, false, *what, &sources.without(&blocked)));
        prop_assert_eq!(problems(&policy, &denied.collect::<Vec<_>>()), Vec::<String>::new(), "{}", document);
    }
    Ok(())
}

/// The policy without most of what no cloud firewall can say.
fn sayable(policy: &Resolved) -> Resolved {
    let mut policy = policy.clone();
    policy.outgoing.clear();
    for group in policy.groups.values_mut() {
        group.interfaces.clear();
        group.temporary.clear();
    }
    policy.block.interfaces.clear();
    for service in policy.services.values_mut() {
        service.to = Addresses::default();
        service.on.clear();
        service.from.interfaces.clear();
        service.except.interfaces.clear();
        service.ports.retain(|ports| ports.transport != Transport::Sctp);
        service.protocols.clear();
    }
    policy.services.retain(|_, service| service.all || service.ping || !service.ports.is_empty());
    policy
}

fn never_more_open(cases: u32) {
    let count = Count::default();
    let which = (0..FORMATS.len(), select(vec!["eth0", "eth1", "wg0"]), any::<bool>(), any::<bool>());
    let mut runner = TestRunner::new(config_of(cases));
    let run = runner.run(&(policy(), which), |(written, (index, public, leave, plain))| {
        let policy = resolved(&written);
        let policy = if plain { sayable(&policy) } else { policy };
        holds(&policy, index, public, leave, &count)
    });
    run.unwrap_or_else(|error| panic!("{error}"));
    let (exported, whole) = (count.exported.get(), count.whole.get());
    eprintln!("{exported} of {cases} exported, {whole} of them whole");
    assert!(exported > cases / 2 && whole > cases / 20, "{exported} of {cases} exported, {whole} of them whole");
}

#[test]
fn an_export_is_never_more_open_than_the_policy_and_as_open_where_nothing_was_left_out() {
    never_more_open(300);
}

#[test]
#[ignore = "takes long"]
fn an_export_of_ten_thousand_policies_is_never_more_open_than_the_policy() {
    never_more_open(10_000);
}

/// The private networks are the policy's, and what the test says of them is no other thing.
#[test]
fn private_networks_have_no_address_of_the_loopback() {
    let private: Sources = PRIVATE.into_iter().collect();
    assert!(private.within(&loopback()).is_empty());
}
