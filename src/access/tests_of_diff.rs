//! The access diff prints what the simulator says of each source and port, and no range is wider or narrower.

use super::asked::Asked;
use super::change::{AccessChange, Port};
use super::diff::Comparison;
use super::narrow::narrowed;
use super::opened::{Opened, Readings};
use super::space::{Place, Prober, Target};
use super::tests::{compiled, opened_one_by_one, outcomes_of};
use super::translations::without_translations;
use super::value::{self, of_containers, overlaps_containers};
use crate::net::{Version, number};
use crate::policies::{DEFAULT_BRIDGES, Setting, Written, config_of_few, policy_of};
use crate::ruleset::{Expr, Table, TableId};
use crate::simulate::{Packet, Translation, Transport, simulate_table};
use ipnet::IpNet;
use proptest::prelude::*;
use proptest::test_runner::{RngAlgorithm, TestRng};
use std::cell::RefCell;
use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;
use std::rc::Rc;

/// How many sources and ports are simulated one by one for each pair of policies.
const SAMPLES: usize = 10_000;

/// From the first to the last source, of one version.
type Printed = (Version, u128, u128);

/// Reads what is printed: `192.0.2.1`, `192.0.2.0/24`, `192.0.2.1-192.0.2.9`, `any`.
fn read(text: &str) -> Vec<Printed> {
    let version = |address: IpAddr| if address.is_ipv4() { Version::V4 } else { Version::V6 };
    let range = |first: IpAddr, last: IpAddr| vec![(version(first), number(first), number(last))];
    if text == "any" {
        return Version::ALL.into_iter().map(|version| (version, 0, version.last_address())).collect();
    }
    if let Ok(network) = text.parse::<IpNet>() {
        return range(network.network(), network.broadcast());
    }
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    range(first.parse().expect("an address"), last.parse().expect("an address"))
}

fn holds(printed: &[Printed], version: Version, source: u128) -> bool {
    printed.iter().any(|(of, first, last)| *of == version && (*first..=*last).contains(&source))
}

/// Whether a change is about that place.
fn is_of(change: &AccessChange, compared: &Comparison, place: &Place) -> bool {
    let by = change.by.as_deref().unwrap_or_default();
    let names = place.incoming.names.join(", ");
    let same = names == by && !(by.is_empty() && place.incoming.containers)
        || by == "containers" && place.incoming.containers;
    same && change.published == place.published.is_some() && change.behind == compared.behind(place)
}

/// Whether a change is about that port or protocol.
fn speaks_of(change: &AccessChange, target: Target) -> bool {
    match (target, &change.port) {
        (Target::Ports { protocol, first, last }, Some(port)) => {
            let name = [(6, "tcp"), (17, "udp"), (132, "sctp")].into_iter().find(|(number, _)| *number == protocol);
            let (from, to) = match port {
                Port::One(port) => (*port, *port),
                Port::Range(range) => {
                    let (from, to) = range.split_once('-').expect("a range");
                    (from.parse().expect("a port"), to.parse().expect("a port"))
                }
            };
            name.is_some_and(|(_, name)| name == change.proto) && from <= first && last <= to
        }
        (Target::Ping, None) => change.proto == "icmp",
        (Target::Protocol(number), None) => change.proto == number.to_string(),
        (Target::OtherProtocols(_), None) => change.proto == "other",
        _ => false,
    }
}

/// Whether a connection passes a table; `None` if it can't be told. Which containers' answers pass is asked only if
/// it may differ between the two tables.
fn passes(table: &Table, packet: &Packet, containers_count: bool) -> Option<bool> {
    let id = TableId::palisade();
    let table = &without_translations(table);
    let outcomes = if packet.translated.is_none() || containers_count {
        opened_one_by_one(&id, table, packet)
    } else {
        outcomes_of(&simulate_table(&id, table, packet))
    };
    match outcomes {
        [true, false, false, false] => Some(true),
        [allow, _, _, anything] => (!allow && !anything).then_some(false),
    }
}

/// Addresses of containers at the ends of what the tables name.
fn named_containers(tables: [&Table; 2], version: Version) -> BTreeSet<IpAddr> {
    let len = version.address_len();
    let mut named: BTreeSet<u128> = of_containers(version).iter().flat_map(|(first, last)| [*first, *last]).collect();
    for table in tables {
        let of_sets =
            table.sets.values().flat_map(|set| set.elements.bounds()).flat_map(|(first, last)| [first, last]);
        let exprs = table.chains.values().flat_map(|chain| &chain.rules).flat_map(|rule| &rule.exprs);
        let of_rules =
            exprs.filter_map(|expr| if let Expr::Cmp { data, .. } = expr { Some(&data[..]) } else { None });
        for bytes in of_sets.chain(of_rules).filter(|bytes| bytes.len() == len) {
            let end = value::number(bytes);
            named.extend([end.saturating_sub(1), end, end.saturating_add(1)]);
        }
    }
    let is_one = |at: &u128| overlaps_containers(version, (*at, *at));
    named.into_iter().filter(is_one).filter_map(|at| version.address(at)).collect()
}

/// The packets of a place, a target and a version.
type Packets = HashMap<(usize, usize, usize), Rc<[Packet]>>;

/// Two tables, the printed changes between them, and packets to simulate.
struct Pair {
    tables: [&'static Table; 2],
    compared: Comparison,
    /// Each with the ranges that gain, that lose, and for which it can't be told.
    printed: Vec<(AccessChange, [Vec<Printed>; 3])>,
    /// By version.
    probers: [RefCell<Prober<'static>>; 2],
    /// Those that were asked for.
    packets: RefCell<Packets>,
    /// Whether containers' answers may get through otherwise in one than in the other.
    containers_count: bool,
}

impl Pair {
    /// The tables are never freed, as the probers refer to them.
    fn new(tables: [Table; 2]) -> Self {
        let id: &TableId = Box::leak(Box::new(TableId::palisade()));
        let tables = tables.map(|table| &*Box::leak(Box::new(table)));
        let compared = Comparison::new(id, tables);
        let opened: &[Opened; 2] = Box::leak(Box::new(Opened::both(id, tables)));
        let mut containers_count = false;
        let probers = Version::ALL.map(|version| {
            let mut asks = Asked::default();
            let readings = [(tables[0], &opened[0]), (tables[1], &opened[1])]
                .map(|(table, opened)| Readings::new(table, opened, version, &mut asks));
            containers_count |= readings.iter().any(|readings| readings.containers_count);
            let readings: &[Readings<'_>; 2] = Box::leak(Box::new(readings));
            RefCell::new(Prober::new(id, version, readings))
        });
        let read_all = |texts: &[String]| texts.iter().flat_map(|text| read(text)).collect();
        let with_ranges = |change: AccessChange| {
            let ranges = [&change.gains, &change.loses, &change.unknown].map(|texts| read_all(texts));
            (change, ranges)
        };
        let printed = compared.changes().into_iter().map(with_ranges).collect();
        Self { tables, printed, compared, probers, packets: RefCell::default(), containers_count }
    }

    /// One packet for each class of source ports and of this machine's addresses.
    fn packets(&self, at: (usize, usize, usize)) -> Rc<[Packet]> {
        let (place, number, family) = at;
        let target = self.compared.space.targets[number];
        let ask = || {
            let classes = self.probers[family].borrow_mut().outcomes(&self.compared.space, place, target).into_iter();
            classes.map(|(packet, _)| packet).collect()
        };
        self.packets.borrow_mut().entry(at).or_insert_with(ask).clone()
    }

    /// Whether a source gains (or loses) access at one of this machine's addresses, from one of the source ports.
    fn changes(&self, at: (usize, usize, usize), port: Option<u16>, source: u128, gained: bool) -> bool {
        self.packets_from(at, port, source)
            .iter()
            .any(|packet| self.pass(at, packet) == [Some(!gained), Some(gained)])
    }

    /// Whether the first packet of a connection to some container may pass a table, at some address of this machine.
    fn may_begin(&self, at: (usize, usize, usize), port: Option<u16>, source: u128) -> bool {
        let of = |packet: &Packet, address| Packet {
            translated: Some(Translation { address, port: None }),
            ..packet.clone()
        };
        let containers = named_containers(self.tables, Version::ALL[at.2]);
        let passes = |packet: &Packet| {
            let outcomes = self.tables.map(|table| outcomes_of(&simulate_table(&TableId::palisade(), table, packet)));
            outcomes.iter().any(|outcomes| outcomes[0] || outcomes[3])
        };
        let packets = self.packets_from(at, port, source);
        packets.iter().any(|packet| passes(packet) || containers.iter().any(|address| passes(&of(packet, *address))))
    }

    /// The packets from a source that stand for all to a target, or to one port of it.
    fn packets_from(&self, at: (usize, usize, usize), port: Option<u16>, source: u128) -> Vec<Packet> {
        let source = Version::ALL[at.2].address(source).expect("an address");
        let mut packets: Vec<Packet> =
            self.packets(at).iter().map(|packet| Packet { source, ..packet.clone() }).collect();
        for packet in &mut packets {
            if let (Transport::Ports { destination, .. }, Some(port)) = (&mut packet.transport, port) {
                *destination = port;
            }
        }
        packets
    }

    /// Whether a connection passes each table, as that table forwards it.
    fn pass(&self, (place, _, family): (usize, usize, usize), packet: &Packet) -> [Option<bool>; 2] {
        let (prober, place) = (self.probers[family].borrow(), &self.compared.space.places[place]);
        let forwarded = [0, 1].map(|table| prober.as_forwarded(table, place, packet));
        [0, 1].map(|table| passes(self.tables[table], &forwarded[table], self.containers_count))
    }

    /// What is printed for a place and a target: gained, lost, unknown. A place without changes of its own has those
    /// of the first place. For containers and published ports, only changes are printed.
    fn printed(&self, place: &Place, target: Target) -> [&[Printed]; 3] {
        let of = |place: &Place| {
            self.printed.iter().find(|(change, _)| speaks_of(change, target) && is_of(change, &self.compared, place))
        };
        let usual = || of(self.compared.space.places.first().filter(|_| place.published.is_none())?);
        match of(place).or_else(usual) {
            Some((_, ranges)) => ranges.each_ref().map(Vec::as_slice),
            None => [&[]; 3],
        }
    }
}

/// Settings with few container bridges, since every pair of interfaces is a place.
const FEW_BRIDGES: &[Setting] = DEFAULT_BRIDGES.split_at(2).1;

/// Checking a pair takes many seconds, so few are checked, and shrinking tries only some.
fn pairs() -> ProptestConfig {
    ProptestConfig { max_shrink_iters: 8, ..config_of_few(2, 16) }
}

proptest! {
    #![proptest_config(pairs())]

    #[test]
    fn who_gains_and_loses_is_what_the_simulator_says_one_by_one(
        before in policy_of(FEW_BRIDGES),
        after in policy_of(FEW_BRIDGES),
        seed in any::<u64>(),
    ) {
        let pair = Pair::new([compiled(&before), compiled(&after)]);
        let space = &pair.compared.space;
        let mut random = TestRng::from_seed(RngAlgorithm::ChaCha, &[seed.to_le_bytes(); 4].concat());
        let (mut asked, mut changed) = (0, 0);
        while asked < SAMPLES {
            let place = random.random_range(0..space.places.len());
            let number = random.random_range(0..space.targets.len());
            let (way, class) = (&space.places[place], space.targets[number]);
            if way.published.is_some() && !matches!(class, Target::Ports { .. }) {
                continue;
            }
            asked += 1;
            let family = random.random_range(0..2_usize);
            let (version, regions) = (Version::ALL[family], &pair.compared.regions[family]);
            let cell = pair.compared.cells[place][number][family];
            // Any address, or one at an edge of a region.
            let edges: Vec<u128> = [cell.gains, cell.loses].iter().flat_map(|region| regions.intervals(*region))
                .flat_map(|&(first, last)| [first.saturating_sub(1), first, last, last.saturating_add(1)]).collect();
            let anywhere = random.random::<u128>() & version.last_address();
            let source = match edges.len() {
                0 => anywhere,
                len if random.random() => edges[random.random_range(0..len)].min(version.last_address()),
                _ => anywhere,
            };
            // Any port of the class, to any address that a policy may name.
            let (target, port) = match class {
                Target::Ports { protocol, first, last } => {
                    let port = random.random_range(first..=last);
                    (Target::Ports { protocol, first: port, last: port }, Some(port))
                }
                other => (other, None),
            };
            let near = [0x0a00_0000_u128, 0xc000_0200, 0x2001_0db8 << 96, 5];
            let machine = (near[random.random_range(0..4_usize)] + random.random_range(0..20_u128)) & version.last_address();
            let machine = version.address(machine).expect("an address");
            let source_port = random.random_range(1024..=u16::MAX - 1);
            let packet = way.packet(version.address(source).expect("an address"), machine, target, Some(source_port));
            // Changes for other places may cover containers and published ports, too: don't compare what is printed
            // for these.
            let outside = way.published.is_none() && !way.incoming.containers;
            let regions_say = [cell.gains, cell.loses, cell.unknown].map(|region| regions.contains(region, source));
            let said = if outside {
                pair.printed(way, target).map(|printed| holds(printed, version, source))
            } else {
                regions_say
            };
            prop_assert_eq!(said, regions_say, "printed otherwise than found: {:?}", packet);
            // Which containers answer differs.
            if packet.translated.is_some() && said[2] && pair.containers_count {
                // At another of this machine's addresses it may be told.
                prop_assert!(pair.may_begin((place, number, family), port, source), "unknown: {:?}", packet);
                continue;
            }
            match pair.pass((place, number, family), &packet) {
                [Some(false), Some(true)] => prop_assert!(said[0], "gains: {packet:?}"),
                [Some(true), Some(false)] => prop_assert!(said[1], "loses: {packet:?}"),
                [Some(_), Some(_)] => {}
                _ => prop_assert!(said[2], "unknown: {packet:?}"),
            }
            // It may be otherwise at another of this machine's addresses or from another port, but must be so at one.
            for (says, gained) in [(said[0], true), (said[1], false)] {
                changed += usize::from(says);
                let does = says && pair.changes((place, number, family), port, source, gained);
                prop_assert!(does == says, "said to change, and does not: {packet:?}");
            }
        }
        eprintln!("{asked} asked, {changed} of them gain or lose");
    }

    #[test]
    fn no_range_is_printed_wider_or_narrower_than_what_changes(
        before in policy_of(FEW_BRIDGES),
        after in policy_of(FEW_BRIDGES),
    ) {
        let pair = Pair::new([compiled(&before), compiled(&after)]);
        let space = &pair.compared.space;
        let mut ranges = 0;
        for (change, [_, _, unknown]) in &pair.printed {
            let places: Vec<usize> = (0..space.places.len()).filter(|place| is_of(change, &pair.compared, &space.places[*place])).collect();
            let targets: Vec<usize> = (0..space.targets.len()).filter(|at| speaks_of(change, space.targets[*at])).collect();
            prop_assert!(places.len() == 1 && !targets.is_empty(), "{change}: {places:?} {targets:?}");
            let printed = [(&change.gains, true), (&change.loses, false)];
            for (text, gained) in printed.into_iter().flat_map(|(texts, gained)| texts.iter().map(move |text| (text, gained))) {
                for (version, first, last) in read(text) {
                    let family = usize::from(version == Version::V6);
                    // The first and the last of a run of ports.
                    for target in [targets[0], targets[targets.len() - 1]] {
                        let changes = |source| pair.changes((places[0], target, family), None, source, gained);
                        prop_assert!(changes(first) && changes(last), "{change}: {text} does not change");
                        let outside = [first.checked_sub(1), last.checked_add(1).filter(|next| *next <= version.last_address())];
                        // Of whom nothing can be told may change.
                        let is_told = |neighbour: &u128| !holds(unknown, version, *neighbour);
                        for neighbour in outside.into_iter().flatten().filter(is_told) {
                            prop_assert!(!changes(neighbour), "{change}: beside {text}, {neighbour:x} changes too");
                        }
                    }
                    ranges += 1;
                }
            }
        }
        eprintln!("{ranges} ranges are tight");
    }
}

/// A policy whose group `many` has these lines, beside a network that overlaps with it.
fn beside_a_long_list(lines: &[String]) -> Table {
    let text = "version: 1
groups:
  many: { file: many.txt }
services:
  ssh: { ports: 22/tcp, from: many }
  web: { ports: 80/tcp, from: [many, 10.0.0.0/14], except: 10.1.0.0/30 }
block: 10.0.2.0/24
";
    let files = [("many.txt".to_owned(), lines.join("\n"))].into_iter().collect();
    compiled(&Written { text: text.to_owned(), files })
}

#[test]
fn large_sets_cut_down_to_what_differs_tell_the_same_as_whole() {
    let host = |n: u32| std::net::Ipv4Addr::from(0x0a00_0000 + 2 * n).to_string();
    let network = |n: u32| format!("{}/30", std::net::Ipv4Addr::from(0x1400_0000 + 8 * n));
    let before: Vec<String> = (0..600).map(host).chain((0..600).map(network)).collect();
    let mut after = before.clone();
    after.retain(|line| ![host(5), host(300), network(7)].contains(line));
    after.extend(["10.1.0.1", "10.9.9.9", "20.0.0.64/29", "11.0.0.0/24"].map(str::to_owned));
    let (id, tables) = (TableId::palisade(), [beside_a_long_list(&before), beside_a_long_list(&after)]);
    let [before, after] = [&tables[0], &tables[1]];

    let whole = Comparison::new(&id, [before, after]).changes();
    let narrowed = narrowed([before, after]).expect("they differ in elements of large sets alone");
    let cut = Comparison::new(&id, [&narrowed[0], &narrowed[1]]).changes();

    assert!(!whole.is_empty());
    assert_eq!(cut, whole);
    let elements = |table: &Table| table.sets.values().map(|set| set.elements.len()).sum::<usize>();
    assert!(elements(&narrowed[0]) * 10 < elements(before), "{} elements are left", elements(&narrowed[0]));
}
