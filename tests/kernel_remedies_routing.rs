//! Findings about what a policy forwards and what goes out: each is planted for real, its remedy is applied as it is
//! printed, and it is gone.
#![allow(missing_docs)]

mod support;

use support::lab::Lab;
use support::namespace::output;
use support::planted::Planted;
use support::recording::Recording;
use support::replay::Replay;

const SSH: &str = "services:\n  ssh: { ports: 22/tcp, from: any }\n";
const LAN: &str = "forward:\n  lan: { ports: any, from: { interface: eth1 }, to: { interface: eth0 } }\n";

fn policy(rest: &str) -> String {
    format!("version: 1\n{SSH}{rest}")
}

/// A finding, the section that its line belongs to, the policy, and what is planted.
type Case = (&'static str, &'static str, String, fn(&Lab));

fn cases() -> Vec<Case> {
    let web = policy(
        "  web: { ports: 443/tcp, from: any, forward_to: 10.77.0.2 }\nnat:\n  lan: { from: { interface: eth1 }, to: { interface: eth0 } }\n",
    );
    let home = "forward:\n  home: { ports: any, from: { interface: home }, to: { interface: eth0 } }\n";
    vec![
        ("hairpin-missing", "nat:\n", web, |_| {}),
        ("bridge-frames-denied", "forward:\n", policy(home), |lab| {
            lab.host.ip("link add home type bridge");
            for port in ["one", "two"] {
                lab.host.ip(&format!("link add {port} type veth peer name far-{port}"));
                lab.host.ip(&format!("link set {port} master home up"));
            }
            lab.host.ip("address add 10.78.0.1/24 dev home");
            lab.host.ip("link set home up");
            lab.host.sysctl("net/bridge/bridge-nf-call-iptables", "1");
        }),
        (
            "ipv6-untranslated",
            "nat:\n",
            policy(&format!("{LAN}nat:\n  lan: {{ from: {{ interface: eth1 }}, to: {{ interface: eth0 }} }}\n")),
            |_| {},
        ),
        (
            "containers-send-freely",
            "",
            policy("defaults: { outgoing: deny }\noutgoing: { names: { ports: 53/udp, from: host, to: any } }\n"),
            |lab| drop(lab.host.ip("link add docker0 type bridge")),
        ),
    ]
}

#[test]
fn a_line_that_is_advised_for_what_is_forwarded_mends_its_finding() {
    for (id, section, policy, plant) in cases() {
        let lab = Lab::new();
        lab.forward();
        plant(&lab);
        let planted = Planted::new(&lab);
        planted.apply(&policy);
        let said = planted.doctor();
        said.has(id);
        let line = said.commands(id).into_iter().find(|part| part.contains(": {")).expect("a line of the policy");

        let mended = match section {
            "" => format!("{policy}{line}\n"),
            section => policy.replace(section, &format!("{section}  {line}\n")),
        };
        assert_ne!(mended, policy);
        planted.apply(&mended);

        planted.doctor().has_no(id);
    }
}

#[test]
fn what_docker_drops_of_what_is_forwarded_passes_again_as_advised() {
    let replay = Replay::new(Recording::read("docker-28.5-iptables"));
    let planted = Planted::new(&replay.lab);
    planted.doctor().has_no("engine-drops-forward");
    planted.apply(&policy("forward:\n  lan: { ports: any, from: { interface: eth1 }, to: { interface: eth0 } }\n"));
    let said = planted.doctor();
    said.has("engine-drops-forward");
    let commands = said.commands("engine-drops-forward");
    let commands: Vec<&str> = commands.iter().map(String::as_str).filter(|one| one.contains("-P FORWARD")).collect();

    planted.doctor_after(&commands.join("; ")).has_no("engine-drops-forward");
}

#[test]
fn a_machine_forwards_what_the_policy_forwards_as_advised() {
    let lab = Lab::new();
    let planted = Planted::new(&lab);
    lab.host.sysctl("net/ipv4/ip_forward", "0");
    planted.doctor().has_no("forwarding-off");
    planted.apply(&policy(LAN));
    let said = planted.doctor();
    said.has("forwarding-off");

    planted.doctor_after(&said.commands("forwarding-off").join("; ")).has_no("forwarding-off");
}

#[test]
fn a_target_that_is_this_machine_and_a_bridge_without_a_name_that_stays_are_found() {
    let lab = Lab::new();
    lab.forward();
    let planted = Planted::new(&lab);
    let web = |target: &str| policy(&format!("  web: {{ ports: 443/tcp, from: any, forward_to: {target} }}\n"));
    planted.apply(&web("10.77.0.1"));
    planted.doctor().has("target-unroutable");
    planted.apply(&web("10.77.0.2"));
    planted.doctor().has_no("target-unroutable");

    let db = |bridge: &str| policy(&format!("  db: {{ ports: 5432/tcp, from: {{ interface: {bridge} }} }}\n"));
    planted.apply(&db("br-0123456789ab"));
    planted.doctor().has("container-network-unstable");
    planted.apply(&db("br-app"));
    planted.doctor().has_no("container-network-unstable");
}

/// What libvirt loads for a network in mode `nat`, and in mode `open`.
const LIBVIRT_NAT: &str = "*filter
:LIBVIRT_FWI - [0:0]
-A FORWARD -j LIBVIRT_FWI
-A LIBVIRT_FWI -d 192.168.122.0/24 -o virbr0 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A LIBVIRT_FWI -o virbr0 -j REJECT --reject-with icmp-port-unreachable
COMMIT
";
const LIBVIRT_OPEN: &str = "*filter
:LIBVIRT_FWI - [0:0]
-A FORWARD -j LIBVIRT_FWI
-A LIBVIRT_FWI -d 192.168.122.0/24 -o virbr0 -j ACCEPT
COMMIT
";

/// There is no libvirt here: what `virsh net-start` does is to load these rules.
#[test]
fn what_libvirt_refuses_of_what_is_forwarded_passes_once_its_network_is_open() {
    let lab = Lab::new();
    lab.forward();
    lab.host.ip("link add virbr0 type bridge");
    lab.host.ip("address add 192.168.122.1/24 dev virbr0");
    lab.host.ip("link set virbr0 up");
    let planted = Planted::new(&lab);
    planted.apply(&policy("  vm: { ports: 443/tcp, from: any, forward_to: 192.168.122.10 }\n"));
    planted.doctor().has_no("libvirt-refuses");
    let load = |rules: &str| {
        let file = lab.write_policy("rules", rules);
        output(lab.host.command("iptables-restore").arg(&file)).success();
    };
    load(LIBVIRT_NAT);
    let said = planted.doctor();
    said.has("libvirt-refuses");
    let commands = said.commands("libvirt-refuses");
    let started = commands.iter().find(|one| one.contains("net-start")).expect("the network is started anew");
    assert_eq!(started, "virsh net-destroy NAME && virsh net-start NAME");

    load(LIBVIRT_OPEN);

    planted.doctor().has_no("libvirt-refuses");
}
