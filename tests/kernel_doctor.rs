//! `doctor` finds each problem that is planted for real, and nothing on a machine that has none.
#![allow(missing_docs)]

mod support;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use support::lab::{HOST, Lab};
use support::namespace::output;
use support::planted::{POLICY, Planted};
use support::program::palisade;
use support::recording::Recording;
use support::replay::Replay;

/// Has libc's `sendto` ask the kernel for an expression that it does not have wherever it is asked for `reject`: the answer
/// is that of a kernel without it.
const WITHOUT_REJECT: &str = r#"
#define _GNU_SOURCE
#include <dlfcn.h>
#include <string.h>
#include <sys/socket.h>
ssize_t sendto(int fd, const void *bytes, size_t len, int flags, const struct sockaddr *to, socklen_t to_len) {
    ssize_t (*real)(int, const void *, size_t, int, const struct sockaddr *, socklen_t) = dlsym(RTLD_NEXT, "sendto");
    char *begin = (char *)bytes, *end = begin + len, *at;
    while ((at = memmem(begin, end - begin, "reject", 7))) memcpy(at, "rejekt", 6), begin = at + 7;
    return real(fd, bytes, len, flags, to, to_len);
}
"#;

/// A unit, as a package installs it.
const UNIT: &str = "[Unit]\n[Service]\nExecStart=/usr/sbin/palisade boot\n[Install]\nWantedBy=sysinit.target\n";

fn iptables(lab: &Lab, program: &str, arguments: &str) {
    output(lab.host.command(program).args(arguments.split(' '))).success();
}

#[test]
fn a_healthy_machine() {
    let lab = Lab::new();
    Planted::new(&lab).doctor().is_healthy();
}

#[test]
fn a_healthy_machine_that_systemd_started_beside_what_stock_units_do() {
    let lab = Lab::new();
    let planted = Planted::new(&lab);
    planted.write("/run/systemd/system/.keep", "");
    planted.write("/etc/systemd/system/palisade.service", UNIT);
    planted.link("/etc/systemd/system/sysinit.target.wants/palisade.service", "../palisade.service");
    // Not enabled, and not installed any more.
    planted.write("/etc/nftables.conf", "flush ruleset\n");
    planted.write("/etc/ufw/ufw.conf", "ENABLED=no\n");
    planted.doctor().is_healthy();
}

#[test]
fn a_healthy_machine_with_the_rules_of_an_engine_that_protects_its_containers() {
    for recording in ["docker-28.5-iptables", "docker-29.7-iptables", "docker-29.7-nftables"] {
        let replay = Replay::new(Recording::read(recording));
        Planted::new(&replay.lab).doctor().is_healthy();
    }
}

#[test]
fn no_policy() {
    let lab = Lab::new();
    let planted = Planted::new(&lab);
    fs::remove_file(lab.policy("policy.yaml")).expect("it was written");
    planted.doctor().is_one("policy-missing", &["policy.yaml does not exist"]);
}

#[test]
fn a_policy_that_is_not_valid() {
    let lab = Lab::new();
    let planted = Planted::new(&lab);
    lab.write_policy("policy.yaml", "version: 1\nservices: { ssh: { ports: 22, from: anny } }\n");
    let words = ["the port `22` does not say of which protocol (", "policy.yaml:2), and another problem", " check`"];
    planted.doctor().is_one("policy-invalid", &words);
}

#[test]
fn a_policy_that_is_not_as_it_expects() {
    let lab = Lab::new();
    let planted = Planted::new(&lab);
    lab.write_policy("policy.yaml", &format!("{POLICY}expect: [{{ deny: 22/tcp, from: any }}]\n"));
    planted.doctor().is_one("policy-invalid", &["policy.yaml:3)"]);
}

#[test]
fn a_policy_that_others_can_write() {
    let lab = Lab::new();
    let planted = Planted::new(&lab);
    let path = lab.policy("policy.yaml");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o666)).expect("it was written");
    let chmod = format!("`chmod go-w {}`", path.display());
    planted.doctor().is_one("policy-writable", &["can be written by everyone", &chmod]);
}

#[test]
fn a_folder_above_the_policy_that_others_can_write() {
    let lab = Lab::new();
    let planted = Planted::new(&lab);
    let folder = lab.policy("");
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o775)).expect("it was made");
    planted
        .doctor()
        .is_one("policy-writable", &["the folder ", "/policies can be written by its group", "`chmod g-w "]);
}

#[test]
fn nothing_loaded() {
    let lab = Lab::new();
    let planted = Planted::new(&lab);
    lab.palisade("policy.yaml", &["disable", "--yes"]).success();
    planted.doctor().is_one("not-loaded", &["`palisade apply`"]);
}

#[test]
fn rules_that_somebody_changed() {
    let lab = Lab::new();
    let planted = Planted::new(&lab);
    lab.host.nft_load("insert rule inet palisade filter-input accept");
    planted.doctor().is_one("out-of-sync", &["in one place", "`palisade diff`"]);
}

#[test]
fn a_change_that_waits_for_confirmation() {
    let lab = Lab::new();
    let planted = Planted::new(&lab);
    lab.write_policy("policy.yaml", &POLICY.replace("22/tcp", "[22/tcp, 80/tcp]"));
    lab.palisade("policy.yaml", &["apply", "--confirm", "10m"]).success();
    planted.doctor().is_one("waits-for-confirmation", &["and is undone in ", "`palisade confirm`"]);
    lab.palisade("policy.yaml", &["rollback"]).success();
}

#[test]
fn a_boot_unit_that_is_not_there_not_enabled_or_masked() {
    let lab = Lab::new();
    let planted = Planted::new(&lab);
    planted.write("/run/systemd/system/.keep", "");
    planted.doctor().is_one("boot-unit-disabled", &["there is no palisade.service"]);
    planted.write("/usr/lib/systemd/system/palisade.service", UNIT);
    planted.doctor().is_one("boot-unit-disabled", &["is not enabled", "`systemctl enable palisade`"]);
    planted.link("/etc/systemd/system/palisade.service", "/dev/null");
    planted.doctor().is_one("boot-unit-disabled", &["is masked", "`systemctl unmask palisade && "]);
}

#[test]
fn a_kernel_without_an_expression_that_the_policy_needs() {
    let lab = Lab::new();
    let planted = Planted::new(&lab);
    planted.apply(&format!("{POLICY}defaults: {{ incoming: reject }}\n"));
    let folder = tempfile::tempdir().expect("a folder for a test");
    let (source, library) = (folder.path().join("without.c"), folder.path().join("without.so"));
    fs::write(&source, WITHOUT_REJECT).expect("scratch is writable");
    output(Command::new("cc").args(["-shared", "-fPIC", "-o"]).args([&library, &source]).arg("-ldl")).success();
    let preload = format!("LD_PRELOAD={}", library.display());
    let words = ["lacks something of nf_tables that the policy needs: the kernel refuses ", "(policy.yaml:3)"];
    planted.doctor_in(&["env", &preload]).is_one("kernel-refuses", &words);
}

#[test]
fn what_cannot_be_looked_at() {
    let lab = Lab::new();
    let planted = Planted::new(&lab);
    // Not the right to make a namespace, nor to read what is root's alone.
    let before = ["setpriv", "--bounding-set=-sys_admin", "--inh-caps=-sys_admin"];
    planted
        .doctor_in(&before)
        .is_one("not-examined", &["whether this kernel takes the policy's rules could not be examined: "]);
    lab.write_policy("policy.yaml", "version: 1\n");
    let none = output(lab.host.command("setpriv").args(["--bounding-set=-net_admin", palisade(), "doctor"]));
    assert_eq!(none.status, Some(1));
    assert!(none.stderr.contains("`palisade doctor` needs the capability CAP_NET_ADMIN"), "{}", none.stderr);
}

#[test]
fn ufw_that_is_active() {
    let lab = Lab::new();
    let planted = Planted::new(&lab);
    Recording::read("ufw-0.36").load(&lab.host);
    planted.doctor().is_one("ufw-active", &["ufw is active", "`ufw disable`"]);
}

#[test]
fn ufw_that_is_active_after_the_next_boot() {
    let lab = Lab::new();
    let planted = Planted::new(&lab);
    planted.write("/etc/ufw/ufw.conf", "ENABLED=yes\n");
    planted.write("/usr/sbin/ufw", "");
    planted.doctor().is_one("ufw-active", &["ufw is enabled, and loads rules at boot"]);
}

#[test]
fn firewalld_that_is_active_and_that_is_after_the_next_boot() {
    let lab = Lab::new();
    let planted = Planted::new(&lab);
    planted.write("/usr/lib/systemd/system/firewalld.service", UNIT);
    planted.doctor().is_healthy();
    planted.link(
        "/etc/systemd/system/multi-user.target.wants/firewalld.service",
        "/usr/lib/systemd/system/firewalld.service",
    );
    planted.doctor().is_one("firewalld-active", &["firewalld is enabled", "`systemctl disable --now firewalld`"]);
    lab.host.nft_load(
        "table inet firewalld {
            chain filter_INPUT { type filter hook input priority 10; policy accept; jump filter_INPUT_ZONES; }
            chain filter_INPUT_ZONES { reject with icmpx admin-prohibited; }
        }",
    );
    planted.doctor().is_one("firewalld-active", &["firewalld is active"]);
}

#[test]
fn another_table_that_drops() {
    let lab = Lab::new();
    let planted = Planted::new(&lab);
    // Neither hook is spoken of, and what is dormant does nothing.
    lab.host.nft_load(
        "table inet quiet { chain out { type filter hook output priority 0; policy drop; accept; }; chain unused { drop; }; }
         table ip asleep { flags dormant; chain in { type filter hook input priority 0; policy drop; }; }",
    );
    planted.doctor().is_healthy();
    lab.host.nft_load(
        "table ip mine {
            chain in { type filter hook input priority 0; policy drop; }
            chain pass { type filter hook forward priority 0; tcp dport vmap { 80 : jump more }; }
            chain more { ip saddr 192.0.2.1 drop; }
        }",
    );
    let words = [
        "table ip mine drops in forward by a rule (chain pass) and in input by its policy (chain in)",
        "`nft delete table ip mine`",
    ];
    planted.doctor().is_one("other-firewall-drops", &words);
    lab.host.nft_load("delete table ip mine");
    iptables(&lab, "ip6tables-nft", "-A INPUT -p tcp --dport 25 -j REJECT");
    let words = ["ip6tables (table ip6 filter) drops in input by a rule (chain INPUT)", "`ip6tables -S`"];
    planted.doctor().is_one("other-firewall-drops", &words);
}

#[test]
fn a_service_that_flushes_the_rules_of_everyone_at_boot() {
    let lab = Lab::new();
    let planted = Planted::new(&lab);
    let unit = UNIT.replace("palisade boot", "nft -f /etc/nftables.conf");
    planted.write("/usr/lib/systemd/system/nftables.service", &unit);
    planted.link(
        "/etc/systemd/system/sysinit.target.wants/nftables.service",
        "/usr/lib/systemd/system/nftables.service",
    );
    planted.write("/etc/nftables.conf", "#!/usr/sbin/nft -f\n# flush ruleset\ninclude \"/etc/nftables.d/*.nft\"\n");
    planted.write("/etc/nftables.d/10-begin.nft", "flush table inet mine\n");
    planted.doctor().is_healthy();
    planted.write("/etc/nftables.d/20-all.nft", "\nflush ruleset\n");
    planted.doctor().is_one(
        "nftables-service-flushes",
        &[
            "/etc/nftables.d/20-all.nft:2 flushes",
            "palisade's rules and those of container engines are gone",
            "`systemctl disable nftables`",
        ],
    );
    planted.write(
        "/usr/lib/systemd/system/nftables.service.d/palisade.conf",
        include_str!("../packaging/nftables.service.d/palisade.conf"),
    );
    planted.doctor().is_one(
        "nftables-service-flushes",
        &["/etc/nftables.d/20-all.nft:2 flushes", "gone until its drop-in has loaded them again"],
    );
}

#[test]
fn a_file_of_a_service_that_cannot_be_read() {
    let lab = Lab::new();
    let planted = Planted::new(&lab);
    planted
        .write("/usr/lib/systemd/system/nftables.service", &UNIT.replace("palisade boot", "nft -f /etc/none.conf"));
    planted.link(
        "/etc/systemd/system/sysinit.target.wants/nftables.service",
        "/usr/lib/systemd/system/nftables.service",
    );
    planted.doctor().is_one("not-examined", &["what nftables.service loads at boot", "/etc/none.conf can't be read"]);
}

#[test]
fn rules_of_the_older_iptables() {
    let lab = Lab::new();
    let planted = Planted::new(&lab);
    iptables(&lab, "iptables-legacy", "-A INPUT -p tcp --dport 25 -j DROP");
    iptables(&lab, "iptables-legacy", "-t nat -A POSTROUTING -j MASQUERADE");
    planted.doctor().is_one(
        "legacy-iptables",
        &["the iptables-legacy tables filter and nat are loaded", "`iptables-legacy-save`"],
    );
}

#[test]
fn rules_left_in_dockers_chain_for_users() {
    let replay = Replay::new(Recording::read("docker-28.5-iptables"));
    let lab = &replay.lab;
    let planted = Planted::new(lab);
    iptables(lab, "iptables-nft", "-A DOCKER-USER -j RETURN");
    planted.doctor().is_healthy();
    iptables(lab, "iptables-nft", "-I DOCKER-USER -i eth0 -s 192.0.2.0/24 -j DROP");
    let words = [
        "a rule of iptables in the chain DOCKER-USER",
        "`iptables -F DOCKER-USER && iptables -A DOCKER-USER -j RETURN`",
    ];
    planted.doctor().is_one("docker-user-rules", &words);
}

#[test]
fn networks_that_the_host_never_sees() {
    let lab = Lab::new();
    let planted = Planted::new(&lab);
    planted.write("/etc/containers/networks/podman.json", r#"{ "name": "podman", "driver": "bridge" }"#);
    planted.doctor().is_healthy();
    planted.write("/etc/containers/networks/wire.json", r#"{ "name": "wire", "driver": "macvlan" }"#);
    planted.write(
        "/etc/cni/net.d/10-pods.conflist",
        r#"{ "name": "pods", "plugins": [{ "type": "ipvlan" }, { "type": "portmap" }] }"#,
    );
    planted.doctor().is_one("macvlan-network", &["Podman's network wire (macvlan) and CNI's network pods (ipvlan)"]);
}

#[test]
fn a_file_of_an_engine_that_makes_no_sense() {
    let lab = Lab::new();
    let planted = Planted::new(&lab);
    planted.write("/etc/containers/networks/podman.json", "{");
    planted.doctor().is_one("not-examined", &["the networks of Podman", "podman.json is not JSON"]);
}

#[test]
fn an_engine_on_a_machine_that_does_not_forward() {
    let replay = Replay::new(Recording::read("docker-28.5-iptables"));
    let planted = Planted::new(&replay.lab);
    replay.lab.host.sysctl("net/ipv4/ip_forward", "0");
    planted.doctor().is_one(
        "forwarding-off",
        &["net.ipv4.ip_forward is 0, and Docker needs it", "`sysctl -w net.ipv4.ip_forward=1`"],
    );
    replay.lab.host.sysctl("net/ipv6/conf/all/forwarding", "0");
    replay.lab.host.sysctl("net/ipv4/ip_forward", "1");
    planted.doctor().is_one("forwarding-off", &["net.ipv6.conf.all.forwarding is 0, and Docker needs it"]);
}

#[test]
fn an_engine_that_protects_neither_its_containers_nor_what_is_published_to_loopback() {
    for recording in ["docker-20.10-iptables", "docker-26.1-iptables"] {
        let replay = Replay::new(Recording::read(recording));
        let planted = Planted::new(&replay.lab);
        let words = ["172.17.0.2:9000, 172.17.0.", " more are open)", "9200/tcp is published to 127.0.0.1 alone"];
        let said = planted.doctor();
        // Palisade closes both.
        said.are_notes(&["direct-routing", "loopback-ports-leak"]);
        words.iter().for_each(|word| assert!(said.text().contains(word), "no {word:?} in {}", said.text()));
        replay.lab.palisade("policy.yaml", &["disable", "--yes"]).success();
        planted.doctor().are(&["not-loaded", "direct-routing", "loopback-ports-leak"], &words);
    }
}

#[test]
fn an_interface_of_guests_that_the_policy_does_not_name() {
    let lab = Lab::new();
    let planted = Planted::new(&lab);
    lab.host.ip("tuntap add dev tun0 mode tun");
    lab.host.ip("address add 10.8.0.1/24 dev tun0");
    lab.host.ip("link set tun0 up");
    lab.host.ip("link add cbr0 type bridge");
    lab.host.ip("link set cbr0 up");
    planted.doctor().is_healthy();
    lab.forward();
    // The lab's own local network is cut off, too, and named beside the guests.
    let both = ["not-this-machine", "guests-not-named"];
    let words = ["what is behind eth1:", "does not name tun0,", "no line lets through what comes from tun0 alone"];
    planted.doctor().are(&both, &words);
    lab.host.ip("address add 10.42.0.1/24 dev cbr0");
    planted.doctor().are(&both, &["what is behind eth1:", "does not name cbr0 and tun0,"]);
    for naming in [
        "defaults: { forward: allow }",
        "defaults: { forward: deny }\ncontainers: { interfaces: [docker0, cbr0, \"tun*\"] }",
        "defaults: { forward: deny }\ngroups: { vpn: [{ interface: tun0 }, { interface: cbr0 }] }\nblock: vpn",
    ] {
        planted.apply(&format!("{POLICY}{naming}\n"));
        planted.doctor().is_healthy();
    }
}

#[test]
fn a_network_behind_a_card_that_is_cut_off_and_a_name_that_carries_nothing() {
    let lab = Lab::new();
    let planted = Planted::new(&lab);
    lab.forward();
    planted
        .doctor()
        .is_one("not-this-machine", &["the policy cuts off what is behind eth1", "`defaults: { forward: allow }`"]);
    planted.apply(&format!("{POLICY}defaults: {{ forward: allow }}\n"));
    planted.doctor().is_healthy();
    lab.host.ip("link property add dev eth0 altname enp9s0");
    planted.apply(&format!(
        "{POLICY}defaults: {{ forward: allow }}\ngroups: {{ us: [{{ interface: enp9s0 }}] }}\nblock: us\n"
    ));
    planted.doctor().is_one("not-this-machine", &["group us names `enp9s0`", "another name of eth0", "write `eth0`"]);
}

#[test]
fn guests_of_a_bridge_whose_frames_are_forwarded_packets() {
    let lab = Lab::new();
    let planted = Planted::new(&lab);
    lab.host.ip("link add lan type bridge");
    for guest in ["one", "two"] {
        lab.host.ip(&format!("link add {guest} type veth peer name far-{guest}"));
        lab.host.ip(&format!("link set {guest} master lan"));
    }
    lab.host.sysctl("net/bridge/bridge-nf-call-iptables", "0");
    planted.doctor().is_healthy();
    lab.host.sysctl("net/bridge/bridge-nf-call-iptables", "1");
    planted.doctor().is_one("guests-not-named", &["does not name lan,"]);
}

#[test]
fn a_way_out_that_counts_as_containers() {
    let lab = Lab::new();
    let planted = Planted::new(&lab);
    lab.host.ip("link add br-ex type bridge");
    lab.host.ip("link set br-ex up");
    lab.host.ip("link set eth0 master br-ex");
    lab.host.ip("address flush dev eth0");
    lab.host.ip(&format!("address add {}/24 dev br-ex", HOST[0]));
    lab.host.ip("link add docker0 type bridge");
    lab.host.ip("route add default via 203.0.113.9 dev br-ex");
    let words = [
        "br-ex is this machine's way to the outside",
        "`containers: { interfaces: [\"cni-podman*\", cni0, docker0, ",
    ];
    planted.doctor().is_one("way-out-is-containers", &words);
}
