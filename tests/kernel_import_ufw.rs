//! The real ufw loads rules, packets show what they let in, and the policy that palisade makes of them lets in the same. Needs
//! root, and ufw unpacked to `target/engines/ufw`: `scripts/test kernel` does that.

mod support;

use palisade::access::{access_changes, lines, unmet};
use palisade::desired::{Loaded, compile_bytes};
use palisade::migrate::ufw::{FILES, Installation, import};
use palisade::migrate::{Fate, Imported};
use palisade::names::Names;
use palisade::ruleset::TableId;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use support::dice::{Dice, seed};
use support::lab::{HOST, HOST_ON_LAN, Lab};
use support::namespace::output;
use support::probe::{Outcome, Target};
use support::seen::{PEERS, seen};
use tempfile::TempDir;

/// Four, since ufw lets five connections in before a limit shuts.
const TARGETS: [Target; 4] = [Target::Tcp(22), Target::Tcp(80), Target::Udp(80), Target::Tcp(443)];
const PORTS: [u16; 3] = [22, 80, 443];

const PROFILES: &str = "[OpenSSH]\ntitle=a\ndescription=b\nports=22/tcp\n\n\
    [Web Both]\ntitle=a\ndescription=b\nports=443/tcp|80\n";

/// An installation of ufw with a root folder of its own, for the host of a lab.
struct Ufw<'a> {
    lab: &'a Lab,
    root: TempDir,
}

impl<'a> Ufw<'a> {
    fn new(lab: &'a Lab) -> Self {
        let package = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/engines/ufw");
        assert!(package.join("usr/sbin/ufw").exists(), "ufw is not unpacked: `scripts/test kernel` does it");
        let root = tempfile::Builder::new().prefix("palisade-ufw-").tempdir_in("/run").expect("/run is writable");
        let copied = output(Command::new("cp").arg("-a").arg(package.join(".")).arg(root.path()));
        copied.success();
        let ufw = Self { lab, root };
        for name in
            ["before", "after", "user"].iter().flat_map(|name| [format!("{name}.rules"), format!("{name}6.rules")])
        {
            let stock = ufw.path("usr/share/ufw/iptables").join(&name);
            fs::copy(stock, ufw.path("etc/ufw").join(&name)).expect("the package has it");
        }
        fs::copy(ufw.path("usr/share/ufw/ufw.conf"), ufw.path("etc/ufw/ufw.conf")).expect("the package has it");
        for name in ["before.init", "after.init"] {
            fs::write(ufw.path("etc/ufw").join(name), "").expect("it is writable");
        }
        fs::create_dir_all(ufw.path("run")).expect("it is writable");
        fs::write(ufw.path("etc/ufw/applications.d/of-the-test"), PROFILES).expect("it is writable");
        ufw
    }

    fn path(&self, below: &str) -> PathBuf {
        self.root.path().join(below)
    }

    /// Runs ufw in the host's network namespace; gives what it printed.
    #[track_caller]
    fn run(&self, arguments: &str) -> String {
        let mut command = self.lab.host.command("/usr/bin/python3");
        command.env("PYTHONPATH", self.path("usr/lib/python3/dist-packages")).env("LC_ALL", "C.UTF-8");
        command.arg(self.path("usr/sbin/ufw"));
        for option in ["rootdir", "datadir"] {
            command.arg(format!("--{option}={}", self.root.path().display()));
        }
        output(command.args(words(arguments))).success()
    }

    fn import(&self) -> Imported {
        let read = |path: &&str| Some(((*path).to_owned(), fs::read_to_string(self.path(path)).ok()?));
        let files: BTreeMap<String, String> = FILES.iter().filter_map(read).collect();
        import(&Installation { files, ..Installation::default() }).expect("ufw uses it")
    }

    /// The rules as `ufw show added` prints them.
    fn added(&self) -> BTreeSet<String> {
        self.run("show added").lines().filter(|line| line.starts_with("ufw ")).map(str::to_owned).collect()
    }
}

/// The words of a command, of which those in single quotes hold blanks.
fn words(arguments: &str) -> Vec<String> {
    let parts = arguments.split('\'').enumerate();
    parts
        .flat_map(|(at, part)| {
            if at % 2 == 1 { vec![part.to_owned()] } else { part.split_whitespace().map(str::to_owned).collect() }
        })
        .collect()
}

/// A command for ufw.
fn command(dice: &mut Dice) -> String {
    let verb = dice.pick(&["allow", "allow", "allow", "deny", "reject", "limit", "prepend deny", "prepend allow"]);
    if dice.below(3) == 0 {
        let what =
            dice.pick(&["22/tcp", "80", "80/udp", "443/tcp", "80,443/tcp", "OpenSSH", "'Web Both'", "22:80/tcp"]);
        return format!("{verb} {what}");
    }
    let mut command = verb.to_owned();
    if dice.below(4) == 0 {
        command.push_str(dice.pick(&[" in on eth0", " in on eth1", " in on eth+"]));
    }
    let sources = [
        "203.0.113.66",
        "203.0.113.64/30",
        "203.0.113.0/24",
        "10.77.0.0/24",
        "2001:db8::66",
        "2001:db8::/64",
        "fd77::2",
        "any",
        "any",
    ];
    let from = dice.pick(&sources);
    command.push_str(&format!(" from {from}"));
    let own = match (dice.below(5), from.contains(':')) {
        (0, _) if from == "any" => "any",
        (0, true) => dice.pick(&["2001:db8::1", "fd77::1"]),
        (0, false) => dice.pick(&["203.0.113.1", "10.77.0.1"]),
        _ => "any",
    };
    command.push_str(&format!(" to {own}"));
    command.push_str(dice.pick(&[
        "",
        " port 22 proto tcp",
        " port 80",
        " port 80 proto udp",
        " port 22,443 proto tcp",
        " proto tcp",
    ]));
    command
}

/// A lab whose host answers at every target.
fn lab() -> (Lab, support::echo::Echo) {
    let lab = Lab::new();
    lab.add_addresses(PEERS.iter().map(|peer| peer.parse().expect("an address")));
    let own = HOST.into_iter().chain(HOST_ON_LAN);
    let heard: Vec<SocketAddr> = own.flat_map(|address| PORTS.map(|port| SocketAddr::new(address, port))).collect();
    let echo = lab.host.listen(&heard, &heard);
    (lab, echo)
}

/// Has ufw load commands, and compares what packets see with what they see after the import.
fn compared(commands: &[String]) {
    let (lab, _echo) = lab();
    let ufw = Ufw::new(&lab);
    for command in commands {
        ufw.run(command);
    }
    ufw.run("--force enable");
    let theirs = seen(&lab, &TARGETS);
    let added = ufw.added();
    let imported = ufw.import();
    ufw.run("disable");
    lab.forget_datagrams();
    lab.write_policy("policy.yaml", &imported.policy);
    lab.palisade("policy.yaml", &["apply", "--force", "--yes"]).success();

    let ours = seen(&lab, &TARGETS);

    let context = format!("{commands:#?}\n{}\n{}", imported.policy, imported.report.text().as_str());
    let said: BTreeSet<String> = imported.report.rules.iter().map(|entry| entry.rule.clone()).collect();
    assert_eq!(said, added, "each rule is named as ufw names it: {context}");
    let is_exact = imported.report.rules.iter().all(|entry| matches!(entry.fate, Fate::Exact | Fate::NoEffect));
    for (asked, outcome) in theirs {
        let now = ours[&asked];
        let connects = |outcome| outcome == Outcome::Connected;
        // Which refusal it is depends on who refuses, ufw's limit among them; that nobody gets in does not.
        let same = if is_exact { connects(now) == connects(outcome) } else { connects(outcome) || !connects(now) };
        // All sources of a /64 share what a limit lets in, and ufw counts each address by itself.
        let may_differ = commands.iter().any(|command| command.starts_with("limit"))
            || imported.report.rules.iter().any(|entry| entry.fate == Fate::NotTranslated);
        let same = same && (may_differ || connects(now) == connects(outcome));
        assert!(same, "{asked:?}: {outcome:?} by ufw, {now:?} by palisade: {context}");
    }
}

fn try_lists(count: u64) {
    let seed = seed();
    for list in seed..seed + count {
        eprintln!("PALISADE_SEED={list}");
        let mut dice = Dice::seeded(list);
        let commands: Vec<String> = (0..=dice.below(6)).map(|_| command(&mut dice)).collect();
        compared(&commands);
    }
}

/// What the guides say of a server with a dashboard becomes the policy of the dashboard: who has access by the one has it by
/// the other.
#[test]
fn the_dashboard_of_a_guide_becomes_the_dashboards_policy() {
    let (lab, _echo) = lab();
    let ufw = Ufw::new(&lab);
    let commands = [
        "default deny incoming",
        "default allow outgoing",
        "limit OpenSSH",
        "allow from 203.0.113.20 to any port 9000,9001 proto tcp comment 'the trading dashboard'",
        "--force enable",
    ];
    for command in commands {
        ufw.run(command);
    }

    let imported = ufw.import();

    let read = |text: &str| {
        let compiled = compile_bytes(text.as_bytes(), Path::new("policy.yaml"), &Names::default());
        let loaded = Loaded::from(compiled.expect("it is valid"));
        assert!(loaded.unmet.is_none(), "{text}");
        loaded
    };
    let (ours, theirs) = (read(include_str!("../policies/jesse.yaml")), read(&imported.policy));
    let id = TableId::palisade();
    let changes = access_changes(&id, Some(&ours.table), Some(&theirs.table));
    assert_eq!(lines(&changes), Vec::<String>::new(), "{}", imported.policy);
    assert!(unmet(&id, &theirs.table, &ours.policy.expectations).is_empty(), "{}", imported.policy);
    let comment = ours.policy.services.get("dashboard").and_then(|service| service.comment.clone());
    assert!(theirs.policy.services.values().any(|service| service.comment == comment && comment.is_some()));
}

#[test]
fn what_the_real_ufw_lets_in_the_imported_policy_lets_in() {
    try_lists(8);
}

#[test]
#[ignore = "takes half an hour"]
fn three_hundred_lists_of_the_real_ufw() {
    try_lists(300);
}
