//! Palisade itself: its policy, what is loaded of it, and what happens at boot.

use super::{Facts, Finding, command, error, warning};
use crate::machine::UnitState;
use crate::resolve::Resolved;

/// A policy, or what is wrong with it.
#[derive(Clone, Debug)]
pub enum PolicyState<'p> {
    /// It is valid.
    Valid(&'p Resolved),
    /// There is none.
    Missing {
        /// What to do.
        help: Option<String>,
    },
    /// Someone else could have written it.
    Writable {
        /// What can be written, and by whom.
        message: String,
        /// The command that changes that.
        help: Option<String>,
    },
    /// It can't be read, does not mean anything, or does not do what it says is expected of it: the first problem.
    Invalid {
        /// How many problems there are.
        problems: usize,
        /// The first one.
        message: String,
        /// The line it is at, `policy.yaml:17`.
        at: Option<String>,
    },
}

impl<'p> PolicyState<'p> {
    /// The policy, where there is one.
    pub(super) fn valid(&self) -> Option<&'p Resolved> {
        if let Self::Valid(policy) = self { Some(policy) } else { None }
    }
}

/// Whether this kernel takes the policy's rules.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kernel {
    /// It was tried in a namespace where no packet comes, or there is nothing to try.
    Takes,
    /// It refuses them, in a sentence that names the object and the kernel's reason.
    Refuses(String),
}

/// How what is loaded compares with the policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loaded {
    /// There is no table of palisade's.
    Nothing,
    /// There is one, and no policy to compare it with.
    Something,
    /// It is the policy.
    Policy,
    /// It differs in so many places.
    Differs(usize),
}

pub(super) fn examine(facts: &Facts<'_>, findings: &mut Vec<Finding>) {
    findings.extend(policy(facts));
    findings.extend(kernel(facts));
    findings.extend(loaded(facts));
    findings.extend(boot(facts));
    findings.extend(facts.waits.as_ref().map(|left| {
        warning(
            "waits-for-confirmation",
            format!("a change waits for confirmation and is undone in {left}: what is loaded now does not stay"),
            "`palisade confirm` from a new connection keeps it, `palisade rollback` undoes it now",
        )
    }));
}

fn policy(facts: &Facts<'_>) -> Option<Finding> {
    let path = facts.path;
    Some(match &facts.policy {
        PolicyState::Valid(_) => return None,
        PolicyState::Missing { help } => error(
            "policy-missing",
            format!(
                "there is no policy: {path} does not exist, and the next boot loads the last good ruleset, or a lockdown"
            ),
            help.clone().unwrap_or_else(|| format!("write {path}, then `palisade check`")),
        ),
        PolicyState::Writable { message, help } => error(
            "policy-writable",
            format!("{message}; palisade refuses such a policy, and the next boot does not load it"),
            help.clone().unwrap_or_default(),
        ),
        PolicyState::Invalid { problems, message, at } => {
            let at = at.as_ref().map(|at| format!(" ({at})")).unwrap_or_default();
            let more = match problems {
                0 | 1 => String::new(),
                2 => ", and another problem".to_owned(),
                more => format!(", and {} more problems", more - 1),
            };
            error(
                "policy-invalid",
                format!("the policy can't be loaded, nor is it at the next boot: {message}{at}{more}"),
                command("palisade --policy ", path, " check").unwrap_or_else(|| "`palisade check`".to_owned())
                    + " says what is wrong with it and what to write instead",
            )
        }
    })
}

fn kernel(facts: &Facts<'_>) -> Option<Finding> {
    let Kernel::Refuses(why) = &facts.kernel else { return None };
    Some(error(
        "kernel-refuses",
        format!("this kernel lacks something of nf_tables that the policy needs: {why}"),
        "Linux 5.13 or newer with the modules of nf_tables; where they can't be loaded any more, name them in \
         /etc/modules-load.d/ and reboot",
    ))
}

fn loaded(facts: &Facts<'_>) -> Option<Finding> {
    Some(match facts.loaded {
        Loaded::Policy | Loaded::Something => return None,
        Loaded::Nothing => error(
            "not-loaded",
            "nothing of palisade's is loaded: this machine is as open as its other firewalls leave it",
            "`palisade apply`",
        ),
        Loaded::Differs(places) => {
            let places = if places == 1 { "one place".to_owned() } else { format!("{places} places") };
            error(
                "out-of-sync",
                format!(
                    "the kernel differs from the policy in {places}: somebody has changed one of them since it was applied"
                ),
                "`palisade diff` shows where, `palisade apply` makes the kernel match",
            )
        }
    })
}

fn boot(facts: &Facts<'_>) -> Option<Finding> {
    let open = "and the machine is open after the next boot";
    let (message, help) = match facts.boot? {
        UnitState::Enabled => return None,
        UnitState::Disabled => (
            format!("palisade.service is not enabled: nothing loads the policy at boot, {open}"),
            "`systemctl enable palisade`",
        ),
        UnitState::Masked => (
            format!("palisade.service is masked: systemd never starts it, {open}"),
            "`systemctl unmask palisade && systemctl enable palisade`",
        ),
        UnitState::Missing => (
            format!("there is no palisade.service: nothing loads the policy at boot, {open}"),
            "install the package, which has it, then `systemctl enable palisade`",
        ),
    };
    Some(error("boot-unit-disabled", message, help))
}
