//! What `doctor` advises for a policy is written into it as it is printed: then the finding is gone, and whoever got in
//! before still does.
#![allow(missing_docs)]

mod support;

use std::fs;
use std::net::SocketAddr;
use support::lab::{CLIENT, HOST, LAN, Lab};
use support::merged::{with_line, without};
use support::planted::{POLICY, Planted, Said};
use support::probe::{Outcome, PATIENCE, SILENCE, Target};

/// Fails unless the client, which got in before, still does.
#[track_caller]
fn gets_in(lab: &Lab, after: &str) {
    let _echo = lab.host.listen(&HOST.map(|address| SocketAddr::new(address, 22)), &[]);
    reaches(lab, 22, after);
}

#[track_caller]
fn reaches(lab: &Lab, port: u16, after: &str) {
    for (from, to) in CLIENT.into_iter().zip(HOST) {
        assert_eq!(lab.client.probe(Target::Tcp(port), from, to, PATIENCE), Outcome::Connected, "{after}");
    }
}

/// The part of a remedy in backquotes that begins so.
#[track_caller]
fn advised(said: &Said, id: &str, begin: &str) -> String {
    let parts = said.commands(id);
    parts.into_iter().find(|part| part.starts_with(begin)).unwrap_or_else(|| panic!("no {begin}: {}", said.text()))
}

/// Loads a policy that is refused otherwise.
#[track_caller]
fn force(lab: &Lab, policy: &str) {
    lab.write_policy("policy.yaml", policy);
    lab.palisade("policy.yaml", &["apply", "--force"]).success();
}

#[test]
fn a_missing_policy_is_written_by_the_command_that_is_advised() {
    for port in [22, 2222] {
        let lab = Lab::new();
        let planted = Planted::new(&lab);
        let policy = POLICY.replace("22/tcp", &format!("{port}/tcp"));
        planted.apply(&policy);
        planted.write("/etc/ssh/sshd_config", &format!("Port {port}\n"));
        let _sshd = lab.host.listen(&HOST.map(|address| SocketAddr::new(address, port)), &[]);
        fs::remove_file(lab.policy("policy.yaml")).expect("it was written");
        let said = planted.doctor();
        said.has("policy-missing");

        let after = planted.doctor_after(&advised(&said, "policy-missing", "mkdir "));

        // The policy says what is loaded.
        after.is_healthy();
        reaches(&lab, port, "mkdir");
    }
}

#[test]
fn an_invalid_policy_is_mended_by_what_is_said_of_its_first_problem() {
    let lab = Lab::new();
    let planted = Planted::new(&lab);
    let cases = [
        ("22/tcp", "22", "22"),
        ("from: any", "from: everyone", "everyone"),
        ("ports: 22/tcp", "port: 22/tcp", "port"),
        ("version: 1", "version: 2", "2"),
    ];
    for (right, wrong, typed) in cases {
        let policy = POLICY.replace(right, wrong);
        lab.write_policy("policy.yaml", &policy);
        let said = planted.doctor();
        said.has("policy-invalid");
        let word = said.commands("policy-invalid").remove(0);
        let mended = if word.contains(": ") { word } else { wrong.replacen(typed, &word, 1) };
        lab.write_policy("policy.yaml", &policy.replace(wrong, &mended));
        planted.doctor().is_healthy();
        gets_in(&lab, &mended);
    }

    // Whom the author means is not known: no address is made up.
    lab.write_policy("policy.yaml", &POLICY.replace("from: any", "from: yesterday"));
    let said = planted.doctor();
    said.has("policy-invalid");
    assert!(!said.text().contains("192.0.2.") && !said.text().contains("groups: {"), "{}", said.text());
}

#[test]
fn what_is_warned_of_is_mended_as_advised() {
    let lab = Lab::new();
    let planted = Planted::new(&lab);
    let names = "names: { ports: 53/udp, from: host, to: any }";
    let cases: [(String, &str, &[&str]); 5] = [
        ("groups: { office: [203.0.113.64/26] }".to_owned(), "", &["groups", "office"]),
        ("services: { office: { ports: 22/tcp, from: 203.0.113.64/26 } }".to_owned(), "", &["services", "office"]),
        (
            format!(
                "{{ defaults: {{ outgoing: deny }}, outgoing: {{ {names}, b: {{ ports: 53/udp, from: host, to: 9.9.9.9 }} }} }}"
            ),
            "",
            &["outgoing", "b"],
        ),
        ("defaults: { outgoing: deny }".to_owned(), "defaults: ", &[]),
        (
            "{ defaults: { outgoing: deny }, outgoing: { web: { ports: 443/tcp, from: host, to: any } } }".to_owned(),
            "outgoing: ",
            &[],
        ),
    ];
    for (planting, line, removed) in cases {
        let policy = with_line(POLICY, &planting);
        planted.apply(&policy);
        let said = planted.doctor();
        said.has("policy-warning");
        let mended = match removed.last() {
            Some(name) => {
                let remove = format!("remove `{name}`");
                let of_group = said.text().contains(&format!("group `{name}`"));
                let remove = if of_group { "remove it, " } else { &remove };
                assert!(said.help("policy-warning").starts_with(remove), "{}", said.text());
                without(&policy, removed)
            }
            None => with_line(&policy, &advised(&said, "policy-warning", line)),
        };

        planted.apply(&mended);

        planted.doctor().is_healthy();
        gets_in(&lab, &planting);
    }
}

/// What is planted around a lab's host, the policy of the host, and how the remedy begins.
struct Misfit {
    plant: fn(&Lab),
    policy: &'static str,
    begin: &'static str,
}

const MISFITS: [Misfit; 4] = [
    Misfit {
        plant: |_| (),
        policy: "version: 1\nservices: { web: { ports: 80/tcp, from: any } }\n",
        begin: "services: ",
    },
    Misfit {
        plant: |_| (),
        policy: "version: 1\nservices: { ssh: { ports: 22/udp, from: any } }\n",
        begin: "services: ",
    },
    Misfit { plant: Lab::forward, policy: POLICY, begin: "forward: " },
    Misfit {
        plant: |lab| {
            lab.host.ip("link add mybr0 type bridge");
            lab.host.ip("address add 172.20.0.1/16 dev mybr0");
            lab.host.ip("link set mybr0 up");
            lab.host.nft_load(
                "table ip nat { chain DOCKER { type nat hook prerouting priority dstnat; iifname != \"mybr0\" tcp dport 8080 dnat to \
                 172.20.0.2:80; }; }",
            );
        },
        policy: POLICY,
        begin: "containers: ",
    },
];

#[test]
fn a_policy_that_does_not_fit_the_machine_is_mended_by_the_line_that_is_advised() {
    for Misfit { plant, policy, begin } in MISFITS {
        let lab = Lab::new();
        let planted = Planted::new(&lab);
        plant(&lab);
        let _sshd = lab.host.listen(&HOST.map(|address| SocketAddr::new(address, 22)), &[]);
        force(&lab, policy);
        let said = planted.doctor();
        said.has("not-this-machine");
        let line = advised(&said, "not-this-machine", begin);

        planted.apply(&with_line(policy, &line));

        planted.doctor().has_no("not-this-machine");
        reaches(&lab, 22, &line);
        if begin == "forward: " {
            let _echo = lab.client.listen(&CLIENT.map(|address| SocketAddr::new(address, 4242)), &[]);
            let _inner = lab.lan.listen(&LAN.map(|address| SocketAddr::new(address, 4242)), &[]);
            for family in [0, 1] {
                let (lan, client) = (LAN[family], CLIENT[family]);
                assert_eq!(lab.lan.probe(Target::Tcp(4242), lan, client, PATIENCE), Outcome::Connected);
                // Nothing is opened that is not meant.
                assert_eq!(lab.client.probe(Target::Tcp(4242), client, lan, SILENCE), Outcome::TimedOut);
            }
        }
    }
}

#[test]
fn what_the_machine_needs_is_taken_out_of_block_and_a_name_is_corrected_as_advised() {
    let lab = Lab::new();
    let planted = Planted::new(&lab);
    let policy = format!("{POLICY}block: [203.0.113.9, 198.51.100.0/24]\n");
    force(&lab, &policy);
    let said = planted.doctor();
    said.has("not-this-machine");
    assert!(said.help("not-this-machine").starts_with("take 203.0.113.9, "), "{}", said.text());
    planted.apply(&policy.replace("203.0.113.9, ", ""));
    planted.doctor().is_healthy();
    gets_in(&lab, "out of block");

    lab.host.ip("link property add dev eth0 altname enp9s0");
    for named in [
        "groups: { us: [{ interface: enp9s0 }] }\nblock: us",
        "defaults: { forward: deny }\nforward: { x: { ports: 80/tcp, from: 10.77.0.2, to: { interface: enp9s0 } } }",
        "nat: { x: { from: { interface: eth1 }, to: { interface: enp9s0 } } }",
        "defaults: { outgoing: deny }\noutgoing: { x: { ports: any, from: host, to: { interface: enp9s0 } } }",
    ] {
        let policy = format!("{POLICY}{named}\n");
        planted.apply(&policy);
        let said = planted.doctor();
        said.has("not-this-machine");
        let name = advised(&said, "not-this-machine", "eth");
        planted.apply(&policy.replace("enp9s0", &name));
        planted.doctor().has_no("not-this-machine");
    }
}
