//! A ruleset that was kept is held against the machine before `rollback` loads it, as a policy is before `apply` does.
#![allow(missing_docs)]

mod support;

use std::net::SocketAddr;
use support::lab::{CLIENT, HOST, Lab};
use support::namespace::Output;
use support::probe::{Outcome, PATIENCE, Target};

const SSH: &str = "version: 1\nservices: { ssh: { ports: 22/tcp, from: any } }\n";

fn with(lab: &Lab, policy: &str, arguments: &[&str]) -> Output {
    lab.write_policy("policy.yaml", policy);
    lab.palisade("policy.yaml", arguments)
}

/// Loads one policy and then another, both whatever the machine says.
fn loaded(lab: &Lab, first: &str, then: &str) {
    with(lab, first, &["apply", "--force"]).success();
    with(lab, then, &["apply", "--force"]).success();
}

#[track_caller]
fn gets_in(lab: &Lab) {
    for (from, to) in CLIENT.into_iter().zip(HOST) {
        assert_eq!(lab.client.probe(Target::Tcp(22), from, to, PATIENCE), Outcome::Connected);
    }
}

fn refusal(message: &str) -> String {
    format!(
        "error: ruleset 1 does not fit this machine: nothing was changed, the present rules are in force\n\n{message}\n\n\
         To go back to it all the same: palisade rollback --to 1 --force\n"
    )
}

#[test]
fn a_ruleset_that_does_not_fit_the_machine_is_refused_and_loaded_where_that_is_forced() {
    let block = "`block` covers 203.0.113.9, a gateway of eth0 (203.0.113.9): all that it sends itself is dropped: answers to \
                 this machine, and errors that tell the size of packets";
    let bridge = "the policy does not name mybr0 (the bridge of a port that Docker publishes): its containers count as anybody with \
                  their addresses, so that `from: private` lets them in and `from: containers` does not, and what is forwarded for \
                  them is denied";
    let shut =
        "nobody could reach this machine by SSH: sshd listens on 22/tcp, and this ruleset lets nobody in there";
    let cases = [
        ("version: 1\nservices: { web: { ports: 80/tcp, from: any } }\n".to_owned(), SSH.to_owned(), shut),
        (format!("{SSH}block: 203.0.113.9\n"), SSH.to_owned(), block),
        (SSH.to_owned(), format!("{SSH}containers: {{ interfaces: [mybr0] }}\n"), bridge),
    ];
    for (first, then, message) in cases {
        let lab = Lab::new();
        let _sshd = lab.host.listen(&HOST.map(|address| SocketAddr::new(address, 22)), &[]);
        if message == bridge {
            lab.host.ip("link add mybr0 type bridge");
            lab.host.ip("address add 172.20.0.1/16 dev mybr0");
            lab.host.ip("link set mybr0 up");
            lab.host.nft_load(
                "table ip nat { chain DOCKER { type nat hook prerouting priority dstnat; iifname != \"mybr0\" tcp dport 8080 dnat to \
                 172.20.0.2:80; }; }",
            );
        }
        loaded(&lab, &first, &then);
        let before = lab.host.nft_list();

        let refused = lab.palisade("policy.yaml", &["rollback"]);

        assert_eq!((refused.status, refused.stderr), (Some(1), refusal(message)));
        assert_eq!(lab.host.nft_list(), before);
        gets_in(&lab);

        let forced = lab.palisade("policy.yaml", &["rollback", "--force"]);
        assert_eq!(forced.stderr, format!("warning: ruleset 1: {message}\n"));
        forced.success();
    }
}

#[test]
fn a_ruleset_that_fits_is_loaded_without_a_word_and_one_that_cuts_a_network_off_with_a_warning() {
    let lab = Lab::new();
    let _sshd = lab.host.listen(&HOST.map(|address| SocketAddr::new(address, 22)), &[]);
    let open = format!("{SSH}defaults: {{ forward: allow }}\n");
    loaded(&lab, SSH, &open);
    let back = lab.palisade("policy.yaml", &["rollback"]);
    assert_eq!((back.status, back.stderr.as_str()), (Some(0), ""));

    with(&lab, &format!("{open}# again\n"), &["apply"]).success();
    lab.forward();
    let back = lab.palisade("policy.yaml", &["rollback"]);
    let warning = "warning: ruleset 1: this machine forwards, and the policy cuts off what is behind eth1: `forward: deny` stops what \
                   comes from there, and what goes there\n";
    assert_eq!((back.status, back.stderr.as_str()), (Some(0), warning));
    gets_in(&lab);
}

#[test]
fn a_change_that_waits_is_undone_whatever_the_machine_says() {
    let lab = Lab::new();
    let shut = "version: 1\nservices: { web: { ports: 80/tcp, from: any } }\n";
    with(&lab, shut, &["apply"]).success();
    let _sshd = lab.host.listen(&HOST.map(|address| SocketAddr::new(address, 22)), &[]);
    with(&lab, SSH, &["apply", "--confirm", "10m"]).success();

    let undone = lab.palisade("policy.yaml", &["rollback"]);

    assert_eq!((undone.status, undone.stderr.as_str()), (Some(0), ""));
}
