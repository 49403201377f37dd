//! The real firewalld loads zones, packets show what they let in, and the policy that palisade makes of them lets in the same.
//! Needs root, and firewalld unpacked to `target/engines/firewalld`: `scripts/test kernel` does that.

#[path = "migrate/firewalld/model.rs"]
mod model;
mod support;

use model::{About, Element, Packet, SERVICES, Verdict, Zone, service_file, verdict, zone_of};
use palisade::migrate::firewalld::{FILES, Installation, import};
use palisade::migrate::{Fate, Imported};
use std::collections::BTreeSet;
use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use support::dice::{Dice, seed};
use support::lab::{HOST, HOST_ON_LAN, Lab};
use support::namespace::output;
use support::probe::{Outcome, Target};
use support::seen::{PEERS, seen};
use tempfile::TempDir;

const TARGETS: [Target; 5] = [Target::Tcp(22), Target::Tcp(80), Target::Tcp(81), Target::Udp(81), Target::Ping];
const PORTS: [u16; 3] = [22, 80, 81];
const NAMES: [&str; 4] = ["aaa", "dmz", "public", "work"];

/// Starts firewalld's own library, which needs no D-Bus, and leaves its rules in the kernel.
const LOAD: &str = "import sys
root, own = sys.argv[1], sys.argv[2]
sys.path.insert(0, root + '/usr/lib/python3/dist-packages')
from firewall import config
config.set_system_config_paths(own)
config.set_default_config_paths(root + '/usr/lib/firewalld')
from firewall.core.fw import Firewall
firewall = Firewall(offline=False)
firewall.start()
print(firewall.get_state(), sorted(firewall.zone.get_active_zones()))";

/// firewalld's folder in `/etc`, for the host of a lab.
struct Firewalld<'a> {
    lab: &'a Lab,
    root: TempDir,
}

impl<'a> Firewalld<'a> {
    fn new(lab: &'a Lab, zones: &[Zone], default: usize) -> Self {
        let root =
            tempfile::Builder::new().prefix("palisade-firewalld-").tempdir_in("/run").expect("/run is writable");
        let firewalld = Self { lab, root };
        for kind in ["zones", "services", "policies", "ipsets", "helpers", "icmptypes"] {
            fs::create_dir_all(firewalld.own().join(kind)).expect("it is writable");
        }
        let conf = format!("DefaultZone={}\nFirewallBackend=nftables\nNftablesTableOwner=no\n", zones[default].name);
        firewalld.write("firewalld.conf", &conf);
        for zone in zones {
            firewalld.write(&format!("zones/{}.xml", zone.name), &zone.file());
        }
        for (name, ports) in SERVICES {
            firewalld.write(&format!("services/{name}.xml"), &service_file(ports));
        }
        firewalld
    }

    fn own(&self) -> PathBuf {
        self.root.path().join("etc/firewalld")
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.own().join(name), text).expect("it is writable");
    }

    /// Loads the rules into the host's network namespace.
    #[track_caller]
    fn load(&self) {
        let package = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/engines/firewalld");
        assert!(
            package.join("usr/sbin/firewalld").exists(),
            "firewalld is not unpacked: `scripts/test kernel` does it"
        );
        let libraries = fs::read_dir(package.join("usr/lib")).expect("it is unpacked");
        let mut libraries = libraries.map(|entry| entry.expect("it can be read").path());
        let libraries = libraries.find(|path| path.join("libnftables.so.1").exists()).expect("it is unpacked");
        let mut command = self.lab.host.command("/usr/bin/python3");
        command.env("LC_ALL", "C.UTF-8").env("PYTHONDONTWRITEBYTECODE", "1").env("LD_LIBRARY_PATH", &libraries);
        command.env("GI_TYPELIB_PATH", libraries.join("girepository-1.0"));
        command.args(["-c", LOAD]).arg(&package).arg(self.own());
        let said = output(&mut command).success();
        assert!(said.contains("RUNNING"), "{said}");
    }

    fn unload(&self) {
        output(self.lab.host.command("nft").args(["delete", "table", "inet", "firewalld"])).success();
    }

    fn import(&self) -> Imported {
        let mut installation = Installation::default();
        let [conf, _] = FILES;
        let kinds = ["zones", "services"].into_iter().flat_map(|kind| {
            let entries = fs::read_dir(self.own().join(kind)).expect("it is there");
            entries.map(move |entry| {
                format!("etc/firewalld/{kind}/{}", entry.expect("it can be read").file_name().display())
            })
        });
        for path in kinds.chain([conf.to_owned()]) {
            let text = fs::read_to_string(self.root.path().join(&path)).expect("it was written");
            installation.files.insert(path, text);
        }
        import(&installation).expect("firewalld uses it")
    }
}

fn about(dice: &mut Dice) -> About {
    match dice.below(5) {
        0 => About::Port("tcp", dice.pick(&[(22, 22), (80, 81)])),
        1 => About::Port("udp", (79, 81)),
        2 => About::Protocol("tcp"),
        _ => About::Service(dice.pick(&SERVICES).0),
    }
}

fn element(dice: &mut Dice) -> Element {
    match dice.below(8) {
        0 => Element::Block,
        1 => Element::Inversion,
        2 | 3 => Element::Plain(about(dice)),
        _ => {
            let sources =
                ["203.0.113.66", "203.0.113.0/24", "10.77.0.0/24", "2001:db8::66", "2001:db8::/64", "fd77::2"];
            let address = dice.pick(&sources);
            let family = if address.contains(':') { "ipv6" } else { "ipv4" };
            let own = if address.contains(':') { ["2001:db8::1", "fd77::/64"] } else { ["203.0.113.1", "10.77.0.1"] };
            let to = (dice.below(5) == 0).then(|| dice.pick(&own));
            let about = match dice.below(4) {
                0 => About::All,
                1 if dice.below(2) == 0 => About::Pings,
                _ => about(dice),
            };
            let priority = dice.pick(&[0, 0, 0, -7, -3, 4]);
            let verdict = dice.pick(&[Verdict::Accept, Verdict::Accept, Verdict::Reject, Verdict::Drop]);
            let from = Some((address, dice.below(6) == 0));
            Element::Rich { family, priority, from, to, about, verdict }
        }
    }
}

/// Four zones, and which of them is the default.
fn zones(dice: &mut Dice) -> (Vec<Zone>, usize) {
    let target = |dice: &mut Dice| dice.pick(&["", "", "", "", "ACCEPT", "%%REJECT%%", "DROP"]);
    let mut zones: Vec<Zone> = NAMES
        .iter()
        .map(|name| Zone { name, target: target(dice), sources: vec![], interfaces: vec![], elements: vec![] })
        .collect();
    for zone in &mut zones {
        for _ in 0..dice.below(5) {
            let element = element(dice);
            if !zone.elements.contains(&element) {
                zone.elements.push(element);
            }
        }
    }
    for source in ["203.0.113.66", "203.0.113.64/30", "10.77.0.0/24", "2001:db8::66", "2001:db8::/64", "fd77::/64"] {
        if dice.below(3) == 0 {
            zones[dice.below(4)].sources.push(source);
        }
    }
    for interface in ["eth0", "eth1", "eth+"] {
        if dice.below(3) == 0 {
            zones[dice.below(4)].interfaces.push(interface);
        }
    }
    (zones, dice.below(4))
}

/// A lab whose host answers at every target.
fn lab() -> (Lab, support::echo::Echo) {
    let lab = Lab::new();
    lab.add_addresses(PEERS.iter().map(|peer| peer.parse().expect("an address")));
    let own = HOST.into_iter().chain(HOST_ON_LAN);
    let heard: Vec<SocketAddr> = own.flat_map(|address| PORTS.map(|port| SocketAddr::new(address, port))).collect();
    let echo = lab.host.listen(&heard, &heard);
    (lab, echo)
}

/// The packet of a probe.
fn packet(lab: &Lab, peer: &str, target: Target) -> Packet {
    let source: IpAddr = peer.parse().expect("an address");
    let (protocol, port) = match target {
        Target::Tcp(port) => ("tcp", port),
        Target::Udp(port) => ("udp", port),
        Target::Ping => ("ping", 0),
    };
    let interface = if ["10.77.0.2", "fd77::2"].contains(&peer) { "eth1" } else { "eth0" };
    Packet { source, destination: lab.peer(source).1, protocol, port, interface }
}

/// Has firewalld load zones, and compares what packets see with what they see after the import.
fn compared(zones: &[Zone], default: usize) {
    let (lab, _echo) = lab();
    let firewalld = Firewalld::new(&lab, zones, default);
    firewalld.load();
    let theirs = seen(&lab, &TARGETS);
    let imported = firewalld.import();
    firewalld.unload();
    lab.forget_datagrams();
    lab.write_policy("policy.yaml", &imported.policy);
    lab.palisade("policy.yaml", &["apply", "--force", "--yes"]).success();

    let ours = seen(&lab, &TARGETS);

    let context =
        || format!("default {default}\n{zones:#?}\n{}\n{}", imported.policy, imported.report.text().as_str());
    let left_out = [Fate::Tighter, Fate::NotTranslated];
    let entries = imported.report.rules.iter().filter(|entry| left_out.contains(&entry.fate));
    let tighter: BTreeSet<String> = entries.flat_map(|entry| entry.places.clone()).collect();
    for (asked, outcome) in theirs {
        let (before, now) = (outcome == Outcome::Connected, ours[&asked] == Outcome::Connected);
        let packet = packet(&lab, asked.0, asked.1);
        let model = verdict(zones, default, &packet) == Verdict::Accept;
        assert_eq!(before, model, "the tests' model of firewalld is wrong: {asked:?}: {outcome:?}\n{}", context());
        let is_said = zones[zone_of(zones, default, &packet)].is_said(&tighter, &packet);
        let same = before == now || before && is_said;
        assert!(same, "{asked:?}: {outcome:?} by firewalld, {:?} by palisade: {}", ours[&asked], context());
    }
}

fn try_zones(count: u64) {
    let seed = seed();
    for list in seed..seed + count {
        eprintln!("PALISADE_SEED={list}");
        let (zones, default) = zones(&mut Dice::seeded(list));
        compared(&zones, default);
    }
}

/// A denial beats an allowance at priority 0, the lower number of two priorities comes first, a sender has one zone, and what
/// is inverted is everyone else of the version.
#[test]
fn what_firewalld_decides_by_order_the_policy_decides_without() {
    let rich = |priority: i32, from: (&'static str, bool), about: About, verdict: Verdict| Element::Rich {
        family: if from.0.contains(':') { "ipv6" } else { "ipv4" },
        priority,
        from: Some(from),
        to: None,
        about,
        verdict,
    };
    let zone = |name, target, sources: &[&'static str], interfaces: &[&'static str], elements| Zone {
        name,
        target,
        sources: sources.to_vec(),
        interfaces: interfaces.to_vec(),
        elements,
    };
    let public = vec![
        Element::Plain(About::Service("ssh")),
        rich(0, ("203.0.113.66", false), About::Service("ssh"), Verdict::Drop),
        rich(0, ("203.0.113.66", false), About::All, Verdict::Accept),
        rich(-1, ("203.0.113.67", false), About::All, Verdict::Reject),
        rich(-2, ("203.0.113.67", false), About::Service("web"), Verdict::Accept),
        rich(3, ("2001:db8::66", false), About::Port("tcp", (80, 81)), Verdict::Accept),
        rich(2, ("2001:db8::/64", false), About::Port("tcp", (81, 81)), Verdict::Drop),
        Element::Block,
    ];
    let work = vec![
        Element::Plain(About::Service("names")),
        rich(0, ("10.77.0.2", true), About::All, Verdict::Accept),
        rich(0, ("fd77::3", true), About::Service("ssh"), Verdict::Accept),
    ];
    let zones = [
        zone("drop", "DROP", &["2001:db8::67"], &[], vec![Element::Plain(About::Port("tcp", (80, 80)))]),
        zone("public", "", &[], &["eth0"], public),
        zone("work", "", &["10.77.0.0/24"], &["eth1"], work),
    ];
    compared(&zones, 1);
}

#[test]
fn what_the_real_firewalld_lets_in_the_imported_policy_lets_in() {
    try_zones(5);
}

#[test]
#[ignore = "takes many minutes"]
fn a_hundred_configurations_of_the_real_firewalld() {
    try_zones(100);
}
