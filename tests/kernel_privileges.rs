//! What palisade does without the rights, and what it gives up when it has them.

mod support;

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::Path;
use std::process::{Command, Stdio};
use support::lab::Lab;
use support::namespace::{Output, output};
use support::program::palisade;

/// `nobody`, who has no rights at all.
const NOBODY: u32 = 65_534;

/// A lab whose policies all may read, and a palisade that all may run.
fn readable_lab() -> Lab {
    let lab = Lab::new();
    let folder = lab.policy("");
    let above = folder.parent().expect("the lab's scratch folder");
    for path in [above, &folder] {
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).expect("the scratch folder is root's");
    }
    let program = lab.policy("palisade");
    fs::copy(palisade(), &program).expect("palisade can be copied");
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).expect("the copy is root's");
    lab
}

/// Palisade as `nobody`, on the host of the lab, where the package keeps palisade's state in a folder for root alone.
fn as_nobody(lab: &Lab, before: &[&str], arguments: &[&str]) -> Output {
    let mut command = lab.in_its_own_state("setpriv");
    command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]).args(before);
    output(
        command.arg(lab.policy("palisade")).arg("--policy").arg(lab.policy("three-addresses.yaml")).args(arguments),
    )
}

#[test]
fn whoever_may_read_the_policy_may_check_and_show_it() {
    let lab = readable_lab();
    let man = lab.policy("man");
    fs::create_dir(&man).expect("a folder");
    chown(&man, Some(NOBODY), Some(NOBODY)).expect("root may give away");
    let man = man.display().to_string();
    let path = lab.policy("three-addresses.yaml").display().to_string();

    let checked = as_nobody(&lab, &[], &["check"]).success();
    let proof =
        "its 4 expectations are proved, assuming that containers are behind the interfaces that `containers` names";
    assert_eq!(checked, format!("{path} is valid; the kernel was not asked, which needs root\n{proof}\n"));
    assert_eq!(
        as_nobody(&lab, &[], &["check", "--json"]).success(),
        "{\"format_version\":1,\"kernel\":\"not asked\",\"notes\":[],\"problems\":[],\"valid\":true,\"warnings\":[]}\n"
    );
    for arguments in [&["show"][..], &["schema"], &["completions", "bash"]] {
        let root = output(Command::new(palisade()).arg("--policy").arg(&path).args(arguments)).success();
        assert_eq!(as_nobody(&lab, &[], arguments).success(), root, "{arguments:?}");
        assert!(!root.is_empty());
    }
    assert_eq!(as_nobody(&lab, &[], &["man", &man]).success(), "");
    assert!(Path::new(&man).join("palisade.8").exists());
}

#[test]
fn whoever_may_not_change_the_firewall_is_told_which_capability_is_missing() {
    let lab = readable_lab();
    lab.palisade("three-addresses.yaml", &["apply"]).success();
    let before = lab.host.nft_list();
    let commands: [&[&str]; 18] = [
        &["apply"],
        &["diff"],
        &["status"],
        &["disable", "--yes"],
        &["explain", "22/tcp", "--from", "192.0.2.1", "--planned"],
        &["exposure"],
        &["denied"],
        &["suggest", "192.0.2.1"],
        &["doctor"],
        &["report", "--html", "-"],
        &["metrics"],
        &["rollback"],
        &["confirm"],
        &["boot"],
        &["refresh"],
        &["block", "192.0.2.1"],
        &["import", "nft"],
        &["import", "docker-user"],
    ];
    for arguments in commands {
        let name = arguments[0];
        let sentence = format!(
            "`palisade {name}` needs the capability CAP_NET_ADMIN, which this process does not have: run it as root"
        );
        let done = as_nobody(&lab, &[], arguments);
        assert_eq!((done.status, done.stdout, done.stderr), (Some(1), String::new(), format!("error: {sentence}\n")));
        let done = as_nobody(&lab, &[], &[arguments, &["--json"]].concat());
        let json = serde_json::json!({ "error": sentence, "format_version": 1 });
        assert_eq!(
            (done.status, done.stdout, done.stderr),
            (Some(1), format!("{json}\n"), format!("error: {sentence}\n"))
        );
    }
    assert_eq!(lab.host.nft_list(), before);
}

#[test]
fn what_is_kept_is_not_said_to_be_nothing_to_who_may_not_read_it() {
    let lab = readable_lab();
    lab.palisade("three-addresses.yaml", &["apply"]).success();

    let listed = as_nobody(&lab, &[], &["rollback", "--list"]);

    let error = "error: /var/lib/palisade/rulesets may not be read by this user\n".to_owned();
    assert_eq!((listed.status, listed.stdout, listed.stderr), (Some(1), String::new(), error));
}

/// The lines of `/proc/PID/status` that tell what a thread may do, and what it can get.
const GIVEN_UP: [&str; 8] = ["Name", "CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb", "NoNewPrivs", "Seccomp"];

fn of_status<'s>(status: &'s str, name: &str) -> &'s str {
    status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(":\t")).unwrap_or("missing")
}

#[test]
fn root_keeps_one_capability_once_the_files_are_read() {
    let lab = Lab::new();
    lab.palisade("three-addresses.yaml", &["apply"]).success();
    let begun = format!("echo $$; exec {} disable", palisade());
    let mut script = lab.host.command("script");
    script.args(["--quiet", "--return", "--command", &begun, "/dev/null"]);
    script.env("TERM", "xterm");
    let mut script = script.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("bsdutils is installed");
    let mut terminal = BufReader::new(script.stdout.take().expect("it was piped"));
    let mut pid = String::new();
    terminal.read_line(&mut pid).expect("the shell says its number");
    let mut asked = Vec::new();
    // The question does not end its line.
    terminal.read_until(b']', &mut asked).expect("palisade asks");

    let threads = fs::read_dir(format!("/proc/{}/task", pid.trim())).expect("it waits for an answer").flatten();
    let mut threads: Vec<_> = threads
        .map(|thread| fs::read_to_string(thread.path().join("status")).expect("it waits for an answer"))
        .map(|status| GIVEN_UP.map(|name| of_status(&status, name)).join(" "))
        .collect();
    threads.sort();
    drop(script.stdin.take());
    let mut rest = String::new();
    terminal.read_to_string(&mut rest).expect("it ends");

    let none = "0000000000000000";
    let net_admin = "0000000000001000";
    assert_eq!(
        threads,
        [
            format!("palisade {none} {net_admin} {net_admin} {none} {none} 1 2"),
            format!("progress {none} {none} {none} {none} {none} 1 2"),
        ]
    );
    assert_eq!(
        String::from_utf8_lossy(&asked),
        "Remove table inet palisade? Everything that only palisade denies will be open. [y/N]"
    );
    assert_eq!(script.wait().expect("it ended").code(), Some(1));
    assert!(rest.contains("error: not disabled"), "{rest}");
    assert_ne!(lab.host.nft_list(), "");
}

/// Makes a root of one's own, as a container without privileges has one, in which every file is this user's.
const OWN_ROOT: &str = "set -e
    mount -t tmpfs none /mnt
    cd /mnt
    mkdir usr etc
    mount --rbind /usr usr
    for link in bin lib lib64; do ln -s usr/$link $link; done
    cp \"$0\" palisade
    printf 'version: 1\\nservices: { ssh: { ports: 22/tcp, from: any } }\\n' >etc/policy.yaml
    for command in apply apply diff check disable\\ --yes; do
        chroot . /palisade --policy /etc/policy.yaml $command
    done";

#[test]
fn in_a_container_of_its_own_a_user_without_privileges_has_a_firewall_of_its_own() {
    let lab = readable_lab();
    let before = lab.host.nft_list();

    let mut command = lab.host.command("setpriv");
    command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]);
    command.args(["unshare", "--user", "--map-root-user", "--net", "--mount", "sh", "-c", OWN_ROOT]);
    let said = output(command.arg(lab.policy("palisade"))).success();

    let (first, rest) = said.split_once('\n').expect("several lines");
    assert!(first.starts_with("applied: ") && first.ends_with(" operations, verified"), "{said}");
    assert_eq!(
        rest,
        "nothing to do: the kernel already holds this policy\n\
         /etc/policy.yaml is valid, and the kernel accepts it\n\
         table inet palisade is gone: palisade restricts nothing now\n"
    );
    assert_eq!(lab.host.nft_list(), before);
}
