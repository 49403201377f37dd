//! What is in force after a boot that finds things not as they should be, and what the unit says about it.
#![allow(missing_docs)]

mod support;

use support::lab::{CLIENT, HOST, without_live};
use support::nspawn::{EARLY, Machine, Suite};
use support::probe::{Outcome, PATIENCE, SILENCE, Target};

const POLICY: &str = "/etc/palisade/policy.yaml";
/// Neither the packaged policy nor a lockdown allows what this one does.
const OPENS_EARLY: &str =
    "version: 1\nservices:\n  early: { ports: 4444/tcp, from: any }\n  ssh: { ports: 22/tcp, from: any }\n";
const BROKEN: &str = "version: 1\nservices:\n  ssh: { ports: 22, from: any }\n";
const EMPTY_VAR_LIB: &str = "rm -rf /var/lib/* && test -d /var/lib";

/// Whether the early listener answers the client, over IPv4 and IPv6 alike.
#[track_caller]
fn early_answers(machine: &Machine, wait: std::time::Duration) -> bool {
    let outcomes: Vec<Outcome> = CLIENT
        .into_iter()
        .zip(HOST)
        .map(|(from, to)| machine.client.probe(Target::Tcp(EARLY), from, to, wait))
        .collect();
    assert_eq!(outcomes[0], outcomes[1], "over IPv4 and over IPv6");
    outcomes[0] == Outcome::Connected
}

/// Fails unless the unit has said this of what it loaded, in the journal and on the console, and that is in force: SSH is
/// answered, and the early listener if and only if `early`.
#[track_caller]
fn assert_loaded(machine: &Machine, said: &str, early: bool) {
    let journal = machine.journal();
    assert!(journal.contains(said), "the journal does not say {said:?}:\n{journal}");
    machine.wait_for_console(said);
    let errors = machine.run("journalctl --boot --unit palisade --priority err --output cat --no-pager");
    let is_the_policy = said.starts_with("loaded the policy");
    assert_eq!(errors.contains(said), !is_the_policy, "what is not the policy is an error: {errors}");
    machine.assert_ssh_answers();
    assert_eq!(early_answers(machine, if early { PATIENCE } else { SILENCE }), early, "{journal}");
}

fn machine_with_policy(policy: &str) -> Machine {
    let machine = Machine::with_palisade(Suite::Bookworm);
    machine.write(POLICY, policy);
    machine
}

/// One that has had a policy in force that opens the early listener's port.
#[track_caller]
fn machine_with_a_last_good_ruleset() -> Machine {
    let mut machine = machine_with_policy(OPENS_EARLY);
    assert_eq!(machine.boot(&[]), "running", "{}", machine.console());
    assert_loaded(&machine, "loaded the policy, /etc/palisade/policy.yaml", true);
    machine.power_off();
    machine
}

#[test]
fn with_a_broken_policy_the_last_good_ruleset_is_loaded() {
    let mut machine = machine_with_a_last_good_ruleset();
    machine.write(POLICY, BROKEN);

    machine.boot(&[]);

    assert_loaded(&machine, "loaded the last good ruleset, since the policy is not valid: ", true);
}

#[test]
fn with_no_policy_the_last_good_ruleset_is_loaded() {
    let mut machine = machine_with_a_last_good_ruleset();
    machine.chroot(&format!("rm {POLICY}"));

    machine.boot(&[]);

    assert_loaded(&machine, "loaded the last good ruleset, since ", true);
}

#[test]
fn with_a_broken_policy_and_nothing_kept_all_but_ssh_is_denied() {
    let mut machine = machine_with_policy(BROKEN);

    machine.boot(&[]);

    assert_loaded(&machine, "loaded a lockdown", false);
}

#[test]
fn with_no_policy_and_an_empty_var_lib_all_but_ssh_is_denied() {
    let mut machine = machine_with_a_last_good_ruleset();
    machine.chroot(&format!("rm -r /etc/palisade; {EMPTY_VAR_LIB}"));

    machine.boot(&[]);

    assert_loaded(&machine, "loaded a lockdown", false);
}

#[test]
fn with_an_empty_var_lib_the_policy_is_loaded_and_kept() {
    let mut machine = machine_with_policy(OPENS_EARLY);
    machine.chroot(EMPTY_VAR_LIB);

    machine.boot(&[]);

    assert_loaded(&machine, "loaded the policy, /etc/palisade/policy.yaml", true);
    assert_eq!(machine.run("stat --format '%a %U' /var/lib/palisade"), "700 root\n");
    machine.power_off();
    machine.write(POLICY, BROKEN);
    machine.boot(&[]);
    assert_loaded(&machine, "loaded the last good ruleset, since the policy is not valid: ", true);
}

#[test]
fn with_a_read_only_root_the_policy_is_loaded() {
    let mut machine = machine_with_policy(OPENS_EARLY);
    machine.chroot(EMPTY_VAR_LIB);

    machine.boot(&["--read-only"]);

    assert_loaded(&machine, "loaded the policy, /etc/palisade/policy.yaml", true);
    assert_ne!(machine.shell("touch /etc/palisade/file").status, Some(0), "the root is read-only");
}

#[test]
fn with_a_read_only_root_and_a_broken_policy_the_last_good_ruleset_is_loaded() {
    let mut machine = machine_with_a_last_good_ruleset();
    machine.write(POLICY, BROKEN);

    machine.boot(&["--read-only"]);

    assert_loaded(&machine, "loaded the last good ruleset, since the policy is not valid: ", true);
}

#[test]
fn with_a_read_only_root_and_nothing_to_load_all_but_ssh_is_denied() {
    let mut machine = machine_with_policy(BROKEN);
    machine.chroot(EMPTY_VAR_LIB);

    machine.boot(&["--read-only"]);

    assert_loaded(&machine, "loaded a lockdown", false);
}

/// Nobody reaches sshd, and a name server is blocked: `apply` asks for `--force`, and a boot for nothing.
#[test]
fn a_policy_that_apply_refuses_on_this_machine_is_loaded() {
    let refused = "version: 1\nservices:\n  early: { ports: 4444/tcp, from: any }\nblock: 192.0.2.53\n";
    let mut machine = machine_with_policy(refused);
    machine.chroot("rm -f /etc/resolv.conf && echo nameserver 192.0.2.53 >/etc/resolv.conf");

    let state = machine.boot(&[]);

    let journal = machine.journal();
    assert_eq!(state, "running", "{journal}");
    assert!(journal.contains("loaded the policy, /etc/palisade/policy.yaml"), "{journal}");
    assert!(early_answers(&machine, PATIENCE), "{journal}");
    machine.run("palisade diff");
    let apply = machine.shell("palisade apply");
    assert_eq!(apply.status, Some(1), "{}", apply.stderr);
    for why in ["error: nobody could reach this machine by SSH", "error: `block` covers 192.0.2.53, a name server"] {
        assert!(apply.stderr.contains(why), "no {why:?} in {}", apply.stderr);
    }
}

#[test]
fn stopping_restarting_and_reloading_the_unit_never_open_the_machine() {
    let mut machine = Machine::with_palisade(Suite::Bookworm);
    machine.boot(&[]);
    let rules = |machine: &Machine| without_live(&machine.run("nft --stateless list ruleset"));
    let loaded = rules(&machine);
    assert!(!early_answers(&machine, SILENCE), "{loaded}");

    for verb in ["stop", "start", "restart", "reload", "stop"] {
        machine.run(&format!("systemctl {verb} palisade"));

        assert_eq!(rules(&machine), loaded, "after systemctl {verb}");
        assert!(!early_answers(&machine, SILENCE), "after systemctl {verb}");
        machine.assert_ssh_answers();
    }
}
