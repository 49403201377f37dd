//! What `doctor` advises for the machine around a policy is run as it is printed: then the finding is gone, and whoever
//! got in before still does.
#![allow(missing_docs)]

mod support;

use std::fs;
use std::net::SocketAddr;
use std::process::{Child, Command};
use support::lab::{CLIENT, HOST, Lab};
use support::merged::with_line;
use support::namespace::output;
use support::planted::{POLICY, Planted};
use support::probe::{Outcome, PATIENCE, Target};
use support::recording::Recording;
use support::replay::Replay;

/// A unit, as a package installs it.
const UNIT: &str = "[Unit]\n[Service]\nExecStart=/usr/sbin/palisade boot\n[Install]\nWantedBy=sysinit.target\n";

/// Has libc's `sendto` ask the kernel for an expression that it does not have wherever it is asked for `reject`, unless
/// the file for the next boot names the module: the answers are those of a kernel before and after it is loaded.
const WITHOUT_REJECT: &str = r#"
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
static int loaded;
__attribute__((constructor)) static void look(void) {
    char text[4096] = "";
    FILE *file = fopen("/etc/modules-load.d/palisade.conf", "r");
    if (file) { text[fread(text, 1, sizeof text - 1, file)] = 0; fclose(file); }
    loaded = strstr(text, "\nnft_reject_inet\n") != NULL;
}
ssize_t sendto(int fd, const void *bytes, size_t len, int flags, const struct sockaddr *to, socklen_t to_len) {
    ssize_t (*real)(int, const void *, size_t, int, const struct sockaddr *, socklen_t) = dlsym(RTLD_NEXT, "sendto");
    char *begin = (char *)bytes, *end = begin + len, *at;
    while (!loaded && (at = memmem(begin, end - begin, "reject", 7))) memcpy(at, "rejekt", 6), begin = at + 7;
    return real(fd, bytes, len, flags, to, to_len);
}
"#;

/// Fails unless the client, which got in before, still does.
#[track_caller]
fn gets_in(lab: &Lab, after: &str) {
    let _echo = lab.host.listen(&HOST.map(|address| SocketAddr::new(address, 22)), &[]);
    reaches(lab, after);
}

/// The same of a host on which something listens at the port of SSH already.
#[track_caller]
fn reaches(lab: &Lab, after: &str) {
    for (from, to) in CLIENT.into_iter().zip(HOST) {
        assert_eq!(lab.client.probe(Target::Tcp(22), from, to, PATIENCE), Outcome::Connected, "{after}");
    }
}

fn iptables(lab: &Lab, program: &str, arguments: &str) {
    output(lab.host.command(program).args(arguments.split(' '))).success();
}

/// A program that runs in a lab's host under another name until it is dropped.
struct Running(Child);

impl Running {
    fn called(lab: &Lab, path: &std::path::Path) -> Self {
        fs::copy("/bin/sleep", path).expect("a program can be copied");
        Self(lab.host.command(&path.display().to_string()).arg("600").spawn().expect("it can be started"))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

#[test]
fn a_module_that_is_missing_is_loaded_as_advised() {
    let lab = Lab::new();
    let planted = Planted::new(&lab);
    planted.apply(&format!("{POLICY}defaults: {{ incoming: reject }}\n"));
    let folder = tempfile::tempdir().expect("a folder for a test");
    let (source, library) = (folder.path().join("without.c"), folder.path().join("without.so"));
    fs::write(&source, WITHOUT_REJECT).expect("scratch is writable");
    output(Command::new("cc").args(["-shared", "-fPIC", "-o"]).args([&library, &source]).arg("-ldl")).success();
    let preload = format!("LD_PRELOAD={}", library.display());
    let said = planted.doctor_in(&["env", &preload]);
    said.is_one("kernel-refuses", &["modprobe -a nf_tables "]);
    let commands = said.commands("kernel-refuses");

    // What was loaded by the file is there after the next boot.
    let after = planted.doctor_with("modprobe() { :; };", &commands[..2].join("; "), &["env", &preload]);

    after.is_healthy();
    gets_in(&lab, "modprobe");
}

#[test]
fn rules_of_iptables_legacy_are_seen_after_what_is_advised_and_a_reboot() {
    const AT_BOOT: &str = "iptables -A INPUT -p tcp --dport 25 -j DROP";
    let lab = Lab::new();
    let planted = Planted::new(&lab);
    let to_legacy =
        ["iptables", "ip6tables"].map(|name| format!("update-alternatives --set {name} /usr/sbin/{name}-legacy; "));
    let said = planted.doctor_after(&format!("{}{AT_BOOT}", to_legacy.concat()));
    said.is_one("legacy-iptables", &["the iptables-legacy table filter is loaded"]);
    let commands = said.commands("legacy-iptables");
    let set = commands.iter().find(|command| command.starts_with("update-alternatives ")).expect("the command");
    planted.doctor_after(set);

    let after = Lab::new();
    let planted = planted.started_anew(&after);

    let said = planted.doctor_after(AT_BOOT);
    said.has_no("legacy-iptables");
    // Now they show.
    said.has("other-firewall-drops");
    gets_in(&after, set);
}

#[test]
fn what_an_engine_leaves_open_is_closed_as_advised() {
    let replay = Replay::new(Recording::read("docker-20.10-iptables"));
    let planted = Planted::new(&replay.lab);
    planted.write("/run/systemd/system/.keep", "");
    planted.write("/usr/lib/systemd/system/palisade.service", UNIT);
    replay.lab.palisade("policy.yaml", &["disable", "--yes"]).success();
    let said = planted.doctor();
    said.are(&["not-loaded", "boot-unit-disabled", "direct-routing", "loopback-ports-leak"], &[]);
    for id in ["direct-routing", "loopback-ports-leak"] {
        assert_eq!(said.commands(id), ["palisade apply", "systemctl enable palisade"]);
    }

    let after = planted.doctor_after(&said.commands("direct-routing").join("; "));

    // While palisade is loaded they are open to nobody.
    after.are_notes(&["direct-routing", "loopback-ports-leak"]);
    reaches(&replay.lab, "palisade apply");

    // A policy that lets them pass, too.
    planted.apply(&with_line(POLICY, "defaults: { incoming: allow }"));
    let said = planted.doctor();
    said.has("direct-routing");
    let line = said.commands("direct-routing").remove(0);
    planted.apply(&with_line(&with_line(POLICY, "defaults: { incoming: allow }"), &line));
    planted.doctor_after("systemctl enable palisade").are_notes(&["direct-routing", "loopback-ports-leak"]);
    reaches(&replay.lab, &line);
}

#[test]
fn a_daemon_is_set_as_advised() {
    const FUNCTIONS: &str = "modprobe() { :; }; systemctl() { :; };";
    let cases = [
        ("docker-iptables-off", "{\n  \"iptables\" : false, \"userland-proxy\": true\n}\n"),
        ("bridge-netfilter-off", "{ \"userland-proxy\": false }\n"),
    ];
    for (id, configuration) in cases {
        let lab = Lab::new();
        let planted = Planted::new(&lab);
        planted.write("/etc/docker/daemon.json", configuration);
        let _dockerd = Running::called(&lab, &lab.policy("dockerd"));
        lab.host.sysctl("net/bridge/bridge-nf-call-iptables", "0");
        lab.forward();
        planted.apply(&format!("{POLICY}defaults: {{ forward: deny }}\n"));
        let said = planted.doctor();
        said.has(id);

        let after = planted.doctor_with(FUNCTIONS, &said.commands(id).join("; "), &[]);

        after.has_no(id);
        gets_in(&lab, id);
    }
}

#[test]
fn guests_on_the_wire_are_taken_away_or_ignored_as_advised() {
    let lab = Lab::new();
    let planted = Planted::new(&lab);
    lab.host.ip("link add vm0 link eth0 type macvtap");
    planted.write("/etc/containers/networks/wire.json", r#"{ "name": "wire", "driver": "macvlan" }"#);
    let said = planted.doctor();
    said.is_one("macvlan-network", &["Podman's network wire (macvlan) and the interface vm0 (macvtap)"]);
    let parts = said.commands("macvlan-network");

    planted.apply(&with_line(POLICY, &parts[0]));
    planted.doctor().is_healthy_but_ignoring(1);

    planted.apply(POLICY);
    let commands: Vec<&str> = parts[1..].iter().map(String::as_str).collect();
    assert_eq!(commands, ["podman network rm wire", "ip link delete vm0"]);
    let podman = "podman() { rm -f /etc/containers/networks/$3.json; };";
    planted.doctor_with(podman, &commands.join("; "), &[]).is_healthy();
    gets_in(&lab, "taken away");
}

#[test]
fn what_could_not_be_looked_at_is_looked_at_as_advised() {
    let lab = Lab::new();
    let planted = Planted::new(&lab);
    planted.write("/etc/containers/networks/podman.json", "{");
    planted
        .write("/usr/lib/systemd/system/nftables.service", &UNIT.replace("palisade boot", "nft -f /etc/none.conf"));
    planted.link(
        "/etc/systemd/system/sysinit.target.wants/nftables.service",
        "/usr/lib/systemd/system/nftables.service",
    );
    let said = planted.doctor();
    said.are(&["not-examined"; 2], &[]);
    let commands: Vec<String> = said.helps_of("not-examined").iter().flat_map(|help| quoted(help)).collect();
    assert_eq!(
        commands,
        [
            "systemctl disable nftables",
            "mv /etc/containers/networks/podman.json /etc/containers/networks/podman.json.away"
        ]
    );

    planted.doctor_after(&commands.join("; ")).is_healthy();
    gets_in(&lab, "looked at");

    // Not the right to make a namespace: it is run again with all rights.
    let before = ["setpriv", "--bounding-set=-sys_admin", "--inh-caps=-sys_admin"];
    let said = planted.doctor_in(&before);
    let last = said.helps_of("not-examined").last().map(|help| (*help).to_owned());
    assert_eq!(last.as_deref(), Some("run it with all rights, outside of a container: `sudo palisade doctor`"));
    planted.doctor_after(&commands.join("; ")).is_healthy();
}

fn quoted(help: &str) -> Vec<String> {
    help.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

#[test]
fn drops_of_iptables_are_taken_out_one_by_one_as_advised() {
    for (program, rules) in [
        ("ip6tables", &["-A INPUT -p tcp --dport 25 -j REJECT"][..]),
        ("iptables", &["-P FORWARD DROP"]),
        (
            "iptables",
            &[
                "-N mine",
                "-A INPUT -p tcp --dport 80 -j ACCEPT",
                "-A INPUT -p tcp --dport 25 -j DROP",
                "-A INPUT -j mine",
                "-A INPUT -p tcp --dport 26 -j DROP",
                "-A mine -p tcp --dport 27 -j DROP",
                "-A INPUT -p tcp --dport 81 -j ACCEPT",
            ],
        ),
    ] {
        let lab = Lab::new();
        let planted = Planted::new(&lab);
        for rule in rules {
            iptables(&lab, &format!("{program}-nft"), rule);
        }
        let said = planted.doctor();
        said.has("other-firewall-drops");
        let command = said.commands("other-firewall-drops").remove(0);
        // Once: by their places, the rules behind them would be taken out, too.
        for one in command.split(" && ") {
            let (tool, arguments) = one.split_once(' ').expect("a command");
            iptables(&lab, &format!("{tool}-nft"), arguments);
        }

        planted.doctor().is_healthy();
        let left = output(lab.host.command(&format!("{program}-nft-save")).args(["-t", "filter"])).success();
        assert!(!left.contains("DROP") && !left.contains("REJECT"), "{left}");
        for kept in rules.iter().filter(|rule| rule.ends_with("ACCEPT")) {
            assert!(left.contains(&kept.replace("-p tcp", "-p tcp -m tcp")), "{kept} in {left}");
        }
        gets_in(&lab, &command);
    }
}
