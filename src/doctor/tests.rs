//! Each finding follows from one wrong fact, and a healthy machine has none.

use super::words::some;
use super::*;
use crate::machine::{DockerOptions, EngineNetwork, Flush, Gap, Gaps, Machine, Sysctls, UnitState};
use crate::names::{Failure, Names, Span};
use crate::net::{IfPattern, Version};
use crate::netlink::RoutedLink;
use crate::policy::Problem;
use crate::resolve::{Action, Containers, Group, Resolved};
use crate::ruleset::{
    AddressType, BaseChain, Chain, Cmp, Expr, Family, Foreign, Hook, MetaKey, Nat, PayloadBase, Policy, Register,
    Rule, Table, TableId, Verdict,
};
use crate::simulate::{AsListed, Asked, Doubt, Way};
use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

/// Routes everything out through docker0.
struct ToDocker;

impl Routes for ToDocker {
    fn way(&self, _: &Asked<'_>) -> Result<Way, Doubt> {
        Ok(Way::Out("docker0".to_owned()))
    }

    fn address_type(&self, _: IpAddr) -> Result<AddressType, Doubt> {
        Ok(AddressType::Unicast)
    }

    fn index(&self, _: &str) -> Result<u32, Doubt> {
        Ok(1)
    }
}

pub(super) fn link(name: &str, kind: &str) -> RoutedLink {
    RoutedLink {
        name: name.to_owned(),
        kind: (!kind.is_empty()).then(|| kind.to_owned()),
        has_network: true,
        ..RoutedLink::default()
    }
}

/// A machine that is healthy with the given policy.
pub(super) fn healthy(policy: &Resolved) -> Host {
    let docker = DockerOptions { iptables: true, iptables_from: "daemon.json".to_owned(), userland_proxy: true };
    let network = EngineNetwork { name: "bridge".to_owned(), driver: "bridge".to_owned(), talks: true, bridge: None };
    let version = Some("28.5.2".to_owned());
    let engine = Engine { name: "Docker".to_owned(), version, networks: vec![network], ..Engine::default() };
    let eth0 = RoutedLink { is_way_out: true, ..link("eth0", "") };
    Host {
        policy: PolicyState::Valid(Box::new(policy.clone())),
        warnings: Vec::new(),
        path: "/etc/palisade/policy.yaml".to_owned(),
        kernel: Kernel::Takes,
        loaded: Loaded::Policy,
        undone: false,
        waits: None,
        boot: Some(UnitState::Enabled),
        refresh: Some(UnitState::Enabled),
        enabled: Enabled::default(),
        flush: None,
        flush_is_mended: false,
        legacy: Vec::new(),
        docker: Some(docker),
        engines: vec![engine],
        sysctls: Sysctls { forwards_v4: Some(true), forwards_v6: Some(false), bridge_calls_iptables: Some(false) },
        links: vec![link("docker0", "bridge"), eth0, link("eth1", ""), link("lo", "")],
        machine: Machine::default(),
        gaps: Gaps::default(),
    }
}

fn warning() -> Problem {
    Problem {
        message: "nobody is in `empty`".to_owned(),
        file: "policy.yaml".to_owned(),
        line: Some(7),
        column: Some(3),
        help: Some("remove it".to_owned()),
        path: Vec::new(),
    }
}

/// A policy with a host name, whose look-ups after so many seconds each have given 192.0.2.0/24's address of that number.
fn of_a_name(outcomes: &[(u64, Result<u8, Failure>)]) -> PolicyState {
    let name = "home.example.org";
    let mut names = Names::default().only(&[(name.to_owned(), Span::Day)].into());
    for (seconds, outcome) in outcomes {
        names = names.after(*seconds);
        names.learn(name, Version::V4, outcome.map(|last| vec![[192, 0, 2, last].into()]));
    }
    PolicyState::Valid(Box::new(Resolved { names, ..Resolved::default() }))
}

/// The same policy so many seconds later.
fn after(policy: PolicyState, seconds: u64) -> PolicyState {
    let PolicyState::Valid(policy) = policy else { return policy };
    PolicyState::Valid(Box::new(Resolved { names: policy.names.clone().after(seconds), ..*policy }))
}

/// The findings on a healthy machine after `change`.
fn found(policy: &Resolved, rules: &Ruleset, change: impl Fn(&mut Host)) -> Vec<Finding> {
    let mut host = healthy(policy);
    change(&mut host);
    let findings = examine(&Facts::new(&host, rules, &AsListed, &ToDocker));
    for finding in &findings {
        assert!(!finding.message.is_empty() && !finding.help.is_empty(), "{finding:?}");
    }
    findings
}

fn ids(change: impl Fn(&mut Host)) -> Vec<&'static str> {
    found(&Resolved::default(), &Ruleset::default(), change).into_iter().map(|finding| finding.id).collect()
}

fn ids_of_rules(rules: &Ruleset) -> Vec<&'static str> {
    found(&Resolved::default(), rules, |_| {}).into_iter().map(|finding| finding.id).collect()
}

pub(super) fn rule(exprs: impl Into<Vec<Expr>>) -> Rule {
    Rule { exprs: exprs.into(), comment: None }
}

pub(super) fn base(kind: &str, hook: Hook, priority: i32, policy: Policy, rules: Vec<Rule>) -> Chain {
    let base = BaseChain { kind: kind.to_owned(), hook, priority, policy, devices: Default::default() };
    Chain { base: Some(base), rules, ..Chain::default() }
}

pub(super) fn ruleset(
    family: Family,
    name: &str,
    chains: impl IntoIterator<Item = (&'static str, Chain)>,
) -> Ruleset {
    let chains = chains.into_iter().map(|(name, chain)| (name.to_owned(), chain)).collect();
    let table = Table { chains, ..Table::default() };
    Ruleset { tables: [(TableId { family, name: name.to_owned() }, table)].into() }
}

fn drops_by_policy(hook: Hook) -> Ruleset {
    ruleset(Family::Inet, "mine", [("chain", base("filter", hook, 0, Policy::Drop, Vec::new()))])
}

/// `ip saddr 8.8.8.8 drop` in a base chain of *input*.
fn bans(family: Family, table: &str, chain: &'static str) -> Ruleset {
    let one = Register::ONE;
    let source = Expr::Payload { base: PayloadBase::Network, offset: 12, len: 4, dreg: one };
    let is = Expr::Cmp { op: Cmp::Eq, sreg: one, data: vec![8, 8, 8, 8] };
    let rules = vec![rule([source, is, Expr::Verdict(Verdict::Drop)])];
    ruleset(family, table, [(chain, base("filter", Hook::Input, -1, Policy::Accept, rules))])
}

fn rules_for_users(rules: Vec<Rule>) -> Ruleset {
    ruleset(Family::Ip, "filter", [("DOCKER-USER", Chain { rules, ..Chain::default() })])
}

#[test]
fn a_healthy_machine_has_no_finding() {
    assert_eq!(ids(|_| {}), Vec::<&str>::new());
    assert_eq!(ids(|host| host.boot = None), Vec::<&str>::new(), "there is no systemd");
}

type Change = fn(&mut Host);

/// A wrong fact, and the finding that it is.
const WRONG: &[(&str, Change)] = &[
    ("policy-missing", |host| host.policy = PolicyState::Missing { help: None }),
    ("policy-writable", |host| {
        host.policy = PolicyState::Writable { message: "by all".to_owned(), help: Some("`chmod`".to_owned()) };
    }),
    ("policy-invalid", |host| {
        host.policy =
            PolicyState::Invalid { problems: 3, message: "no".to_owned(), at: Some("p:1".to_owned()), help: None };
    }),
    ("policy-warning", |host| host.warnings.push(warning())),
    ("not-this-machine", |host| host.machine.ssh_ports = [22].into()),
    ("kernel-refuses", |host| host.kernel = Kernel::Refuses("no".to_owned())),
    ("not-loaded", |host| host.loaded = Loaded::Nothing),
    ("out-of-sync", |host| host.loaded = Loaded::Differs(2)),
    ("policy-undone", |host| (host.loaded, host.undone) = (Loaded::Differs(2), true)),
    ("boot-unit-disabled", |host| host.boot = Some(UnitState::Masked)),
    ("refresh-not-running", |host| {
        (host.policy, host.refresh) = (of_a_name(&[(0, Ok(1))]), Some(UnitState::Disabled));
    }),
    ("refresh-not-running", |host| host.policy = after(of_a_name(&[(0, Ok(1))]), 3_600)),
    ("name-unknown", |host| host.policy = of_a_name(&[])),
    ("name-stale", |host| host.policy = of_a_name(&[(0, Ok(1)), (3600, Err(Failure::NoServer))])),
    ("name-rotates", |host| {
        host.policy = of_a_name(&(0..13).map(|last| (300, Ok(last))).collect::<Vec<_>>());
    }),
    ("waits-for-confirmation", |host| host.waits = Some(Duration::from_secs(9))),
    ("ufw-active", |host| host.enabled.ufw = true),
    ("firewalld-active", |host| host.enabled.firewalld = true),
    ("nftables-service-flushes", |host| host.flush = Some(Flush { file: "/etc/nftables.conf".into(), line: 3 })),
    ("legacy-iptables", |host| host.legacy = vec!["filter".to_owned()]),
    ("docker-iptables-off", |host| host.docker.iter_mut().for_each(|docker| docker.iptables = false)),
    ("macvlan-network", |host| host.engines[0].networks[0].driver = "ipvlan".to_owned()),
    ("macvlan-network", |host| host.links.push(RoutedLink { has_network: false, ..link("vm0", "macvtap") })),
    ("forwarding-off", |host| host.sysctls.forwards_v4 = Some(false)),
    ("bridge-netfilter-off", |host| host.docker.iter_mut().for_each(|docker| docker.userland_proxy = false)),
    ("bridge-netfilter-off", |host| host.engines[0].networks[0].talks = false),
    ("way-out-is-containers", |host| {
        host.links.push(RoutedLink { is_way_out: true, ..link("br-lan", "bridge") });
    }),
    ("guests-not-named", |host| host.links.push(link("wg0", "wireguard"))),
    ("direct-routing", |host| host.engines[0].version = Some("27.5.1".to_owned())),
    ("not-examined", |host| {
        let [what, why, help] = ["a", "b", "c"].map(str::to_owned);
        host.gaps.add(Gap { what, why, help });
    }),
];

#[test]
fn each_fact_that_is_wrong_is_one_finding_and_each_finding_has_one() {
    let of_rules = [
        ("other-firewall-drops", drops_by_policy(Hook::Input)),
        ("known-drops", bans(Family::Inet, "f2b-table", "f2b-chain")),
        ("docker-user-rules", rules_for_users(vec![rule([Expr::Verdict(Verdict::Drop)])])),
        ("loopback-ports-leak", published(&[[172, 17, 0, 5]])),
    ];
    WRONG.iter().for_each(|(id, change)| assert_eq!(ids(change), [*id]));
    of_rules.iter().for_each(|(id, rules)| assert_eq!(ids_of_rules(rules), [*id]));
    let tried = WRONG
        .iter()
        .map(|(id, _)| *id)
        .chain(of_rules.iter().map(|(id, _)| *id))
        .chain(super::tests_of_routed::tried());
    let all = FINDINGS.iter().map(|(kind, _)| kind.id);
    assert_eq!(tried.collect::<BTreeSet<_>>(), all.collect::<BTreeSet<_>>());
}

/// The table in docs/operations.md has the texts of the kinds, worst first. `UPDATE_GOLDEN=1` writes it.
#[test]
fn the_documentation_lists_each_kind_of_finding() {
    let mut kinds: Vec<&Kind> = FINDINGS.iter().map(|(kind, _)| kind).collect();
    kinds.sort_by_key(|kind| kind.severity);
    let row = |kind: &&Kind| {
        format!("| `{}` | {} | {} | {} | {} |\n", kind.id, kind.severity.name(), kind.what, kind.why, kind.remedy)
    };
    let table: String = kinds.iter().map(row).collect();
    let head = "| finding | severity | what was found | why it matters | what mends it |\n|---|---|---|---|---|\n";
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/operations.md");
    let page = std::fs::read_to_string(path).expect("the page can be read");

    let (before, rest) = page.split_once(head).expect("the table's head");
    let (documented, after) = rest.split_once("\n\n").expect("a line behind the table");
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(path, format!("{before}{head}{table}\n{after}")).expect("the page can be written");
    }

    let wrong = documented.lines().chain(["the end"]).zip(table.lines().chain(["the end"]));
    let wrong = wrong.into_iter().find(|(documented, row)| documented != row);
    assert_eq!(wrong, None, "a row as it is documented, and as it should be");
}

#[test]
fn a_flush_after_which_the_drop_in_loads_the_rules_again_is_no_error() {
    let told = |mended| {
        let found = found(&Resolved::default(), &Ruleset::default(), |host| {
            host.flush = Some(Flush { file: "/etc/nftables.conf".into(), line: 3 });
            host.flush_is_mended = mended;
        });
        found.into_iter().map(|finding| (finding.severity, finding.message)).collect::<Vec<_>>()
    };
    let flushes =
        "nftables.service is enabled, and /etc/nftables.conf:3 flushes the rules of everyone: whenever it starts";
    assert_eq!(
        told(false),
        [(Severity::Error, format!("{flushes}, palisade's rules and those of container engines are gone"))]
    );
    assert_eq!(
        told(true),
        [(
            Severity::Warning,
            format!(
                "{flushes}, palisade's rules are gone until its drop-in has loaded them again, a moment later, and those \
                 of container engines are gone"
            )
        )]
    );
}

#[test]
fn the_worst_comes_first() {
    let found = found(&Resolved::default(), &Ruleset::default(), |host| {
        host.legacy = vec!["nat".to_owned()];
        host.loaded = Loaded::Nothing;
    });
    let severities: Vec<_> = found.iter().map(|finding| (finding.id, finding.severity)).collect();
    assert_eq!(severities, [("not-loaded", Severity::Error), ("legacy-iptables", Severity::Warning)]);
}

#[test]
fn who_is_this_machine_itself_in_its_own_network_is_no_guest() {
    // A macvlan uplink, the kind of interface that a container has, and another program's VPN client that routes
    // everything.
    let healthy = ids(|host| {
        host.links.push(RoutedLink { is_way_out: true, ..link("mv-uplink", "macvlan") });
        host.links.push(RoutedLink { is_way_out: true, ..link("wg0", "wireguard") });
        host.links.push(link("veth7", "vlan"));
    });
    assert_eq!(healthy, Vec::<&str>::new());
}

#[test]
fn guests_are_told_by_the_kind_of_their_interface_or_the_name_of_their_wire() {
    for (name, kind) in
        [("wg0", "wireguard"), ("tun3", "tun"), ("flannel.1", "vxlan"), ("cali123", "veth"), ("lan", "bridge")]
    {
        let with = |host: &mut Host| host.links.push(link(name, kind));
        assert_eq!(ids(with), ["guests-not-named"], "{name}");
        let without_forwarding = |host: &mut Host| {
            with(host);
            host.sysctls.forwards_v4 = Some(false);
            host.docker = None;
        };
        assert_eq!(ids(without_forwarding), Vec::<&str>::new());
        let mut policy = Resolved::default();
        policy.defaults.forward = Action::Allow;
        assert_eq!(found(&policy, &Ruleset::default(), with), []);
        let interface = IfPattern { name: name[..3].to_owned(), wildcard: true };
        let group = Group { interfaces: [interface].into(), ..Group::default() };
        let policy = Resolved { groups: [("guests".to_owned(), group)].into(), ..Resolved::default() };
        assert_eq!(found(&policy, &Ruleset::default(), with), []);
    }
}

#[test]
fn a_way_out_counts_as_containers_by_its_name_alone() {
    let way_out = |host: &mut Host| host.links.push(RoutedLink { is_way_out: true, ..link("br-lan", "bridge") });
    assert_eq!(ids(way_out), ["way-out-is-containers"]);
    let interfaces = [IfPattern { name: "docker0".to_owned(), wildcard: false }].into();
    let policy = Resolved { containers: Containers { interfaces, ..Containers::default() }, ..Resolved::default() };
    assert_eq!(found(&policy, &Ruleset::default(), way_out), []);
}

#[test]
fn a_drop_counts_where_packets_come_to_it_and_whose_it_is_decides() {
    let drop = || rule([Expr::Verdict(Verdict::Drop)]);
    let jump = |to: &str| rule([Expr::Verdict(Verdict::Jump(to.to_owned()))]);
    let calls = |to: &'static str| {
        let input = base("filter", Hook::Input, 0, Policy::Accept, vec![jump(to)]);
        ruleset(Family::Ip, "filter", [("INPUT", input), (to, Chain { rules: vec![drop()], ..Chain::default() })])
    };
    assert_eq!(ids_of_rules(&calls("mine")), ["other-firewall-drops"]);
    // It has the name of a program that bans, and drops everyone.
    assert_eq!(ids_of_rules(&calls("f2b-sshd")), ["other-firewall-drops"]);
    assert_eq!(ids_of_rules(&calls("ufw-user-input")), ["ufw-active"]);
    assert_eq!(ids_of_rules(&calls("LIBVIRT_INP")), Vec::<&str>::new());
    assert_eq!(ids_of_rules(&drops_by_policy(Hook::Forward)), ["other-firewall-drops"]);
    assert_eq!(ids_of_rules(&drops_by_policy(Hook::Output)), Vec::<&str>::new());
    let of = |family, hook| {
        ids_of_rules(&ruleset(family, "mine", [("chain", base("filter", hook, 0, Policy::Drop, Vec::new()))]))
    };
    // Ingress, egress and output of ARP have the numbers of other hooks.
    assert_eq!(of(Family::Netdev, Hook::Prerouting), ["other-firewall-drops"]);
    assert_eq!(of(Family::Netdev, Hook::Input), ["other-firewall-drops"]);
    assert_eq!(of(Family::Arp, Hook::Input), ["other-firewall-drops"]);
    assert_eq!(of(Family::Inet, Hook::Prerouting), Vec::<&str>::new());
    let docker = base("filter", Hook::Forward, 0, Policy::Drop, vec![jump("DOCKER-USER")]);
    assert_eq!(ids_of_rules(&ruleset(Family::Ip, "filter", [("FORWARD", docker)])), Vec::<&str>::new());
    let input = base("filter", Hook::Input, 0, Policy::Drop, vec![jump("input")]);
    let circle = Chain { rules: vec![jump("input")], ..Chain::default() };
    assert_eq!(
        ids_of_rules(&ruleset(Family::Ip6, "a", [("in", input), ("input", circle)])),
        ["other-firewall-drops"]
    );
}

#[test]
fn a_program_that_bans_is_known_by_its_name_and_by_what_its_rules_do() {
    let told = |rules: &Ruleset| -> Vec<(&str, Severity, String)> {
        let found = found(&Resolved::default(), rules, |_| {});
        found.into_iter().map(|finding| (finding.id, finding.severity, finding.help)).collect()
    };
    let bans = [
        bans(Family::Inet, "f2b-table", "f2b-chain"),
        bans(Family::Ip, "crowdsec", "crowdsec-chain"),
        bans(Family::Ip, "sshguard", "blacklist"),
    ];
    for rules in &bans {
        let help = "nothing has to be done; to keep a source away from published ports, too, name it in the policy's `block`";
        assert_eq!(told(rules), [("known-drops", Severity::Note, help.to_owned())]);
    }
    let everyone = base("filter", Hook::Input, -1, Policy::Accept, vec![rule([Expr::Verdict(Verdict::Drop)])]);
    let help = "leave the table to fail2ban, and take what drops more than banned sources out of its configuration: `nft \
                list table inet f2b-table` shows the rules";
    assert_eq!(
        told(&ruleset(Family::Inet, "f2b-table", [("f2b-chain", everyone)])),
        [("other-firewall-drops", Severity::Warning, help.to_owned())]
    );
}

#[test]
fn what_is_ignored_is_listed_with_its_reason_and_a_note_is_healthy() {
    let policy = Resolved { ignored: [("macvlan-network", "guarded".to_owned())].into(), ..Resolved::default() };
    let mut host = healthy(&policy);
    host.engines[0].networks[0].driver = "macvlan".to_owned();
    host.legacy = vec!["filter".to_owned()];
    host.engines[0].version = Some("27.5.1".to_owned());
    let rules = Ruleset::default();
    let facts = Facts::new(&host, &rules, &AsListed, &ToDocker);

    let examined = Examined::new(&facts, &["legacy-iptables".to_owned()]);

    let ids = |finding: &Finding| finding.id;
    assert_eq!(examined.findings.iter().map(ids).collect::<Vec<_>>(), ["direct-routing"]);
    assert_eq!(
        examined.ignored.iter().map(|(finding, why)| (finding.id, why.as_str())).collect::<Vec<_>>(),
        [("legacy-iptables", "--ignore says so"), ("macvlan-network", "guarded")]
    );
    assert!(examined.is_healthy());
    assert!(!Examined::new(&facts, &[]).is_healthy());
}

#[test]
fn a_policy_can_ignore_each_finding_and_nothing_else() {
    let mut ids: Vec<&str> = FINDINGS.iter().map(|(kind, _)| kind.id).collect();
    ids.sort_unstable();
    assert_eq!(ids, crate::policy::FINDING_IDS);
}

#[test]
fn rules_for_users_are_left_unless_they_only_return() {
    let counter = Expr::Counter { packets: 1, bytes: 60 };
    let returns = rule([counter.clone(), Expr::Verdict(Verdict::Return)]);
    assert_eq!(ids_of_rules(&rules_for_users(vec![returns.clone()])), Vec::<&str>::new());
    assert_eq!(
        ids_of_rules(&rules_for_users(vec![rule([counter, Expr::Verdict(Verdict::Drop)]), returns])),
        ["docker-user-rules"]
    );
}

/// `ip daddr 127.0.0.1 tcp dport 9200 dnat to 172.17.0.5:9000`, and before it the drops of an engine.
fn published(dropped: &[[u8; 4]]) -> Ruleset {
    let one = Register::ONE;
    let two = Register::Data(4);
    let equal = |load: Expr, data: &[u8]| [load, Expr::Cmp { op: Cmp::Eq, sreg: one, data: data.to_vec() }];
    let destination = || Expr::Payload { base: PayloadBase::Network, offset: 16, len: 4, dreg: one };
    let port = Expr::Payload { base: PayloadBase::Transport, offset: 2, len: 2, dreg: one };
    let immediate = |dreg, data: &[u8]| Expr::Foreign(Foreign::Immediate { dreg, data: data.to_vec() });
    let (addresses, ports) = ([Some(one), None], [Some(two), None]);
    let nat = Nat { destination: true, family: 2, addresses, ports, flags: 3 };
    let translate = [
        equal(destination(), &[127, 0, 0, 1]),
        equal(Expr::Meta { key: MetaKey::L4proto, dreg: one }, &[6]),
        equal(port, &9200_u16.to_be_bytes()),
        [immediate(one, &[172, 17, 0, 5]), immediate(two, &9000_u16.to_be_bytes())],
    ];
    let mut translate: Vec<Expr> = translate.into_iter().flatten().collect();
    translate.push(Expr::Foreign(Foreign::Nat(nat)));
    let drops = dropped.iter().map(|address| {
        let [load, compare] = equal(destination(), address);
        rule([load, compare, Expr::Verdict(Verdict::Drop)])
    });
    let raw = base("filter", Hook::Prerouting, -300, Policy::Accept, drops.collect());
    let nat = base("nat", Hook::Prerouting, -100, Policy::Accept, vec![rule(translate)]);
    ruleset(Family::Ip, "docker-bridges", [("raw-PREROUTING", raw), ("nat-PREROUTING", nat)])
}

#[test]
fn what_an_engine_leaves_open_is_followed_through_its_rules() {
    let (container, loopback) = ([172, 17, 0, 5], [127, 0, 0, 1]);
    assert_eq!(ids_of_rules(&published(&[])), ["direct-routing", "loopback-ports-leak"]);
    assert_eq!(ids_of_rules(&published(&[container])), ["loopback-ports-leak"]);
    assert_eq!(ids_of_rules(&published(&[loopback])), ["direct-routing"]);
    assert_eq!(ids_of_rules(&published(&[container, loopback])), Vec::<&str>::new());
    let message = found(&Resolved::default(), &published(&[loopback]), |_| {}).remove(0).message;
    assert!(
        message.starts_with(
            "Docker does not keep others away from the addresses of its containers (172.17.0.5:9000 is open)"
        ),
        "{message}"
    );
}

#[test]
fn many_words_are_cut() {
    let words = |count: usize| some((1..=count).map(|number| number.to_string()));
    assert_eq!([words(1), words(2), words(3), words(5)], ["1", "1 and 2", "1, 2 and 3", "1, 2, 3 and 2 more"]);
}
