//! The Debian package: where it can be installed, and what it does and leaves undone from installation to purge.
#![allow(missing_docs)]

mod support;

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use support::faulty;
use support::lab::{CLIENT, HOST, without_live};
use support::namespace::output;
use support::nspawn::{EARLY, Machine, Suite, package};
use support::probe::{Outcome, SILENCE, Target};

/// What Ubuntu 22.04 has, the oldest system that the package is for, of all that it depends on.
const UBUNTU_22_04: [(&str, &str); 4] = [
    ("libc6", "2.35-0ubuntu3"),
    ("libgcc-s1", "12-20220319-1ubuntu1"),
    ("libmnl0", "1.0.4-3build2"),
    ("libnftnl11", "1.2.1-1build1"),
];
/// The newest versions of symbols there.
const NEWEST_SYMBOLS: [(&str, &[u32]); 4] =
    [("GCC", &[12, 0, 0]), ("GLIBC", &[2, 35]), ("LIBMNL", &[1, 0]), ("LIBNFTNL", &[17])];
/// What tells a palisade of the tests to fail.
const FAULT: &str = "PALISADE_FAULT";
/// `systemd-analyze security` may say this much of a unit, in tenths.
const MOST_EXPOSURE: [(&str, u32); 4] = [
    ("palisade.service", 17),
    ("palisade-refresh.service", 25),
    ("palisade-metrics.service", 18),
    ("palisade-check.service", 27),
];

const EDITED: &str =
    "version: 1\nservices:\n  early: { ports: 4444/tcp, from: any }\n  ssh: { ports: 22/tcp, from: any }\n";

/// Makes a package of a later version, in which the packaged policy is another.
const NEXT: &str = "dpkg-deb --raw-extract /root/first.deb /root/next
    sed -i 's/^Version: .*/&+next/' /root/next/DEBIAN/control
    echo '# another' >>/root/next/etc/palisade/policy.yaml
    dpkg-deb --build /root/next /root/next.deb";

#[track_caller]
fn said_by(program: &str, arguments: &[&str], file: &Path) -> String {
    output(Command::new(program).args(arguments).arg(file)).success()
}

#[test]
fn no_symbol_is_newer_than_the_oldest_system() {
    let folder = tempfile::tempdir().expect("a folder for a test");
    let deb = package();
    output(Command::new("dpkg-deb").arg("--extract").arg(&deb).arg(folder.path())).success();
    let symbols = said_by("objdump", &["--dynamic-syms"], &folder.path().join("usr/sbin/palisade"));
    let mut newest: BTreeMap<&str, Vec<u32>> = BTreeMap::new();
    // Such as `... (GLIBC_2.34) pthread_create`.
    for version in symbols.split(['(', ')', ' ', '\n']) {
        let Some((library, numbers)) = version.split_once('_') else { continue };
        let numbers: Option<Vec<u32>> = numbers.split('.').map(|number| number.parse().ok()).collect();
        if let Some(numbers) = numbers.filter(|_| library.bytes().all(|byte| byte.is_ascii_uppercase())) {
            let found = newest.entry(library).or_default();
            *found = numbers.max(std::mem::take(found));
        }
    }

    assert_eq!(newest.keys().copied().collect::<Vec<_>>(), NEWEST_SYMBOLS.map(|(library, _)| library));
    for (library, most) in NEWEST_SYMBOLS {
        assert!(
            newest[library].as_slice() <= most,
            "{library}: {:?}, and there is {most:?} at most",
            newest[library]
        );
    }
}

#[test]
fn nothing_is_needed_that_the_oldest_system_does_not_have() {
    let depends = said_by("dpkg-deb", &["--field"], &package());
    let depends = depends.lines().find_map(|line| line.strip_prefix("Depends: ")).expect("it depends on libraries");

    let mut names = Vec::new();
    for one in depends.split(", ") {
        let (name, needed) =
            one.trim_end_matches(')').split_once(" (>= ").expect("a library, and from which version on");
        let (_, there) =
            UBUNTU_22_04.into_iter().find(|(known, _)| *known == name).expect("a library of Ubuntu 22.04");
        let is_there = Command::new("dpkg").args(["--compare-versions", needed, "le", there]).status();
        assert!(is_there.expect("dpkg is there").success(), "{one}, and there is {there}");
        names.push(name);
    }

    assert_eq!(names, UBUNTU_22_04.map(|(name, _)| name));
}

#[test]
fn lintian_has_nothing_to_say_of_the_package() {
    // What is as it should be, and lintian warns of, is in packaging/debian/lintian-overrides, with the reason.
    let said = output(Command::new("lintian").args(["--allow-root", "--fail-on", "error,warning"]).arg(package()));
    assert_eq!((said.status, said.stdout.as_str(), said.stderr.as_str()), (Some(0), "", ""));
}

#[test]
fn each_manual_page_of_the_package_is_shown_without_a_warning_in_80_columns() {
    let folder = tempfile::tempdir().expect("a folder for a test");
    output(Command::new("dpkg-deb").arg("--extract").arg(package()).arg(folder.path())).success();
    let (mut wrong, mut pages) = (Vec::new(), 0);
    let found = said_by("find", &[], &folder.path().join("usr/share/man"));
    for page in found.lines().filter(|path| path.ends_with(".gz")) {
        let mut man = Command::new("man");
        man.args(["--warnings", "--local-file"]).arg(page).env("MANWIDTH", "80").env("LC_ALL", "C.UTF-8");
        let shown = output(&mut man);
        let wide = shown.stdout.lines().filter(|line| line.chars().count() > 80);
        wrong.extend(shown.stderr.lines().chain(wide).map(|line| format!("{page}: {line}")));
        assert!(shown.stdout.contains("NAME"), "{page}: {}", shown.stdout);
        pages += 1;
    }
    assert_eq!((wrong, pages > 20), (Vec::new(), true));
}

#[test]
fn the_units_are_hardened() {
    for suite in Suite::ALL {
        let machine = Machine::with_palisade(suite);
        for (unit, most) in MOST_EXPOSURE {
            // Of a running system it asks the system; the installed unit is read by it.
            let said = machine.chroot(&format!(
                "systemd-analyze security --offline=true --no-pager --threshold={most} /usr/lib/systemd/system/{unit} || true"
            ));
            let exposure = said.lines().last().unwrap_or_default();
            let number = exposure.split_whitespace().find_map(|word| word.parse::<f32>().ok());
            assert!(number.is_some_and(|number| number * 10.0 <= most as f32), "{suite}, {unit}: {said}");
        }
    }
}

#[test]
fn no_fault_that_tests_plant_is_in_the_package() {
    let folder = tempfile::tempdir().expect("a folder for a test");
    output(Command::new("dpkg-deb").arg("--extract").arg(package()).arg(folder.path())).success();
    let planted = |program: &Path| {
        let bytes = std::fs::read(program).expect("it is there");
        bytes.windows(FAULT.len()).any(|window| window == FAULT.as_bytes())
    };

    let mut programs = Vec::new();
    for line in said_by("find", &["-L"], folder.path()).lines().map(Path::new).filter(|path| path.is_file()) {
        if std::fs::read(line).expect("it is there").starts_with(b"\x7fELF") {
            programs.push(line.strip_prefix(folder.path()).expect("it was found there").display().to_string());
            assert!(!planted(line), "{}", line.display());
        }
    }

    assert_eq!(programs, ["usr/sbin/palisade"]);
    assert!(planted(&faulty::program()), "the other one has them");
}

/// From a machine without palisade to one without palisade.
#[track_caller]
fn installs_upgrades_and_goes(suite: Suite) {
    let mut machine = Machine::new(suite);
    machine.copy(&package(), "/root/first.deb");
    machine.boot(&[]);
    let early = |machine: &Machine| {
        let pairs = CLIENT.into_iter().zip(HOST);
        pairs.map(|(from, to)| machine.client.probe(Target::Tcp(EARLY), from, to, SILENCE)).collect::<Vec<_>>()
    };
    let rules = |machine: &Machine| without_live(&machine.run("nft --stateless list ruleset"));
    let enabled = |machine: &Machine| {
        ["palisade", "palisade-refresh.timer", "palisade-metrics.timer", "palisade-check.timer"]
            .map(|unit| machine.shell(&format!("systemctl is-enabled {unit}")).stdout)
    };

    // Installing changes nothing but files.
    let said = machine.run("dpkg --install /root/first.deb 2>&1");
    assert!(said.contains("palisade: nothing is loaded or enabled yet"), "{said}");
    assert_eq!(rules(&machine), "");
    assert_eq!(enabled(&machine), ["disabled\n"; 4]);
    assert_eq!(machine.shell("systemctl is-active palisade").stdout, "inactive\n");
    assert_eq!(early(&machine), [Outcome::Connected; 2]);
    machine.run("dpkg --verify palisade");
    assert_eq!(machine.run("stat --format '%a %U:%G' /etc/palisade/policy.yaml"), "644 root:root\n");
    for file in ["palisade.rules.yml", "palisade.rules.test.yml", "palisade-dashboard.json"] {
        machine.run(&format!("test -s /usr/share/doc/palisade/prometheus/{file}"));
    }
    for file in ["man/man8/palisade.8.gz", "man/man5/palisade.yaml.5.gz", "doc/palisade/CHANGELOG.md.gz"] {
        machine.run(&format!("gzip --test /usr/share/{file}"));
    }
    machine.run("bash -c '. /usr/share/bash-completion/completions/palisade; complete -p palisade'");
    for file in
        ["zsh/vendor-completions/_palisade", "fish/vendor_completions.d/palisade.fish", "doc/palisade/operations.md"]
    {
        machine.run(&format!("test -s /usr/share/{file}"));
    }

    // The packaged policy is one that lets SSH in, and the unit loads it.
    assert_eq!(machine.run("palisade check"), "/etc/palisade/policy.yaml is valid, and the kernel accepts it\n");
    machine.run("systemctl enable --now palisade");
    // What watches is another decision.
    assert_eq!(enabled(&machine), ["enabled\n", "enabled\n", "disabled\n", "disabled\n"]);
    machine.run("mkdir -p /var/lib/prometheus/node-exporter");
    machine.run("systemctl enable --now palisade-metrics.timer palisade-check.timer");
    machine.assert_ssh_answers();
    assert_eq!(early(&machine), [Outcome::TimedOut; 2]);
    machine.run("palisade diff");

    // An upgrade keeps the policy, the rules, and what was decided about the boot.
    machine.write("/etc/palisade/policy.yaml", EDITED);
    machine.run("palisade apply");
    let loaded = rules(&machine);
    machine.run(NEXT);
    machine.run("dpkg --force-confdef --install /root/next.deb");
    assert_eq!(machine.read("/etc/palisade/policy.yaml"), EDITED);
    assert_eq!(rules(&machine), loaded);
    assert_eq!(enabled(&machine), ["enabled\n"; 4]);
    assert_eq!(machine.shell("systemctl is-active palisade-refresh.timer").stdout, "active\n");
    let version = machine.run("dpkg-query --show --showformat '${Version}' palisade");
    assert_eq!(version, concat!(env!("CARGO_PKG_VERSION"), "+next"));
    machine.run("systemctl restart palisade");
    assert_eq!(early(&machine), [Outcome::Connected; 2]);

    // Removing neither opens the machine nor cuts anyone off, and says so; purging leaves nothing.
    let said = machine.run("dpkg --remove palisade 2>&1");
    assert!(said.contains("the rules stay in force until this machine boots"), "{said}");
    assert_eq!(rules(&machine), loaded);
    assert_eq!(machine.read("/etc/palisade/policy.yaml"), EDITED);
    machine.run("dpkg --purge palisade && rm -r /root/first.deb /root/next*");
    machine.assert_ssh_answers();
    let left = machine.run("find / -xdev -name '*palisade*' -not -path '/proc/*'; find /run -name '*palisade*'");
    assert_eq!(left, "");
    assert_eq!(
        machine.shell("systemctl is-enabled palisade").status,
        Some(if suite == Suite::Bookworm { 1 } else { 4 })
    );
    machine.power_off();
    assert_eq!(machine.boot(&[]), "running");
    assert_eq!(rules(&machine), "");
    machine.assert_ssh_answers();
}

#[test]
fn on_debian_12_it_installs_upgrades_and_goes() {
    installs_upgrades_and_goes(Suite::Bookworm);
}

#[test]
fn on_debian_13_it_installs_upgrades_and_goes() {
    installs_upgrades_and_goes(Suite::Trixie);
}
