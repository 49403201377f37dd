//! Tells whether a policy would lock its operator out.
//!
//! It asks the compiled rules, not the policy's text: they must pass the first packet of a new connection like the
//! session's. Other tables can drop it, too, see [`Beside`].

mod beside;
pub mod sessions;

pub use beside::Beside;

use crate::compile::leads_to_containers;
use crate::machine::Session;
use crate::net::IfName;
use crate::printable::printable;
use crate::ruleset::{Expr, Hook, KeyType, MetaKey, Set, SetRef, Table, TableId, provenance::without_prefix};
use crate::simulate::{AsListed, Interface, Packet, Step, Trace, Translation, Transport, Verdict, simulate_table};
use std::collections::BTreeSet;
use std::fmt;
use std::net::IpAddr;

/// A session that could not connect again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lockout {
    /// The session.
    pub session: Session,
    /// The sentence of the denying rule, with its line: `what else comes in is denied (policy.yaml:4)`.
    pub denied_by: String,
    /// The line of `services` that would let it in; `None` if the session is blocked, which overrides every service,
    /// or if another program's rules drop it.
    pub service: Option<String>,
    /// The remedy for a drop that is not palisade's; `None` if it is palisade's.
    pub elsewhere: Option<String>,
}

impl fmt::Display for Lockout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { session, service, elsewhere, .. } = self;
        let denied_by = printable(&self.denied_by);
        write!(f, "{session} could not connect again.\nDenied by: {denied_by}\n")?;
        match (service, elsewhere) {
            (Some(service), _) => write!(f, "To let it in, add to the policy:\n\n  services:\n    {service}\n"),
            (None, Some(remedy)) => writeln!(f, "No line of the policy would let it in: {remedy}."),
            (None, None) => writeln!(
                f,
                "`block` beats every service: take {}, or what it is a part of, out of `block`.",
                session.client
            ),
        }
    }
}

/// The sessions that could not connect again.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct Lockouts(pub Vec<Lockout>);

impl fmt::Display for Lockouts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.iter().all(|lockout| lockout.elsewhere.is_some()) {
            "you could not connect again, whatever the policy says: "
        } else {
            "this policy would lock you out: "
        })?;
        f.write_str("nothing was changed, the old rules are in force\n\n")?;
        self.0.iter().try_for_each(|lockout| writeln!(f, "{lockout}"))?;
        f.write_str("To load it all the same: palisade apply --force")
    }
}

impl Lockouts {
    /// Why a kept ruleset is refused. Suggests no line for the policy, since another ruleset would be loaded.
    #[must_use]
    pub fn of_ruleset(&self, number: u32) -> String {
        let mut text =
            format!("ruleset {number} would lock you out: nothing was changed, the present rules are in force\n\n");
        for Lockout { session, denied_by, .. } in &self.0 {
            text.push_str(&format!("{session} could not connect again.\nDenied by: {}\n\n", printable(denied_by)));
        }
        text + &format!("To go back to it all the same: palisade rollback --to {number} --force")
    }
}

/// Fails if the session that this process is run from could not connect again under a table.
///
/// For other people's sessions it logs a warning with the rule, but suggests no line to let them in: whether to is
/// the operator's decision. If it can't be told, it warns and does not fail.
///
/// # Errors
/// This process's own sessions that could not connect again, with the rules that deny them and the lines to add.
pub fn check(id: &TableId, table: &Table, sessions: &[Session]) -> Result<(), Lockouts> {
    check_all(id, table, sessions, None)
}

/// Like [`check`], with the tables of others.
///
/// # Errors
/// As [`check`].
pub fn check_beside(id: &TableId, table: &Table, sessions: &[Session], beside: &Beside<'_>) -> Result<(), Lockouts> {
    check_all(id, table, sessions, Some(beside))
}

fn check_all(id: &TableId, table: &Table, sessions: &[Session], beside: Option<&Beside<'_>>) -> Result<(), Lockouts> {
    let mut lockouts = Vec::new();
    for session in sessions {
        match lockout(id, table, session, beside) {
            Some(lockout) if session.own => lockouts.push(lockout),
            Some(lockout) => lockout.warn(),
            None => {}
        }
    }
    if lockouts.is_empty() { Ok(()) } else { Err(Lockouts(lockouts)) }
}

/// Why a session could not connect again, if that is certain.
fn lockout(id: &TableId, table: &Table, session: &Session, beside: Option<&Beside<'_>>) -> Option<Lockout> {
    match locked_out(id, table, session) {
        Some(trace) if trace.outcomes.never_pass() => return Some(Lockout::new(table, session, &trace)),
        Some(trace) => {
            let doubt = trace.doubt().map_or("the rules can't be followed", |doubt| doubt);
            tracing::warn!("{session}: can't tell whether it could connect again: {doubt}");
        }
        None => {}
    }
    let beside = beside?;
    let dropped = beside.drops(session);
    if let (None, Some(doubt)) = (&dropped, beside.doubt(session)) {
        tracing::info!("{session}: can't tell what the tables of others do to it: {doubt}");
    }
    dropped.map(|dropped| Lockout {
        session: session.clone(),
        denied_by: dropped.by,
        service: None,
        elsewhere: Some(dropped.remedy),
    })
}

/// The rules' verdict on a new connection like the session's; `None` if they let it in. If the interface is unknown,
/// only a verdict that is the same on every interface but the loopback is certain.
#[must_use]
pub fn locked_out<'a>(id: &'a TableId, table: &'a Table, session: &Session) -> Option<Trace<'a>> {
    let (client, server) = (session.client, session.server);
    let asked = session.asked_for();
    let translated = session.asked.map(|_| Translation { address: server.ip(), port: Some(server.port()) });
    let packet = Packet::to_machine(client, asked.ip(), Transport::tcp(asked.port()));
    let packet = Packet { translated, ..packet };
    let on = |interface: Interface| simulate_table(id, table, &Packet { incoming: interface, ..packet.clone() });
    let trace = match &session.interface {
        Some(name) => on(Interface::Named(name.clone())),
        // A connection from a loopback address, or from the machine to itself, uses the loopback.
        None if client.is_loopback() || client == server.ip() => on(Interface::Named("lo".to_owned())),
        None => {
            let unknown = on(Interface::Unknown);
            if unknown.verdict == Verdict::Allow {
                return None;
            }
            let traces: Vec<_> = telling_apart(table).into_iter().map(|name| on(Interface::Named(name))).collect();
            if traces.iter().all(|trace| trace.outcomes.never_pass()) {
                traces.into_iter().next().unwrap_or(unknown)
            } else {
                unknown
            }
        }
    };
    (trace.verdict != Verdict::Allow).then_some(trace)
}

/// Interface names, one for each way in which the rules can tell interfaces apart: first one that no rule names, then
/// those that rules name or that begin a range, except the loopback.
fn telling_apart(table: &Table) -> Vec<String> {
    let mut named: BTreeSet<String> = BTreeSet::new();
    let of_set = |set: &Set| -> Vec<String> {
        let names = set.elements.bounds().map(|(first, _)| IfName::text(first));
        if set.spec.key == KeyType::IFNAME { names.collect() } else { Vec::new() }
    };
    named.extend(table.sets.values().flat_map(of_set));
    for rule in table.chains.values().flat_map(|chain| &chain.rules) {
        let by_interface = rule.exprs.iter().any(|expr| matches!(expr, Expr::Meta { key: MetaKey::Iifname, .. }));
        for expr in rule.exprs.iter().filter(|_| by_interface) {
            match expr {
                Expr::Cmp { data, .. } => {
                    named.insert(IfName::text(data));
                }
                Expr::Lookup { set: SetRef::Anonymous(set), .. } => named.extend(of_set(set)),
                _ => {}
            }
        }
    }
    named.remove("lo");
    // No interface can have this name.
    std::iter::once("/".to_owned()).chain(named).collect()
}

impl Lockout {
    /// Warns that the session could not connect again, where that does not stop the command.
    pub fn warn(&self) {
        tracing::warn!("{} could not connect again: {}", self.session, self.denied_by);
    }

    fn new(table: &Table, session: &Session, trace: &Trace<'_>) -> Self {
        let denying = trace.denied_by();
        let denied_by = denying.map_or_else(|| "rules that can't be followed".to_owned(), sentence);
        let blocked = denying.is_some_and(|step| step.hook == Hook::Prerouting);
        let service = (!blocked).then(|| service(table, session));
        Self { session: session.clone(), denied_by, service, elsewhere: None }
    }
}

/// A service that lets the session in, with an unused name.
fn service(table: &Table, session: &Session) -> String {
    let names = (1..).map(|number| if number == 1 { "ssh".to_owned() } else { format!("ssh-{number}") });
    let unused = |name: &String| !table.chains.contains_key(&format!("service-{name}"));
    let name = names.take(table.chains.len() + 1).find(unused).unwrap_or_default();
    let from = match session.client {
        // A service from an address does not match the container that has the address.
        _ if is_container(table, session) => "containers".to_owned(),
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) => format!("\"{address}\""),
    };
    format!("{name}: {{ ports: {}/tcp, from: {from} }}", session.asked_for().port())
}

fn is_container(table: &Table, session: &Session) -> bool {
    let interface = session.interface.as_ref().map(|name| IfName::new(name));
    interface.is_some_and(|interface| leads_to_containers(table, &AsListed, &interface) == Some(true))
}

/// The comment of a step, with its policy line; its text if it has no comment.
fn sentence(step: &Step<'_>) -> String {
    match step.comment() {
        Some(comment) => without_prefix(comment).to_owned(),
        None => format!("`{}` of chain {}", step.text(), step.chain),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compile::compile;
    use crate::facts::Facts;
    use crate::policy::parse;
    use crate::resolve::resolve;

    fn compiled(policy: &str) -> Table {
        let policy = parse(policy, "policy.yaml").policy.expect("a policy");
        let resolved = resolve(&policy, &Facts::default()).expect("a valid one");
        compile(&resolved)
    }

    fn session(client: &str, server: &str, interface: Option<&str>) -> Session {
        Session {
            client: client.parse().expect("an address"),
            client_port: 50_123,
            server: server.parse().expect("a socket address"),
            own: true,
            user: None,
            interface: interface.map(str::to_owned),
            asked: None,
        }
    }

    fn refusal(policy: &str, sessions: &[Session]) -> String {
        check(&TableId::palisade(), &compiled(policy), sessions)
            .err()
            .map(|error| error.to_string())
            .unwrap_or_default()
    }

    #[test]
    fn a_policy_without_ssh_is_refused_with_the_line_to_add() {
        let policy = "version: 1\ndefaults:\n  incoming: deny\nservices:\n  web: { ports: 80/tcp, from: any }\n";

        assert_eq!(
            refusal(policy, &[session("203.0.113.9", "203.0.113.1:22", Some("eth0"))]),
            "\
this policy would lock you out: nothing was changed, the old rules are in force

your SSH session from 203.0.113.9 to port 22 by eth0 could not connect again.
Denied by: what else comes in is denied (policy.yaml:3)
To let it in, add to the policy:

  services:
    ssh: { ports: 22/tcp, from: 203.0.113.9 }

To load it all the same: palisade apply --force"
        );
    }

    #[test]
    fn every_session_of_the_operator_that_is_locked_out_is_named() {
        let policy = "version: 1\nservices:\n  ssh: { ports: 22/tcp, from: 203.0.113.9 }\nblock: 198.51.100.0/24\n";
        let other = Session { own: false, ..session("198.51.100.8", "203.0.113.1:22", Some("eth0")) };
        let sessions = [
            session("203.0.113.9", "203.0.113.1:22", None),
            session("2001:db8::9", "[2001:db8::1]:2222", None),
            other,
            session("198.51.100.7", "203.0.113.1:22", Some("eth0")),
        ];

        let refusal = refusal(policy, &sessions);

        assert!(!refusal.contains("from 203.0.113.9"), "{refusal}");
        assert!(!refusal.contains("198.51.100.8"), "another's is not held against the operator: {refusal}");
        assert!(refusal.contains("your SSH session from 2001:db8::9 to port 2222 could"), "{refusal}");
        assert!(refusal.contains("\n    ssh-2: { ports: 2222/tcp, from: \"2001:db8::9\" }\n"), "{refusal}");
        assert!(
            refusal.contains("Denied by: blocked: from those listed (policy.yaml:4)\n`block` beats"),
            "{refusal}"
        );
    }

    #[test]
    fn the_line_that_is_named_lets_the_session_in_and_nobody_else() {
        let policies = [
            "version: 1\nservices:\n  web: { ports: 80/tcp, from: any }\n",
            "version: 1\nservices:\n  ssh: { ports: 22/tcp, from: 192.0.2.7 }\n",
            "version: 1\ndefaults: { incoming: reject }\nservices:\n  ssh: { ports: 2222/tcp, from: containers }\n",
        ];
        let sessions = [
            (session("203.0.113.9", "203.0.113.1:22", Some("eth0")), "22/tcp: 203.0.113.9 gains"),
            (session("2001:db8::9", "[2001:db8::1]:22", Some("eth0")), "22/tcp: 2001:db8::9 gains"),
        ];
        let id = TableId::palisade();
        for policy in policies {
            for (session, gains) in &sessions {
                let before = compiled(policy);
                let Lockouts(lockouts) = check(&id, &before, std::slice::from_ref(session)).expect_err("a lockout");
                let line = lockouts[0].service.as_ref().expect("a line");

                let after = compiled(&format!("{policy}  {line}\n"));

                assert_eq!(check(&id, &after, std::slice::from_ref(session)), Ok(()));
                let changes = crate::access::access_changes(&id, Some(&before), Some(&after));
                // Who comes from an address by an interface of containers is one of them.
                let changes: Vec<String> = changes.iter().map(ToString::to_string).collect();
                assert_eq!(changes, [*gains], "{policy}{line}");
            }
        }
    }

    #[test]
    fn without_an_interface_only_what_all_of_them_say_is_certain() {
        let lan = "version: 1\nservices:\n  ssh: { ports: 22/tcp, from: { interface: eth1 } }\n";
        let (lan, id) = (compiled(lan), TableId::palisade());
        let verdict = |interface| {
            let session = session("203.0.113.9", "203.0.113.1:22", interface);
            locked_out(&id, &lan, &session).map(|trace| trace.verdict)
        };

        assert_eq!(verdict(Some("eth0")), Some(Verdict::Deny));
        assert_eq!(verdict(Some("eth1")), None);
        assert_eq!(verdict(None), Some(Verdict::Unknown));
        let nothing = compiled("version: 1\n");
        let of = |client| {
            let session = session(client, "127.0.0.1:22", None);
            locked_out(&id, &nothing, &session).map(|trace| trace.verdict)
        };
        assert_eq!(of("203.0.113.9"), Some(Verdict::Deny));
        assert_eq!(of("127.0.0.1"), None);
    }

    #[test]
    fn a_session_of_a_container_is_let_in_as_one() {
        let sessions = [session("172.17.0.2", "172.17.0.1:22", Some("docker0"))];

        let refusal = refusal("version: 1\n", &sessions);

        assert!(refusal.contains("\n    ssh: { ports: 22/tcp, from: containers }\n"), "{refusal}");
    }

    #[test]
    fn an_interface_has_no_name_that_a_terminal_would_obey() {
        let sessions = [session("203.0.113.9", "203.0.113.1:22", Some("\u{1b}[2J\n\u{202e}"))];

        let refusal = refusal("version: 1\n", &sessions);

        let named =
            "your SSH session from 203.0.113.9 to port 22 by \\u{1b}[2J\\u{a}\\u{202e} could not connect again.\n";
        assert!(refusal.contains(named), "{refusal}");
        assert!(!refusal.contains(|c| crate::printable::is_invisible(c) && c != '\n'), "{refusal}");
    }
}
