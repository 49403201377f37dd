//! What `docs/from-ufw.md` shows is what palisade prints. Needs root.
#![allow(missing_docs)]

mod support;

use std::fmt::Write;
use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use support::lab::Lab;
use support::namespace::output;
use support::program::palisade;

const PAGE: &str = "docs/from-ufw.md";
const POLICY: &str = "/etc/palisade/policy.yaml";

/// What a line of the page prints, warnings and errors included.
fn printed(lab: &Lab, line: &str) -> String {
    let path = lab.policy("policy.yaml").display().to_string();
    let line = line.replace(POLICY, &path);
    let line = match line.strip_prefix("palisade ") {
        Some(arguments) => format!("{} --policy {path} {arguments}", palisade()),
        None => line,
    };
    let mut command = lab.in_its_own_state("/bin/sh");
    let said = output(command.arg("-c").arg(format!("{line} 2>&1")));
    without_times(&said.stdout.replace(&path, POLICY))
}

/// With one time in the place of all.
fn without_times(text: &str) -> String {
    let words = text.split_inclusive([' ', '\n', ';']).map(|word| {
        let is_time = word.starts_with("20") && word.contains('T') && word.contains('Z');
        let end = word.find('Z').map_or(0, |at| at + 1);
        if is_time { format!("2026-11-27T18:00:00Z{}", &word[end..]) } else { word.to_owned() }
    });
    words.collect()
}

/// The page with what its commands print now.
fn with_what_is_printed(lab: &Lab, page: &str) -> String {
    let (mut text, mut in_console) = (String::new(), false);
    for line in page.lines() {
        match line.strip_prefix("# ").filter(|_| in_console) {
            Some(command) => {
                let _ = write!(text, "{line}\n{}", printed(lab, command));
            }
            // What was printed when the page was written.
            None if in_console && line != "```" => continue,
            None => text.push_str(&format!("{line}\n")),
        }
        in_console = line == "```console" || in_console && line != "```";
    }
    text
}

#[test]
fn each_job_of_an_admin_who_knows_ufw_prints_what_the_page_says() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(PAGE);
    let page = fs::read_to_string(&path).expect("the page is there");
    let lab = Lab::new();
    let heard = [22, 80, 443].map(|port| SocketAddr::from(([0, 0, 0, 0], port)));
    let _echo = lab.host.listen(&heard, &[]);
    let policy = page.split("```yaml\n").nth(1).and_then(|rest| rest.split("```").next());
    lab.write_policy("policy.yaml", policy.expect("the page has a policy"));

    let now = with_what_is_printed(&lab, &page);

    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(&path, &now).expect("the page can be written");
    }
    assert!(now == page, "the page should be\n{now}");
}
