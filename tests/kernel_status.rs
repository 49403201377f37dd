//! What `status` says of what the kernel holds, when the policy's file, or what was done with it, says something else.
//! Needs root.
#![allow(missing_docs)]

mod support;

use std::fs;
use std::path::Path;
use support::lab::Lab;

const POLICY: &str = "version: 1
groups: { trusted: [203.0.113.9, 203.0.113.20, \"2001:db8::9\"], owner: [{ temporary: 12h }] }
services:
  ssh: { ports: 22/tcp, from: any, limit: 6/minute }
  dashboard: { ports: [9000/tcp, 9001/tcp], from: [trusted, owner], comment: the trading dashboard }
  bad: { ports: 22/tcp, from: 198.51.100.0/24, action: reject }
";
/// Where the expected text is; `UPDATE_GOLDEN=1` writes it.
const GOLDEN: &str = "tests/status.txt";

/// Without what differs from run to run: times, and the folder of the lab.
fn stable(lab: &Lab, text: &str) -> String {
    let folder = lab.policy("policy.yaml").parent().expect("it is in a folder").display().to_string();
    let text = text.replace(&folder, "DIR");
    let lines = text.split_inclusive('\n').map(|line| match line {
        entry if entry.starts_with("for a time: ") => {
            entry.split(" until ").next().unwrap_or_default().to_owned() + "\n"
        }
        waits if waits.starts_with("undone in ") => "undone in TIME unless it is confirmed\n".to_owned(),
        line => line.to_owned(),
    });
    let text: String = lines.collect();
    let words = text.split_inclusive([' ', '\n', ';']).map(|word| {
        let is_time = word.starts_with("20") && word.contains('T') && word.contains('Z');
        let end = word.find('Z').map_or(word.len(), |at| at + 1);
        if is_time { format!("TIME{}", &word[end..]) } else { word.to_owned() }
    });
    words.collect()
}

/// What is done, and what `status` says then.
fn after(lab: &Lab, said: &mut String, what: &str, policy: &str, commands: &[&[&str]]) {
    for arguments in commands {
        lab.palisade(policy, arguments).success();
    }
    let status = lab.palisade(policy, &["status"]);
    said.push_str(&format!("== {what}\n{}\n", stable(lab, &status.stdout)));
}

#[test]
fn status_tells_what_the_kernel_holds_whatever_the_file_says() {
    let lab = Lab::new();
    let mut said = String::new();
    let edited = POLICY.replace("22/tcp, from: any, limit: 6/minute", "[22/tcp, 2222/tcp], from: trusted");
    lab.write_policy("policy.yaml", POLICY);
    lab.write_policy("other.yaml", "version: 1\nservices: { web: { ports: 80/tcp, from: any } }\n");
    let apply: &[&str] = &["apply", "--force"];

    after(&lab, &mut said, "the policy is applied", "policy.yaml", &[apply]);
    lab.write_policy("policy.yaml", &edited);
    after(&lab, &mut said, "an edit is not applied", "policy.yaml", &[]);
    lab.write_policy("policy.yaml", "version: 1\nservices: [\n");
    after(&lab, &mut said, "the file is broken", "policy.yaml", &[]);
    after(&lab, &mut said, "another policy is named", "other.yaml", &[]);
    lab.write_policy("policy.yaml", &edited);
    after(&lab, &mut said, "a change waits", "policy.yaml", &[&["apply", "--force", "--confirm", "600s"]]);
    after(&lab, &mut said, "it is undone", "policy.yaml", &[&["rollback"]]);
    after(&lab, &mut said, "it is applied after all", "policy.yaml", &[apply]);
    after(&lab, &mut said, "it is rolled back", "policy.yaml", &[&["rollback", "--force"]]);
    let allow: &[&str] = &["allow", "198.51.100.7", "--to", "dashboard", "--for", "1h"];
    after(&lab, &mut said, "an hour of access", "policy.yaml", &[allow]);
    lab.write_policy("policy.yaml", "version: 1\nservices: [\n");
    lab.host.nft_load("delete table inet palisade");
    after(&lab, &mut said, "booted from the last good ruleset", "policy.yaml", &[&["boot"]]);
    lab.host.nft_load("flush chain inet palisade service-bad");
    after(&lab, &mut said, "somebody changed a rule", "policy.yaml", &[]);
    after(&lab, &mut said, "it is disabled", "policy.yaml", &[&["disable", "--yes"]]);

    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(GOLDEN);
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(&path, &said).expect("the golden can be written");
    }
    let expected = fs::read_to_string(&path).unwrap_or_default();
    assert!(said == expected, "expected\n{expected}\nsaid\n{said}");
}
