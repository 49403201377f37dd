//! The collection of `ansible/` on hosts with a real sshd. Needs root, and Ansible, which scripts/test puts below
//! target/clients where it can be had.
#![allow(missing_docs)]

mod fleet;
mod support;

use fleet::{Fleet, POLICY, ansible, ansible_of_debian_12};
use std::path::Path;
use std::time::{Duration, Instant};
use support::namespace::{Output, output};
use support::program::palisade;

/// Lets the controller in by SSH.
const OPEN: &str = "version: 1
groups: { control: 10.9.0.254 }
services: { ssh: { ports: 22/tcp, from: control } }
";

/// What a play has done on each host: how much was changed and has failed, or `untouched`.
#[derive(Debug, PartialEq, Eq)]
struct Recap(Vec<String>);

fn recap(hosts: usize, done: &Output) -> Recap {
    let of = |number: usize| {
        let begin = format!("host{number} ");
        let line = done.stdout.lines().rfind(|line| line.starts_with(&begin) && line.contains("unreachable="));
        let count = |line: &str, name: &str| {
            let count = line.split_whitespace().find_map(|word| word.strip_prefix(name)?.strip_prefix('='));
            count.map_or(0, |count| count.parse::<u32>().expect("a number"))
        };
        line.map_or("untouched".to_owned(), |line| {
            format!("changed {} failed {}", count(line, "changed"), count(line, "failed"))
        })
    };
    Recap((1..=hosts).map(of).collect())
}

fn each(what: &[&str]) -> Recap {
    Recap(what.iter().map(|what| (*what).to_owned()).collect())
}

/// Whether rules of palisade's are loaded on a host, and whether its table names a text.
fn holds(fleet: &Fleet, number: usize, text: &str) -> bool {
    fleet.hosts[number - 1].inside.nft_list().contains(text)
}

/// Rolls a policy out, with more variables.
fn roll(fleet: &Fleet, ansible: &Path, policy: &str, arguments: &[&str]) -> Output {
    fleet.write("policy.yaml", policy);
    let content = "palisade_policy_content={{ lookup('ansible.builtin.file', inventory_dir ~ '/policy.yaml') }}";
    let serial = "{\"palisade_serial\": [1, 2, \"100%\"]}";
    let vars = ["-e", content, "-e", serial, "-e", "palisade_confirm=45", "-e", "palisade_reconnect=4"];
    fleet.play(ansible, "palisade.palisade.roll", &[&vars[..], arguments].concat())
}

#[test]
fn a_roll_loads_each_policy_and_keeps_it_the_next_one_changes_nothing_and_drift_is_undone_where_it_is() {
    let Some(ansible) = ansible() else { return eprintln!("left out: there is no Ansible below target/clients") };
    let fleet = Fleet::new(5);

    let dry = roll(&fleet, &ansible, OPEN, &["--check", "--diff"]);
    assert_eq!(dry.status, Some(0), "{}{}", dry.stdout, dry.stderr);
    assert!(dry.stdout.contains("is not loaded: `palisade apply` loads it"), "{}", dry.stdout);
    assert!(!holds(&fleet, 1, "palisade"), "a check changes nothing");

    let first = roll(&fleet, &ansible, OPEN, &[]);
    assert_eq!(recap(5, &first), each(&["changed 2 failed 0"; 5]), "{}{}", first.stdout, first.stderr);
    assert!((1..=5).all(|number| holds(&fleet, number, "service-ssh")));

    let second = roll(&fleet, &ansible, OPEN, &[]);
    assert_eq!(recap(5, &second), each(&["changed 0 failed 0"; 5]), "{}{}", second.stdout, second.stderr);

    fleet.hosts[2].inside.nft_load("add element inet palisade control-v4 { 9.9.9.9 }");
    let dry = roll(&fleet, &ansible, OPEN, &["--check", "--diff"]);
    let drift = [
        "changed 0 failed 0",
        "changed 0 failed 0",
        "changed 1 failed 0",
        "changed 0 failed 0",
        "changed 0 failed 0",
    ];
    assert_eq!(recap(5, &dry), each(&drift), "{}{}", dry.stdout, dry.stderr);
    assert!(dry.stdout.contains("\n-element 9.9.9.9\naccess: 22/tcp: 9.9.9.9 loses\n"), "{}", dry.stdout);
    let third = roll(&fleet, &ansible, OPEN, &[]);
    let mended = drift.map(|one| if one == "changed 1 failed 0" { "changed 2 failed 0" } else { one });
    assert_eq!(recap(5, &third), each(&mended), "{}{}", third.stdout, third.stderr);
    assert!(!holds(&fleet, 3, "9.9.9.9"));
}

#[test]
fn a_host_that_is_locked_out_stops_the_roll_and_comes_back_by_itself() {
    let Some(ansible) = ansible() else { return eprintln!("left out: there is no Ansible below target/clients") };
    let fleet = Fleet::new(4);
    let first = roll(&fleet, &ansible, OPEN, &[]);
    assert_eq!(recap(4, &first), each(&["changed 2 failed 0"; 4]), "{}{}", first.stdout, first.stderr);
    // Host 1 is let in by another line, so that the second batch is the one that fails.
    let shut = "version: 1\ngroups: { control: 10.9.0.253 }\nservices: { ssh: { ports: 22/tcp, from: control } }\n";
    let content = "palisade_policy_content={{ lookup('ansible.builtin.file', inventory_dir ~ '/policy.yaml') | replace('10.9.0.253', \
                   '10.9.0.254' if inventory_hostname == 'host1' else '10.9.0.253') }}";

    // Without force the host itself refuses it, before anything is changed.
    let refused = roll(&fleet, &ansible, shut, &["-e", content]);
    let stops = each(&["changed 0 failed 0", "changed 0 failed 1", "changed 0 failed 1", "untouched"]);
    assert_eq!(recap(4, &refused), stops, "{}{}", refused.stdout, refused.stderr);
    assert!(refused.stdout.contains("the policy is refused: "), "{}", refused.stdout);
    assert!(refused.stdout.contains("could not connect again"), "{}", refused.stdout);

    let begun = Instant::now();
    let forced = roll(&fleet, &ansible, shut, &["-e", content, "-e", "palisade_force=true"]);
    assert_eq!(recap(4, &forced), stops, "{}{}", forced.stdout, forced.stderr);
    assert!(holds(&fleet, 2, "10.9.0.253") && !holds(&fleet, 4, "10.9.0.253"));
    while (2..=3).any(|number| holds(&fleet, number, "10.9.0.253")) {
        assert!(begun.elapsed() < Duration::from_secs(90), "they are not undone");
        std::thread::sleep(Duration::from_millis(200));
    }
    let ping = fleet.ansible(&ansible.join("ansible"), &["palisade", "-m", "ansible.builtin.ping"]);
    assert_eq!((ping.status, ping.stdout.matches("SUCCESS").count()), (Some(0), 4), "{}", ping.stdout);
}

/// An older palisade, as far as it is asked.
const OLDER: &str = "#!/bin/sh
case \"$*\" in
    *--version) echo palisade 0.0.9;;
    *--json\\ status) echo '{\"active\": true, \"synced\": true}';;
    *) echo '{}';;
esac
";

/// The hosts and their states, as the page about them tells.
fn states(fleet: &Fleet) -> Vec<String> {
    let mut command = std::process::Command::new(palisade());
    command.args(["report", "--html", "-", "--fleet"]).arg(fleet.path("answers"));
    let html = output(&mut command).success();
    let rows =
        html.split("<tr><td data-of=\"host\">").skip(1).map(|row| row.split("</tr>").next().unwrap_or_default());
    let cells = rows.map(|row| {
        let mut cells = row.split("<td data-of=").map(|cell| cell.split("</td>").next().unwrap_or_default());
        let name = cells.next().unwrap_or_default();
        let state = cells.next().unwrap_or_default().split('>').nth(1).unwrap_or_default();
        format!("{name}: {}", state.split(':').next().unwrap_or_default())
    });
    cells.collect()
}

fn gather(fleet: &Fleet, ansible: &Path) {
    std::fs::create_dir_all(fleet.path("answers")).expect("the folder is writable");
    let answers = format!("palisade_answers={}", fleet.path("answers").display());
    let done = fleet.play(ansible, "palisade.palisade.gather", &["-e", &answers]);
    assert!(matches!(done.status, Some(0 | 4)), "{}{}", done.stdout, done.stderr);
}

#[test]
fn one_page_tells_of_each_host_what_it_is() {
    let Some(ansible) = ansible() else { return eprintln!("left out: there is no Ansible below target/clients") };
    let mut fleet = Fleet::new(5);
    roll(&fleet, &ansible, OPEN, &[]);
    // Host 2 is changed by hand, 3 is down, 4 has an older palisade, and 5 none of its rules.
    fleet.hosts[1].inside.nft_load("add element inet palisade control-v4 { 9.9.9.9 }");
    fleet.hosts[2].stop();
    fleet.write("older", OLDER);
    output(std::process::Command::new("chmod").arg("755").arg(fleet.path("older"))).success();
    std::fs::create_dir(fleet.path("host_vars")).expect("the folder is writable");
    let older = fleet.keys().join("older");
    std::fs::copy(fleet.path("older"), &older).expect("it can be copied");
    fleet.write("host_vars/host4.yml", &format!("palisade_executable: {}\n", older.display()));
    fleet.hosts[4].inside.nft_load("delete table inet palisade");

    gather(&fleet, &ansible);

    let expected = [
        "host3: not known",
        "host4: not known",
        "host5: not loaded",
        "host2: not as the policy says",
        "host1: as the policy says",
    ];
    assert_eq!(states(&fleet), expected);
}

/// Takes some minutes.
#[test]
#[ignore = "fifty hosts: scripts/test --long runs it"]
fn fifty_hosts_are_rolled_the_second_run_changes_nothing_and_a_host_that_is_locked_out_stops_it() {
    let Some(ansible) = ansible() else { return eprintln!("left out: there is no Ansible below target/clients") };
    let fleet = Fleet::new(50);
    let timed = |what: &str, work: &dyn Fn() -> Output| {
        let begun = Instant::now();
        let done = work();
        eprintln!("{what}: {:.0} s", begun.elapsed().as_secs_f32());
        done
    };
    let serial = [
        "-e",
        "{\"palisade_serial\": [1, 9, \"100%\"]}",
        "-e",
        "palisade_reconnect=20",
        "-e",
        "palisade_confirm=120",
    ];

    let dry = timed("checked", &|| roll(&fleet, &ansible, OPEN, &[&serial[..], &["--check", "--diff"]].concat()));
    assert!(dry.stdout.contains("is not loaded: `palisade apply` loads it"), "{}", dry.stdout);
    assert!((1..=50).all(|number| !holds(&fleet, number, "palisade")), "a check changes nothing");
    let first = timed("rolled", &|| roll(&fleet, &ansible, OPEN, &serial));
    assert_eq!(recap(50, &first), each(&["changed 2 failed 0"; 50]), "{}{}", first.stdout, first.stderr);
    let second = timed("rolled again", &|| roll(&fleet, &ansible, OPEN, &serial));
    assert_eq!(recap(50, &second), each(&["changed 0 failed 0"; 50]), "{}{}", second.stdout, second.stderr);

    let begun = Instant::now();
    gather(&fleet, &ansible);
    eprintln!("gathered: {:.0} s", begun.elapsed().as_secs_f32());
    assert_eq!(states(&fleet).iter().filter(|state| state.ends_with(": as the policy says")).count(), 50);

    // The second batch is locked out: the third is never touched.
    let shut = "version: 1\ngroups: { control: 10.9.0.253 }\nservices: { ssh: { ports: 22/tcp, from: control } }\n";
    let content = "palisade_policy_content={{ lookup('ansible.builtin.file', inventory_dir ~ '/policy.yaml') | replace('10.9.0.253', \
                   '10.9.0.254' if inventory_hostname == 'host1' else '10.9.0.253') }}";
    let more =
        ["-e", content, "-e", "palisade_force=true", "-e", "palisade_reconnect=4", "-e", "palisade_confirm=60"];
    let forced = timed("locked out", &|| roll(&fleet, &ansible, shut, &[&serial[..], &more].concat()));
    let stopped = (1..=50).map(|number| match number {
        1 => "changed 0 failed 0",
        2..=10 => "changed 0 failed 1",
        _ => "untouched",
    });
    assert_eq!(recap(50, &forced), each(&stopped.collect::<Vec<_>>()), "{}{}", forced.stdout, forced.stderr);
    let begun = Instant::now();
    while (2..=10).any(|number| holds(&fleet, number, "10.9.0.253")) {
        assert!(begun.elapsed() < Duration::from_secs(120), "they are not undone");
        std::thread::sleep(Duration::from_millis(200));
    }
    let ping = fleet.ansible(&ansible.join("ansible"), &["palisade", "-m", "ansible.builtin.ping"]);
    assert_eq!((ping.status, ping.stdout.matches("SUCCESS").count()), (Some(0), 50), "{}", ping.stdout);
}

const STEPS: &str = "
- hosts: host1
  gather_facts: false
  module_defaults:
    palisade.palisade.palisade: { policy: '{{ palisade_policy }}', executable: '{{ palisade_executable }}' }
    palisade.palisade.palisade_info: { policy: '{{ palisade_policy }}', executable: '{{ palisade_executable }}' }
  vars:
    open: \"{{ lookup('ansible.builtin.file', inventory_dir ~ '/policy.yaml') }}\"
  tasks:
    - name: It is there with its list
      palisade.palisade.palisade: { content: \"{{ open }}\\nblock: { file: drop.txt }\\n\", files: { drop.txt: \"192.0.2.7\\n\" } }
      register: loaded
    - name: What is not given is taken as it is there
      palisade.palisade.palisade: { content: \"{{ open }}\\nblock: { file: drop.txt }\\n# a comment\\n\" }
      register: comment
    - name: Files that are included are taken as they are there, too
      palisade.palisade.palisade:
        content: \"{{ open }}\\ninclude: [shared/a.yaml]\\n\"
        files: { shared/a.yaml: \"version: 1\\ninclude: b.yaml\\n\", shared/b.yaml: \"version: 1\\ngroups: { more: 192.0.2.8 }\\n\" }
      register: included
    - name: With another line in the policy
      palisade.palisade.palisade: { content: \"{{ open }}\\ninclude: [shared/a.yaml]\\nblock: more\\n\" }
      register: blocked
    - name: As before
      palisade.palisade.palisade: { content: \"{{ open }}\\nblock: { file: drop.txt }\\n# a comment\\n\" }
    - name: A mistake is refused with its line
      palisade.palisade.palisade: { content: \"{{ open }}\\nblock: nobody\\n\" }
      ignore_errors: true
      register: mistake
    - name: A file elsewhere is none of the policy's
      palisade.palisade.palisade: { files: { ../shadow: x } }
      ignore_errors: true
      register: elsewhere
    - name: A policy is checked
      palisade.palisade.palisade: { content: \"{{ open }}\", state: checked }
      register: checked
    - name: What the host holds
      palisade.palisade.palisade_info: { gather: [status, diff, exposure, denied] }
      register: info
    - name: Nothing waits
      palisade.palisade.palisade: { state: confirmed }
      register: confirmed
    - name: The old connection proves nothing
      palisade.palisade.palisade: { content: \"{{ open }}\\n\", confirm: 60 }
      register: waits
    - name: Nothing else is loaded while one waits, and the file stays
      palisade.palisade.palisade: { content: \"{{ open }}\\n# another\\n\" }
      ignore_errors: true
      register: another
    - name: The file
      ansible.builtin.slurp: { src: '{{ palisade_policy }}' }
      register: file
    - name: It is refused
      palisade.palisade.palisade: { state: confirmed }
      ignore_errors: true
      register: refused
    - name: By a new one
      palisade.palisade.palisade: { state: confirmed }
      vars: { ansible_ssh_args: '-o ControlMaster=no -o ControlPath=none' }
      register: kept
    - name: It is gone
      palisade.palisade.palisade: { state: absent }
      register: gone
    - name: It is gone already
      palisade.palisade.palisade: { state: absent }
      register: again
    - name: As it should be
      ansible.builtin.assert:
        that:
          - loaded.changed and loaded.operations > 0 and not loaded.in_sync and loaded.pending is none
          - comment.changed and comment.operations == 0 and comment.in_sync
          - included.changed and blocked.changed and blocked.operations > 0
          - mistake.failed and mistake.msg is search('^/run/policy/policy.yaml.4. there is no group `nobody`')
          - mistake.problems[0].line == 4
          - elsewhere.failed and elsewhere.msg is search('../shadow is not beside the policy')
          - not checked.changed
          - info.status.active and info.status.in_sync and info.diff.in_sync and not info.changed
          - info.exposure.ports | selectattr('port', 'equalto', 22) | list | length > 0
          - not confirmed.changed
          - waits.changed and waits.pending.seconds > 40 and waits.pending.seconds <= 60
          - another.failed and another.msg is search('waits for confirmation')
          - (file.content | b64decode) == open ~ '\\n'
          - refused.failed and refused.msg is search('new SSH connection')
          - kept.changed
          - gone.changed and not again.changed
";

#[test]
fn the_modules_say_what_they_have_done_and_leave_what_is_refused_as_it_was() {
    let Some(ansible) = ansible() else { return eprintln!("left out: there is no Ansible below target/clients") };
    modules_say_what_they_have_done(&ansible);
}

#[test]
fn with_the_ansible_of_debian_12_modules_role_and_play_do_the_same() {
    let Some(ansible) = ansible_of_debian_12() else {
        return eprintln!("left out: there is no Ansible 2.14 below target/clients");
    };
    modules_say_what_they_have_done(&ansible);
    let fleet = Fleet::new(3);
    for changed in ["changed 2 failed 0", "changed 0 failed 0"] {
        let done = roll(&fleet, &ansible, OPEN, &[]);
        assert_eq!(recap(3, &done), each(&[changed; 3]), "{}{}", done.stdout, done.stderr);
    }
    gather(&fleet, &ansible);
    assert_eq!(states(&fleet), (1..=3).map(|number| format!("host{number}: as the policy says")).collect::<Vec<_>>());
}

#[track_caller]
fn modules_say_what_they_have_done(ansible: &Path) {
    let fleet = Fleet::new(1);
    fleet.write("policy.yaml", OPEN);
    fleet.write("steps.yml", STEPS);

    let done = fleet.play(ansible, "steps.yml", &[]);

    assert_eq!(done.status, Some(0), "{}{}", done.stdout, done.stderr);
    let there = format!("cat {POLICY} {}", POLICY.replace("policy.yaml", "drop.txt"));
    let read = fleet.ansible(&ansible.join("ansible"), &["host1", "-m", "ansible.builtin.command", "-a", &there]);
    assert!(read.stdout.contains(&format!("{OPEN}192.0.2.7\n")), "{}", read.stdout);
}
