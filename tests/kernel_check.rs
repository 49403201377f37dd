//! What `doctor --journal` says, keeps and counts. Needs root.
#![allow(missing_docs)]

mod support;

use support::lab::Lab;
use support::planted::Planted;

const POLICY: &str = "version: 1
groups: { trusted: 203.0.113.20 }
services: { ssh: { ports: 22/tcp, from: any }, web: { ports: 80/tcp, from: trusted } }
";
const IGNORES: &str = "doctor: { ignore: [{ id: firewalld-active, because: its zones are empty }] }\n";

/// The samples of `metrics` about findings.
fn counted(planted: &Planted<'_>) -> Vec<String> {
    let text = planted.palisade(&["metrics"]).success();
    text.lines().filter_map(|line| line.strip_prefix("palisade_doctor_findings")).map(str::to_owned).collect()
}

fn counts(of: [(&str, u32); 4]) -> Vec<String> {
    of.map(|(severity, count)| format!("{{severity=\"{severity}\"}} {count}")).to_vec()
}

#[test]
fn each_finding_is_a_line_then_where_the_kernel_differs_and_the_numbers_are_kept() {
    let lab = Lab::new();
    let planted = Planted::new(&lab);
    planted.apply(&format!("{POLICY}{IGNORES}"));
    planted.write("/etc/systemd/system/firewalld.service", "[Unit]\n[Service]\n[Install]\nWantedBy=sysinit.target\n");
    planted.link("/etc/systemd/system/sysinit.target.wants/firewalld.service", "../firewalld.service");
    assert_eq!(counted(&planted), Vec::<String>::new(), "nothing was checked yet");

    let healthy = planted.palisade(&["doctor", "--journal"]);
    let text = "healthy: nothing on this machine works against the policy, 1 ignored\n";
    assert_eq!((healthy.status, healthy.stdout.as_str(), healthy.stderr.as_str()), (Some(0), text, ""));
    assert_eq!(counted(&planted), counts([("error", 0), ("ignored", 1), ("note", 0), ("warning", 0)]));

    lab.host.nft_load("add element inet palisade trusted-v4 { 9.9.9.9 }");
    lab.write_policy("policy.yaml", POLICY);
    let done = planted.palisade(&["doctor", "--journal"]);
    let said = format!(
        "error[out-of-sync]: the kernel differs from the policy in one place: somebody has changed one of them since it was \
         applied; `palisade diff` shows where, `palisade apply` makes the kernel match\n\
         warning[firewalld-active]: {}\n\
         access: 80/tcp: 9.9.9.9 loses\n\
         --- kernel: table inet palisade\n\
         +++ policy: policy.yaml\n\
         @@ set trusted-v4: group trusted (policy.yaml:2) @@\n\
         -element 9.9.9.9\n",
        done.stderr.lines().find_map(|line| line.strip_prefix("warning[firewalld-active]: ")).unwrap_or("nothing")
    );
    assert_eq!((done.status, done.stdout.as_str(), done.stderr.as_str()), (Some(2), "2 findings\n", said.as_str()));
    assert_eq!(counted(&planted), counts([("error", 1), ("ignored", 0), ("note", 0), ("warning", 1)]));

    let quiet = planted.palisade(&["--quiet", "doctor", "--journal"]);
    let errors: String =
        said.lines().filter(|line| !line.starts_with("warning")).map(|line| format!("{line}\n")).collect();
    assert_eq!((quiet.status, quiet.stdout.as_str(), quiet.stderr), (Some(2), "", errors));

    // A set that somebody else fills is left out once by whoever asks, and never by the policy.
    let once = planted.palisade(&["doctor", "--ignore", "out-of-sync", "--ignore", "firewalld-active"]);
    assert_eq!(
        (once.status, once.stdout.lines().last()),
        (Some(0), text.replace("1 ignored", "2 ignored").lines().last())
    );
}
