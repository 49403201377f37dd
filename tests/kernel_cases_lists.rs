//! Files from elsewhere in `block` and in `from`, in forms that are published: real connections, and what each command
//! says of them. Needs root.
#![allow(missing_docs)]

mod cases;
mod support;

use cases::{Case, hold};

macro_rules! policy {
    ($more:literal) => {
        concat!("version: 1\nservices:\n  ssh: { ports: 22/tcp, from: any }\n", $more)
    };
}

/// One with a list in `block` that names the stranger.
const LISTED: Case = Case {
    name: "",
    machine: "",
    rules: "",
    foreign: "",
    files: &[],
    policy: policy!("block: { file: list.txt }\n"),
    tries: "out > host 22/tcp: denied
            far > host 22/tcp: allowed",
    then: &[],
    asks: "",
};

#[test]
fn a_published_list_is_read_in_its_own_form() {
    let cases = [
        Case {
            name: "remarks behind semicolons (Spamhaus DROP)",
            files: &[("list.txt", "; DROP List\n203.0.113.64/28 ; SBL000001\n2001:db8::60/124 ; SBL000002\n")],
            ..LISTED
        },
        Case {
            name: "a JSON document a line (Spamhaus DROP)",
            files: &[(
                "list.txt",
                "{\"cidr\":\"203.0.113.64/28\",\"sblid\":\"SBL000001\"}\n{\"cidr\":\"2001:db8::60/124\",\"sblid\":\"SBL000002\"}\n{\"type\":\"metadata\",\"records\":2}\n",
            )],
            ..LISTED
        },
        Case {
            name: "columns (ipsum), and slashes before remarks",
            files: &[("list.txt", "# seen\tby\n203.0.113.66\t10\n2001:db8::66\t4\n// the end\n")],
            ..LISTED
        },
        Case {
            name: "ranges in two columns (DShield)",
            files: &[(
                "list.txt",
                "Start\tEnd\tNetmask\n203.0.113.64\t203.0.113.79\t28\n2001:db8::60\t2001:db8::6f\t124\n",
            )],
            policy: policy!("block: { file: list.txt, odd: skip }\n"),
            ..LISTED
        },
        Case {
            name: "bits behind the prefix, and a line that is nothing",
            files: &[("list.txt", "203.0.113.66/28\n2001:db8::66/124\n198.051.100.007\nexample.org\n")],
            policy: policy!("block: { file: list.txt, odd: skip }\n"),
            ..LISTED
        },
    ];
    hold("lists-read", &cases);
}

#[test]
fn a_list_that_is_none_changes_nothing() {
    let everybody = "out > host 22/tcp: allowed\nfar > host 9000/tcp: allowed";
    let cases = [
        Case {
            name: "everybody over IPv4",
            files: &[("list.txt", "192.0.2.1\n0.0.0.0/0\n")],
            tries: everybody,
            ..LISTED
        },
        Case {
            name: "everybody over IPv6, in two halves",
            files: &[("list.txt", "::/1\n8000::/1\n")],
            tries: everybody,
            ..LISTED
        },
        Case {
            name: "CSV",
            files: &[("list.txt", "\"ip\",\"seen\"\n\"203.0.113.66\",\"2\"\n")],
            tries: everybody,
            ..LISTED
        },
        Case {
            name: "a page that says that it was moved",
            files: &[("list.txt", "<!DOCTYPE html>\n<html><body>203.0.113.66</body></html>\n")],
            tries: everybody,
            ..LISTED
        },
        Case {
            name: "leading zeros, without a word about odd lines",
            files: &[("list.txt", "203.0.113.66\n203.000.113.067\n")],
            tries: everybody,
            ..LISTED
        },
        Case {
            name: "odd lines among those who may come in",
            files: &[("list.txt", "203.0.113.66\nexample.org\n")],
            policy: "version: 1\nservices:\n  ssh: { ports: 22/tcp, from: { file: list.txt, odd: skip } }\n",
            tries: everybody,
            ..LISTED
        },
        Case {
            name: "bits behind the prefix of those who may come in",
            files: &[("list.txt", "203.0.113.66/24\n")],
            policy: "version: 1\nservices:\n  ssh: { ports: 22/tcp, from: { file: list.txt } }\n",
            tries: everybody,
            ..LISTED
        },
    ];
    hold("lists-refused", &cases);
}

const GOOD: &[(&str, &str)] = &[("list.txt", "203.0.113.66\n2001:db8::66\n")];
/// With a service that was not there before.
const TODAY: &str = policy!("  web: { ports: 9000/tcp, from: any }\nblock: { file: list.txt }\n");

#[test]
fn a_list_that_was_good_is_not_given_up_for_one_that_is_none() {
    // As a machine that boots: with the last good list and the policy as it is now.
    let boots = "apply\nboot";
    let cases = [
        Case { name: "empty", files: GOOD, then: &[("list.txt", "\n# nobody\n")], asks: "apply", ..LISTED },
        Case {
            name: "an error page",
            files: GOOD,
            then: &[("list.txt", "<html>502</html>\n"), ("policy.yaml", TODAY)],
            asks: boots,
            ..LISTED
        },
        Case {
            name: "everybody",
            files: GOOD,
            then: &[("list.txt", "0.0.0.0/0\n"), ("policy.yaml", TODAY)],
            asks: boots,
            ..LISTED
        },
        Case {
            name: "one odd line",
            files: GOOD,
            then: &[("list.txt", "203.0.113.66\n2001:db8::66\nexample.org\n"), ("policy.yaml", TODAY)],
            asks: boots,
            ..LISTED
        },
        Case {
            name: "empty from the beginning",
            files: &[("list.txt", "")],
            tries: "out > host 22/tcp: allowed",
            ..LISTED
        },
    ];
    hold("lists-kept", &cases);
}
