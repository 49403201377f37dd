//! Names and comments that a terminal or a shell would obey, wherever others may put them, and what palisade prints of them.
#![allow(missing_docs)]

mod support;

use palisade::printable::is_invisible;
use support::lab::Lab;
use support::namespace::output;

/// An interface's name may have 15 bytes; neither blanks nor slashes.
const GUESTS: &str = "\u{1b}[8m\u{202e}$(id)";
/// The same as it is printed.
const GUESTS_SHOWN: &str = "\\u{1b}[8m\\u{202e}$(id)";
/// One that a shell alone obeys.
const COMMAND: &str = "`reboot`;$(id)";

const POLICY: &str = "version: 1
services:
  ssh: { ports: 22/tcp, from: any }
";

/// A lab's host with interfaces of guests, and rules of others.
fn lab() -> Lab {
    let lab = Lab::new();
    lab.forward();
    for (number, name) in [GUESTS, COMMAND].into_iter().enumerate() {
        let ip = |arguments: &[&str]| output(lab.host.command("ip").args(arguments)).success();
        ip(&["link", "add", "name", name, "type", "bridge"]);
        ip(&["address", "add", &format!("10.9.{number}.1/24"), "dev", name]);
        ip(&["link", "set", name, "up"]);
    }
    lab.write_policy("policy.yaml", POLICY);
    lab.palisade("policy.yaml", &["apply"]).success();
    lab.host.nft_load(&format!(
        "table inet other {{
            comment \"\u{1b}]0;a\u{7}\u{2066}\"
            set seen {{ type ipv4_addr; comment \"\u{9b}31m\"; elements = {{ 192.0.2.1 comment \"\u{200f}\" }}; }}
            chain input {{
                type filter hook input priority 0; policy accept;
                iifname \"{GUESTS}\" counter comment \"\u{feff}\u{1b}[2J\"
                log prefix \"\u{1b}[1A\u{2028}\" comment \"one line\u{202d}\"
                ip saddr 10.9.0.7 drop comment \"\u{1b}c\"
            }}
        }}"
    ));
    // What somebody with root's rights has put into palisade's own table.
    lab.host.nft_load(
        "insert rule inet palisade filter-input iifname \"\u{1b}[8m\u{202e}\" accept comment \"\u{1b}c\u{202e}\"",
    );
    lab
}

#[test]
fn no_command_prints_what_a_terminal_would_obey() {
    let lab = lab();
    let by_guests = ["explain", "22/tcp", "--from", "10.9.0.7", "--to", "10.9.0.1"];
    let commands: [&[&str]; 9] = [
        &["report", "--html", "-"],
        &["doctor"],
        &["exposure"],
        &["status"],
        &["diff"],
        &["apply", "--dry-run"],
        &by_guests,
        &["explain", "22/tcp", "--from", "203.0.113.9", "--planned"],
        &["rollback", "--list"],
    ];
    for command in commands {
        for more in [&[][..], &["--json"], &["-vv"]] {
            let said = lab.palisade("policy.yaml", &[command, more].concat());
            for text in [&said.stdout, &said.stderr] {
                let raw = text.chars().find(|&c| is_invisible(c) && c != '\n');
                assert_eq!(raw, None, "{command:?} {more:?}: {text}");
            }
            assert_ne!(said.status, Some(1), "{}", said.stderr);
        }
    }
    let explained = lab.palisade("policy.yaml", &by_guests).stdout;
    let rule = "inet other input: ip saddr 10.9.0.7 drop (\\u{1b}c)";
    assert!(explained.contains(&format!(" by {GUESTS_SHOWN}\n")) && explained.contains(rule), "{explained}");
    // JSON has its own way to write them.
    let explained = lab.palisade("policy.yaml", &[&by_guests[..], &["--json"]].concat()).stdout;
    let document: serde_json::Value = serde_json::from_str(&explained).expect("JSON");
    assert!(
        document["connection"].as_str().is_some_and(|text| text.ends_with(&format!(" by {GUESTS}"))),
        "{explained}"
    );
}

#[test]
fn a_remedy_names_nothing_that_a_shell_would_run() {
    let lab = lab();
    let findings = |id: &str| {
        let said = lab.palisade("policy.yaml", &["doctor", "--json"]).stdout;
        let document: serde_json::Value = serde_json::from_str(&said).expect("JSON");
        let all = document["findings"].as_array().expect("a list").clone();
        let of_kind: Vec<_> = all.into_iter().filter(|finding| finding["id"] == id).collect();
        let text = |name: &str| of_kind[0][name].as_str().expect("a text").to_owned();
        [text("message"), text("help")]
    };
    lab.palisade("policy.yaml", &["apply"]).success();

    let [message, help] = findings("guests-not-named");
    let named =
        format!("the policy does not name {GUESTS_SHOWN} and {COMMAND}, and stops what is forwarded from them");
    assert!(message.starts_with(&named), "{message}");
    assert_eq!(
        help,
        "no policy can name it: give it another name (`ls /sys/class/net` lists all), then run this again; if they are to be stopped, \
         say so in the policy: `doctor: { ignore: [{ id: guests-not-named, because: they reach this machine alone }] }`"
    );
}
