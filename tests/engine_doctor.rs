//! `doctor` beside real engines: silent where one protects its containers, and what it says where one does not.
#![allow(missing_docs)]

mod support;

use support::engine::Engine;
use support::engine::setting::Setting;
use support::lab::Lab;
use support::namespace::output;
use support::planted::Said;
use support::program::palisade;

const POLICY: &str = "version: 1
services:
  ssh: { ports: 22/tcp, from: any }
  dashboard: { ports: 9000/tcp, from: 203.0.113.9 }
";

/// A lab with an engine that publishes a port to all and one to this machine alone, and palisade beside it.
struct Beside {
    // Before the lab: its namespaces hold the lab's.
    engine: Engine,
    lab: Lab,
}

impl Beside {
    fn new(setting: Setting) -> Self {
        let lab = Lab::new();
        let engine = Engine::start(&lab, setting);
        engine.run_container("same", "-p 9000:9000", "9000");
        engine.run_container("loopback", "-p 127.0.0.1:9200:9000", "9000");
        let beside = Self { engine, lab };
        // Whatever this machine is like: its firewalls and units are not the lab's.
        let folder = "rm -rf /etc/ufw /etc/systemd/system /etc/palisade && mkdir -p -m 755 /etc/palisade";
        beside.engine.shell(&format!("{folder} && cat >/etc/palisade/policy.yaml <<'END'\n{POLICY}END")).success();
        output(beside.engine.command(palisade()).arg("apply")).success();
        beside
    }

    #[track_caller]
    fn doctor(&self) -> Said {
        Said::by(|arguments| output(self.engine.command(palisade()).args(arguments)))
    }

    /// Fails unless `doctor` says that this engine protects neither its containers nor what is published to loopback: two
    /// notes while palisade is loaded, since it closes both, and two warnings once it is not.
    #[track_caller]
    fn protects_nothing_itself(&self, words: &[&str]) {
        let kinds = ["direct-routing", "loopback-ports-leak"];
        let said = self.doctor();
        said.are_notes(&kinds);
        words.iter().for_each(|word| assert!(said.text().contains(word), "no {word:?} in {}", said.text()));
        output(self.engine.command(palisade()).args(["disable", "--yes"])).success();
        self.doctor().are(&[&["not-loaded"][..], &kinds].concat(), words);
    }
}

/// What `palisade-check.service` leaves to root is enough: nothing is said to be not examined.
#[test]
fn beside_docker_28_5_with_the_capabilities_of_the_unit_alone() {
    let unit = include_str!("../packaging/palisade-check.service");
    let names = unit.lines().find_map(|line| line.strip_prefix("CapabilityBoundingSet=")).expect("the unit has it");
    let names = names.to_lowercase().replace("cap_", "+").replace(' ', ",");
    let beside = Beside::new(Setting::docker("sid", true));
    let rights = format!("--bounding-set=-all,{names}");

    let said = Said::by(|arguments| {
        let mut command = beside.engine.command("setpriv");
        output(command.args([rights.as_str(), "--no-new-privs", palisade()]).args(arguments))
    });

    said.is_healthy();
}

#[test]
fn beside_docker_28_5() {
    let beside = Beside::new(Setting::docker("sid", true));
    beside.doctor().is_healthy();

    beside.engine.docker("network create --driver macvlan --opt parent=eth0 wire");
    beside.doctor().is_one("macvlan-network", &["Docker's network wire (macvlan)"]);
    beside.engine.docker("network rm wire");

    beside.lab.host.sysctl("net/ipv4/ip_forward", "0");
    beside.doctor().is_one("forwarding-off", &["net.ipv4.ip_forward is 0, and Docker needs it"]);
    beside.lab.host.sysctl("net/ipv4/ip_forward", "1");

    beside.engine.shell("iptables -I DOCKER-USER -p tcp --dport 9000 -j DROP").success();
    beside.doctor().is_one("docker-user-rules", &["a rule of iptables"]);
    beside.engine.shell("iptables -F DOCKER-USER").success();

    // It has died, and its socket is left behind.
    beside.engine.shell("rm /run/docker.sock").success();
    beside.doctor().is_one("not-examined", &["the networks of Docker could not be examined", "/var/run/docker.sock"]);
}

#[test]
fn beside_docker_20_10() {
    let beside = Beside::new(Setting::docker("bookworm", true));
    let words = [
        "Docker 20.10.24 does not keep others away from the addresses of its containers (172.17.0.2:9000",
        "9200/tcp is published to 127.0.0.1 alone, and Docker 20.10.24 lets",
    ];
    beside.protects_nothing_itself(&words);
}

#[test]
fn beside_docker_20_10_with_the_older_iptables() {
    let beside = Beside::new(Setting::docker("bookworm", true).legacy());
    let words = ["iptables-legacy", "Docker 20.10.24 does not keep", "9200/tcp is published to 127.0.0.1 alone"];
    beside.doctor().are(&["legacy-iptables", "direct-routing", "loopback-ports-leak"], &words);
}

#[test]
fn beside_docker_that_may_not_load_rules() {
    let beside = Beside::new(Setting::docker("sid", true).without_rules());
    beside.doctor().is_one(
        "docker-iptables-off",
        &["`iptables: false` in dockerd's command line", "`systemctl restart docker`"],
    );
}

#[test]
fn beside_docker_whose_bridges_do_not_ask_iptables() {
    let mut beside = Beside::new(Setting::docker("sid", true));
    beside.lab.host.sysctl("net/bridge/bridge-nf-call-iptables", "0");
    beside.doctor().is_healthy();
    beside.engine.docker("network create --opt com.docker.network.bridge.enable_icc=false apart");
    beside.lab.host.sysctl("net/bridge/bridge-nf-call-iptables", "0");
    beside.doctor().is_one("bridge-netfilter-off", &["containers of apart, which may not talk to each other"]);
    beside.engine.docker("network rm apart");
    beside.engine.stop_daemon();
    beside.engine.setting.proxy = false;
    beside.engine.start_daemon(&[]);
    beside.lab.host.sysctl("net/bridge/bridge-nf-call-iptables", "0");
    beside.doctor().is_one("bridge-netfilter-off", &["without docker-proxy"]);
}

#[test]
fn beside_podman_4_3() {
    let beside = Beside::new(Setting::podman());
    let words =
        ["Podman does not keep others away", "10.88.0.2:9000 and 10.88.0.3:9000 are open", "9200/tcp is published"];
    beside.protects_nothing_itself(&words);
}

#[test]
fn beside_ufw_and_after_it_was_disabled() {
    let beside = Beside::new(Setting::docker("sid", true).with_ufw());
    beside.doctor().is_healthy();
    beside.engine.enable_ufw();
    let said = beside.doctor();
    said.is_one("ufw-active", &["ufw is active"]);
    let command = said.commands("ufw-active").remove(0);
    let arguments: Vec<&str> = command.strip_prefix("ufw ").expect("a command of ufw's").split(' ').collect();
    beside.engine.ufw(&arguments);
    beside.doctor().is_healthy();
}
