//! Nobody is locked out: a real sshd, a real session, and policies that would cut it.

mod support;

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::time::Duration;
use support::lab::{CLIENT, HOST, HOST_ON_LAN, LAN};
use support::machine::wait_until;
use support::namespace::{Namespace, of_default_policy, output};
use support::probe::{PATIENCE, SILENCE, talks};
use support::program::palisade;
use support::recording::Recording;
use support::sshd::{Session, Sshd};

/// Somebody may log in, for nothing else is ever applied, but nobody of the lab.
const WITHOUT_SSH: &str = "version: 1
services:
  web: { ports: 80/tcp, from: any }
  admin: { ports: [22/tcp, 2222/tcp], from: 192.0.2.1 }
";

/// What is said of the client's own session under [`WITHOUT_SSH`].
fn refusal(session: &str, from: &str) -> String {
    format!(
        "error: this policy would lock you out: nothing was changed, the old rules are in force

{session} could not connect again.
Denied by: what else comes in is denied (policy.yaml, by default)
To let it in, add to `services` in the policy:

    ssh: {{ ports: 22/tcp, from: {from} }}

To load it all the same: palisade apply --force
"
    )
}

#[test]
fn a_policy_that_would_cut_the_session_it_is_applied_from_is_refused() {
    let served = Sshd::new(22);
    let lab = &served.lab;
    lab.write_policy("policy.yaml", WITHOUT_SSH);
    let cases = [
        (&lab.client, HOST[0], "", "your SSH session from 203.0.113.9 to port 22 by eth0", "203.0.113.9"),
        (&lab.client, HOST[1], "", "your SSH session from 2001:db8::9 to port 22 by eth0", "\"2001:db8::9\""),
        (&lab.lan, HOST_ON_LAN[0], "env -i", "your SSH session from 10.77.0.2 to port 22 by eth1", "10.77.0.2"),
        (&lab.client, HOST[0], "exec env -i", "your SSH session from 203.0.113.9 to port 22 by eth0", "203.0.113.9"),
    ];

    for (inside, to, wrapped, session, from) in cases {
        let refused = served.palisade_over_ssh(inside, to, wrapped, &["apply"]);

        assert_eq!((refused.status, refused.stderr), (Some(1), refusal(session, from)));
        assert_eq!(lab.host.nft_list(), "");
    }
}

#[test]
fn with_the_line_that_the_refusal_names_the_policy_is_applied_and_the_session_goes_on() {
    let served = Sshd::new(22);
    let lab = &served.lab;
    for (index, to) in HOST.into_iter().enumerate() {
        lab.write_policy("policy.yaml", WITHOUT_SSH);
        let refused = served.palisade_over_ssh(&lab.client, to, "", &["apply"]);
        let line = refused.stderr.lines().find(|line| line.starts_with("    ssh"));
        let line = line.unwrap_or_else(|| panic!("no line to add: {refused:?}")).trim();
        lab.write_policy("policy.yaml", &format!("{WITHOUT_SSH}  {line}\n"));

        let applied = served.palisade_over_ssh(&lab.client, to, "", &["apply"]).success();

        assert!(applied.starts_with("applied: "), "{applied}");
        let again = output(served.ssh(&lab.client, to, 22).arg("echo in")).success();
        assert_eq!(again, "in\n");
        lab.palisade("policy.yaml", &["disable", "--yes"]).success();
        assert_eq!(CLIENT[index].is_ipv6(), to.is_ipv6());
    }
}

/// What is said of a session of root's that palisade is not run from, under [`WITHOUT_SSH`].
fn warning(from: IpAddr, port: u16) -> String {
    format!(
        " WARN the SSH session of root from {from} to port {port} by eth1 could not connect again: what else comes in is \
         denied (policy.yaml, by default)\n"
    )
}

#[test]
fn a_session_that_palisade_is_not_run_from_is_named_with_its_user_and_holds_nothing_up() {
    let served = Sshd::new(2222);
    let lab = &served.lab;
    lab.write_policy("policy.yaml", WITHOUT_SSH);
    let _session = Session::open(served.ssh(&lab.lan, HOST_ON_LAN[1], 2222), "cat");

    let planned = lab.palisade("policy.yaml", &["apply", "--dry-run", "--nft"]);
    assert_eq!(planned.stderr, warning(LAN[1], 2222));
    assert!(planned.success().contains("add chain inet palisade filter-input"));
    assert_eq!(lab.host.nft_list(), "");

    let applied = lab.palisade("policy.yaml", &["apply"]);
    assert_eq!(applied.stderr, warning(LAN[1], 2222));
    assert!(applied.success().starts_with("applied: "));
}

#[test]
fn without_the_right_to_look_into_other_processes_each_connection_to_sshd_may_be_a_session() {
    let served = Sshd::new(22);
    let lab = &served.lab;
    let policy = lab.write_policy("policy.yaml", WITHOUT_SSH);
    let _session = Session::open(served.ssh(&lab.lan, HOST_ON_LAN[1], 22), "cat");

    // The rights that systemd leaves to palisade's unit.
    let mut reload = lab.in_its_own_state("setpriv");
    reload.args(["--bounding-set=-all,+net_admin", "--no-new-privs", palisade(), "--policy"]);
    let applied = output(reload.arg(policy).arg("apply"));

    assert_eq!(
        applied.stderr,
        warning(LAN[1], 22).replace("the SSH session of root", "an SSH connection, perhaps a session,")
    );
    assert!(applied.success().starts_with("applied: "));
}

#[test]
fn in_tmux_that_was_begun_over_a_connection_which_has_ended_the_session_of_the_same_user_is_the_own_one() {
    let served = Sshd::new(22);
    let lab = &served.lab;
    lab.write_policy("policy.yaml", WITHOUT_SSH);
    let _session = Session::open(served.ssh(&lab.client, HOST[0], 22), "cat");
    // A process that has lost its parents, and has of its first connection what is in its environment.
    let in_tmux = |user: &[&str]| {
        let mut command = lab.in_its_own_state("setpriv");
        command.args(user).args([
            "setsid",
            "--wait",
            "env",
            "SSH_CONNECTION=198.51.100.1 7 203.0.113.1 22",
            "sh",
            "-p",
            "-c",
        ]);
        command.arg("env -u SSH_CONNECTION \"$@\"; exit $?").arg("sh");
        output(command.arg(palisade()).arg("--policy").arg(lab.policy("policy.yaml")).arg("apply"))
    };

    let refused = in_tmux(&["--reuid=0"]);
    let session = "your SSH session from 203.0.113.9 to port 22 by eth0";
    assert_eq!((refused.status, refused.stderr), (Some(1), refusal(session, "203.0.113.9")));

    let of_another = in_tmux(&["--ruid=4242"]);
    assert!(of_another.stderr.starts_with(" WARN the SSH session of root from 203.0.113.9 to port 22"));
    assert!(of_another.success().starts_with("applied: "));
}

#[test]
fn a_session_that_has_ended_and_one_of_this_machine_with_itself_hold_nothing_up() {
    let served = Sshd::new(22);
    let lab = &served.lab;
    lab.write_policy("policy.yaml", WITHOUT_SSH);

    for to in [HOST[0], HOST[1], HOST_ON_LAN[0], [127, 0, 0, 1].into()] {
        let itself = served.palisade_over_ssh(&lab.host, to, "", &["apply"]).success();
        assert!(itself.starts_with("applied: "), "{itself}");
        lab.palisade("policy.yaml", &["disable", "--yes"]).success();
    }

    let stale = format!("SSH_CONNECTION={} 51234 {} 22", CLIENT[0], HOST[0]);
    let mut command = lab.in_its_own_state("env");
    command.arg(stale).arg(palisade()).arg("--policy").arg(lab.policy("policy.yaml"));
    assert!(output(command.arg("apply")).success().starts_with("applied: "));
}

#[test]
fn what_a_session_forwards_is_no_session() {
    let served = Sshd::new(22);
    let lab = &served.lab;
    lab.write_policy("policy.yaml", &format!("{WITHOUT_SSH}  ssh: {{ ports: 22/tcp, from: 203.0.113.9 }}\n"));
    let _echo = lab.lan.listen(&[SocketAddr::new(LAN[0], 4242)], &[]);
    // sshd connects to one machine for the client, and listens for another.
    let mut ssh = served.ssh(&lab.client, HOST[0], 22);
    let loopback: IpAddr = [127, 0, 0, 1].into();
    ssh.args(["-L", "4000:10.77.0.2:4242", "-R", "0.0.0.0:4001:127.0.0.1:4000"]);
    let mut session = Session::open(ssh, &format!("read line; {}", served.palisade(&["apply"])));
    let mut onward =
        lab.client.connect(loopback, SocketAddr::new(loopback, 4000), PATIENCE).expect("it is forwarded");
    let back = lab.lan.connect(LAN[0], SocketAddr::new(HOST_ON_LAN[0], 4001), PATIENCE).expect("it is forwarded");

    let applied = session.says("go on\n");

    assert!(applied.starts_with("applied: "), "{applied}");
    assert!(talks(&mut onward, PATIENCE));
    drop(back);
}

/// What is said when going back to the ruleset of [`WITHOUT_SSH`], the first, would cut the session of who does so.
const REFUSAL_TO_GO_BACK: &str = "\
error: ruleset 1 would lock you out: nothing was changed, the present rules are in force

your SSH session from 10.77.0.2 to port 22 by eth1 could not connect again.
Denied by: what else comes in is denied (policy.yaml, by default)

To go back to it all the same: palisade rollback --to 1 --force";

#[test]
fn an_older_ruleset_that_would_cut_the_session_is_not_gone_back_to_unless_it_is_forced() {
    let served = Sshd::new(22);
    let lab = &served.lab;
    for more in ["", "  ssh: { ports: 22/tcp, from: any }\n"] {
        lab.write_policy("policy.yaml", &format!("{WITHOUT_SSH}{more}"));
        lab.palisade("policy.yaml", &["apply"]).success();
    }
    let open = lab.host.nft_list();
    let mut session = shell(&served, &lab.lan, HOST_ON_LAN[0], 22);

    for arguments in [&["rollback"][..], &["rollback", "--to", "1"]] {
        assert_eq!(says(&mut session, &served, arguments), REFUSAL_TO_GO_BACK);
        assert_eq!(lab.host.nft_list(), open);
    }
    lab.palisade("policy.yaml", &["rollback", "--to", "2"]).success();

    let own = warning(LAN[0], 22).replace("the SSH session of root", "your SSH session");
    // What it says does not come back over a connection that is cut.
    let said = served.path("said");
    session.types(&format!("{} >{} 2>&1\n", served.palisade(&["rollback", "--force"]), said.display()));
    let read = || fs::read_to_string(&said).unwrap_or_default();
    wait_until(|| read().contains("rolled back"));
    let forced = read();
    let rolled_back = forced.strip_prefix(&own).unwrap_or_else(|| panic!("{forced}"));
    assert!(rolled_back.starts_with("rolled back to ruleset 1, loaded first at "), "{forced}");
    assert!(!lab.host.nft_list().contains("service-ssh"));
}

#[test]
fn an_older_ruleset_that_would_cut_a_session_of_another_is_gone_back_to_and_the_user_is_named() {
    let served = Sshd::new(22);
    let lab = &served.lab;
    for more in ["", "  ssh: { ports: 22/tcp, from: any }\n"] {
        lab.write_policy("policy.yaml", &format!("{WITHOUT_SSH}{more}"));
        lab.palisade("policy.yaml", &["apply"]).success();
    }
    let _session = Session::open(served.ssh(&lab.lan, HOST_ON_LAN[0], 22), "cat");

    let done = lab.palisade("policy.yaml", &["rollback"]);

    assert_eq!(done.stderr, warning(LAN[0], 22));
    assert!(done.success().starts_with("rolled back to ruleset 1, loaded first at "));
}

#[test]
fn what_waits_for_confirmation_is_undone_whatever_becomes_of_a_session() {
    let served = Sshd::new(22);
    let lab = &served.lab;
    lab.write_policy("policy.yaml", WITHOUT_SSH);
    lab.palisade("policy.yaml", &["apply"]).success();
    lab.write_policy("policy.yaml", &format!("{WITHOUT_SSH}  ssh: {{ ports: 22/tcp, from: any }}\n"));
    lab.palisade("policy.yaml", &["apply", "--confirm", "1h"]).success();
    let open = lab.host.nft_list();
    let mut session = shell(&served, &lab.lan, HOST_ON_LAN[0], 22);

    // Refused as a whole: the change waits on.
    assert_eq!(says(&mut session, &served, &["rollback", "--to", "1"]), REFUSAL_TO_GO_BACK);
    assert_eq!(lab.host.nft_list(), open);

    let undone = lab.palisade("policy.yaml", &["rollback"]);
    assert_eq!(undone.stderr, "");
    assert!(undone.success().starts_with("undone: "));
    assert!(!lab.host.nft_list().contains("service-ssh"));
}

const WITH_SSH: &str = "version: 1
services:
  ssh: { ports: 22/tcp, from: any }
";

/// A session that runs what it is told, each on a line of its own.
fn shell(served: &Sshd, inside: &Namespace, to: IpAddr, port: u16) -> Session {
    let each = "while read -r line; do eval \"$line\" 2>&1 | tr '\\n' '|'; echo; done";
    Session::open(served.ssh(inside, to, port), each)
}

/// Has the host track connections, as one does that has rules.
fn track(served: &Sshd) {
    let chain = |hook| format!("chain {hook} {{ type filter hook {hook} priority 0; ct state new accept; }};");
    served.lab.host.nft_load(&format!("table inet tracks {{ {} {} }}\n", chain("input"), chain("output")));
}

/// What palisade says in a session.
fn says(session: &mut Session, served: &Sshd, arguments: &[&str]) -> String {
    let said = session.says(&format!("{}\n", served.palisade(arguments)));
    of_default_policy(&said.replace('|', "\n")).trim_end().to_owned()
}

/// What is said where another program's rules, not the policy, would not let the client in again.
fn refusal_by(denied_by: &str, remedy: &str) -> String {
    format!(
        "error: you could not connect again, whatever the policy says: nothing was changed, the old rules are in force

your SSH session from 203.0.113.9 to port 22 by eth0 could not connect again.
Denied by: {denied_by}
No line of the policy would let it in: {remedy}.

To load it all the same: palisade apply --force"
    )
}

#[test]
fn who_is_served_on_a_machine_with_ufw_that_would_not_let_them_in_again_is_told_and_force_overrides() {
    let served = Sshd::new(22);
    let lab = &served.lab;
    lab.write_policy("policy.yaml", WITH_SSH);
    track(&served);
    let mut session = shell(&served, &lab.client, HOST[0], 22);
    Recording::read("ufw-0.36").without(&["--dport 22 "]).load(&lab.host);
    let ufw = lab.host.nft_list();

    let refused = says(&mut session, &served, &["apply"]);
    let by = "dropped by ufw's chain INPUT of table ip filter, not by palisade: `policy drop`";
    let remedy =
        "`ufw disable` switches it off, which palisade takes the place of; `ufw allow 22/tcp` lets the session in";
    assert_eq!(refused, refusal_by(by, remedy));
    assert_eq!(lab.host.nft_list(), ufw);

    let warning = format!(" WARN your SSH session from 203.0.113.9 to port 22 by eth0 could not connect again: {by}");
    let planned = says(&mut session, &served, &["apply", "--dry-run", "--nft"]);
    let refusal = format!("\n`palisade apply` would refuse this:\n{}", refusal_by(by, remedy));
    assert!(planned.contains(&warning) && planned.contains("add chain inet palisade"), "{planned}");
    assert!(planned.ends_with(&refusal), "{planned}");
    assert!(planned.contains("\nyour SSH session from 203.0.113.9 to port 22 by eth0 could not connect again\n"));
    assert_eq!(lab.host.nft_list(), ufw);

    let forced = says(&mut session, &served, &["apply", "--force"]);
    assert!(forced.contains(&warning) && forced.contains("\napplied: "), "{forced}");
    assert!(lab.host.nft_list().contains("table inet palisade"));
}

#[test]
fn what_another_table_drops_counts_for_the_own_session_and_is_only_said_of_others() {
    let served = Sshd::new(22);
    let lab = &served.lab;
    lab.write_policy("policy.yaml", WITH_SSH);
    track(&served);
    let mut session = shell(&served, &lab.client, HOST[0], 22);
    let _neighbour = Session::open(served.ssh(&lab.lan, HOST_ON_LAN[0], 22), "cat");
    let banned: Vec<String> = (1..2_000).map(|number| format!("198.51.{}.{}", number / 200, number % 200)).collect();
    lab.host.nft_load(&format!(
        "table inet filter {{
            set banned {{ type ipv4_addr; elements = {{ {}, 10.77.0.2 }}; }}
            chain input {{
                type filter hook input priority 0; policy accept;
                ct state established,related accept
                ip saddr @banned drop
            }}
        }}",
        banned.join(", ")
    ));

    let applied = says(&mut session, &served, &["apply"]);
    let by = "dropped by chain input of table inet filter, not by palisade: `ip saddr @banned drop`";
    let of_other =
        format!(" WARN the SSH session of root from 10.77.0.2 to port 22 by eth1 could not connect again: {by}\n");
    assert!(applied.starts_with(&of_other) && applied[of_other.len()..].starts_with("applied: "), "{applied}");

    lab.palisade("policy.yaml", &["disable", "--yes"]).success();
    lab.host
        .nft_load("delete element inet filter banned { 10.77.0.2 }; add element inet filter banned { 203.0.113.9 }");
    let refused = says(&mut session, &served, &["apply"]);
    assert_eq!(refused, refusal_by(by, "`nft list table inet filter` shows all of it"));
    assert!(!lab.host.nft_list().contains("table inet palisade"));

    // What nobody reads a refusal of is done.
    lab.palisade("policy.yaml", &["apply"]).success();
    assert!(lab.host.nft_list().contains("table inet palisade"));
}

/// Whether sshd, which speaks first, goes on when it is answered.
fn answers_a_greeting(served: &Sshd, to: IpAddr, wait: Duration) -> bool {
    served.lab.client.run(|| {
        let mut stream = TcpStream::connect((to, 22)).expect("three packets pass");
        stream.set_read_timeout(Some(wait)).expect("a socket has a time-out");
        let mut greeting = String::new();
        let mut reader = BufReader::new(stream.try_clone().expect("a stream can be cloned"));
        reader.read_line(&mut greeting).expect("sshd greets");
        stream.write_all(b"SSH-2.0-palisade\r\n").expect("it is sent");
        reader.read_exact(&mut [0]).is_ok()
    })
}

#[test]
fn what_another_table_drops_only_of_later_packets_counts_for_the_own_session_too() {
    let served = Sshd::new(22);
    let lab = &served.lab;
    lab.write_policy("policy.yaml", WITH_SSH);
    track(&served);
    let of_sender = ["table inet palisade", "your SSH session from 203.0.113.9", "your SSH session from 2001:db8::9"];
    for (to, whose) in HOST.into_iter().zip(&of_sender[1..]) {
        let mut session = shell(&served, &lab.client, to, 22);
        // The session goes on, for it has no mark; the next one would log in to silence.
        lab.host.nft_load(
            "table inet marks {
                chain again { type filter hook prerouting priority -150; ct mark 5 drop; }
                chain in {
                    type filter hook input priority 0
                    tcp dport 22 ct state new ct mark set 4
                    ct mark 4 tcp flags & (syn | ack) == ack ct mark set 5
                }
            }",
        );

        let refused = says(&mut session, &served, &["apply"]);

        let by = "Denied by: the data that is sent then is dropped by chain again of table inet marks, not by palisade: `ct mark \
                  0x5 drop`";
        assert!(refused.contains(whose) && refused.contains(by), "{refused}");
        assert!(!lab.host.nft_list().contains(of_sender[0]));
        assert!(!answers_a_greeting(&served, to, SILENCE));
        lab.host.nft_load("delete table inet marks");
        assert!(answers_a_greeting(&served, to, PATIENCE));
    }
    let mut session = shell(&served, &lab.client, HOST[0], 22);
    let applied = says(&mut session, &served, &["apply"]);
    assert!(applied.starts_with("applied: "), "{applied}");
}

#[test]
fn a_session_over_a_port_that_is_translated_to_sshds_is_judged_by_the_port_that_it_asked_for() {
    let served = Sshd::new(22);
    let lab = &served.lab;
    lab.host.nft_load(
        "table inet nat {
            chain prerouting {
                type nat hook prerouting priority dstnat;
                ip daddr 203.0.113.1 tcp dport 2222 dnat ip to 203.0.113.1:22
            }
        }",
    );
    lab.write_policy("policy.yaml", WITHOUT_SSH);
    let mut session = shell(&served, &lab.client, HOST[0], 2222);

    let refused = says(&mut session, &served, &["apply"]);
    let expected = refusal("your SSH session from 203.0.113.9 to port 2222 by eth0", "203.0.113.9");
    assert_eq!(refused, expected.replace("22/tcp", "2222/tcp").trim_end());

    let line = refused.lines().find(|line| line.starts_with("    ssh")).expect("a line to add").trim();
    lab.write_policy("policy.yaml", &format!("{WITHOUT_SSH}  {line}\n"));
    let applied = says(&mut session, &served, &["apply"]);
    assert!(applied.starts_with("applied: "), "{applied}");
    assert_eq!(output(served.ssh(&lab.client, HOST[0], 2222).arg("echo in")).success(), "in\n");
}

#[test]
fn an_older_ruleset_is_not_gone_back_to_from_a_session_that_another_table_would_not_let_in_again() {
    let served = Sshd::new(22);
    let lab = &served.lab;
    for more in ["", "  web: { ports: 80/tcp, from: any }\n"] {
        lab.write_policy("policy.yaml", &format!("{WITH_SSH}{more}"));
        lab.palisade("policy.yaml", &["apply"]).success();
    }
    let mut session = shell(&served, &lab.client, HOST[0], 22);
    lab.host.nft_load(
        "table inet filter {
            chain input {
                type filter hook input priority 0; policy drop;
                ct state established,related accept
            }
        }",
    );
    let before = lab.host.nft_list();

    let refused = says(&mut session, &served, &["rollback"]);

    let by = "dropped by chain input of table inet filter, not by palisade: `policy drop`";
    assert!(refused.contains(&format!("by eth0 could not connect again.\nDenied by: {by}\n")), "{refused}");
    assert_eq!(lab.host.nft_list(), before);
}
