//! Packets of no connection, which NAT would let out with the address of the LAN. Needs root.

mod support;

use std::collections::BTreeSet;
use support::attack::craft::{Speech, send, tcp};
use support::attack::who::{LAN, Place, TRUSTED};
use support::attack::{Case, Stage};
use support::frames::{ACK, FIN, RST, SYN};

/// A router's translation, which is of connections alone.
const MASQUERADE: &str = r#"
table inet other {
    chain postrouting { type nat hook postrouting priority srcnat; oifname "eth0" masquerade; }
}
"#;

fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for six in [false, true] {
        let of = if six { "IPv6" } else { "IPv4" };
        let (from, to) = ((LAN.address(six), 4000), (TRUSTED.address(six), 443));
        let begin = Speech::Tcp.first((from.0, 4001), to);
        let packets = [("reset", RST), ("end", FIN | ACK), ("answer", SYN | ACK)]
            .map(|(name, flags)| (name, tcp(flags, from, to)));
        cases.extend(
            packets
                .into_iter()
                .chain([("begin", begin)])
                .map(|(name, packet)| Case::new(format!("{name}, {of}"), Place::Outside, [send(LAN, packet)])),
        );
    }
    cases
}

fn arrivals(stage: &Stage, cases: &[Case]) -> BTreeSet<String> {
    stage.arrivals(cases).into_iter().map(str::to_owned).collect()
}

#[test]
fn what_belongs_to_no_connection_does_not_pass_where_rules_say_what_does() {
    let (stage, cases) = (Stage::new(), cases());
    stage.lab.host.nft_load(MASQUERADE);
    let all: BTreeSet<String> = cases.iter().map(|case| case.name.clone()).collect();
    assert_eq!(arrivals(&stage, &cases), all);

    let begins = BTreeSet::from(["begin, IPv4", "begin, IPv6"].map(str::to_owned));
    for forward in ["deny", "allow"] {
        let rule = if forward == "deny" { "internet: { ports: any" } else { "mail: { action: deny, ports: 25/tcp" };
        stage.apply(&format!(
            "version: 1
groups: {{ lan: {{ interface: eth1 }}, wan: {{ interface: eth0 }} }}
defaults: {{ forward: {forward} }}
forward: {{ {rule}, from: lan, to: wan }} }}
nat: {{ lan: {{ from: lan, to: wan }} }}
"
        ));
        assert_eq!(arrivals(&stage, &cases), begins, "{forward}");
    }
}
