//! The lockout guard against chance: random policies are applied over real SSH sessions, and whoever may go on comes in
//! again, by every road. Strangers have connections beside them, which refuse nothing.

mod support;

use palisade::desired::load_and_prove;
use palisade::names::Names;
use std::fmt;
use std::io::Read;
use std::net::TcpStream;
use support::dice::Dice;
use support::locks::Lock;
use support::namespace::Output;
use support::probe::{PATIENCE, SILENCE};
use support::roads::{ROADS, Road, Roads, strangers};
use support::sshd::Session;

/// What was found, as counts.
#[derive(Debug, Default, PartialEq, Eq)]
struct Found {
    /// Applied, and the operator got in again.
    went_on: usize,
    /// Refused as a lockout, and nobody got in when it was applied all the same.
    kept_in: usize,
    /// Of these, the policy was applied with what the refusal names, and the operator got in again.
    remedied: usize,
    /// Refused for another reason: this machine would not get on with the policy.
    misfits: usize,
    /// Palisade could not tell.
    untold: usize,
    /// The rules of others had ended the session before.
    ended: usize,
    /// Wrong verdicts, each with its case.
    wrong: Vec<String>,
}

impl fmt::Display for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { went_on, kept_in, remedied, misfits, untold, ended, wrong } = self;
        let counts = format!(
            "{went_on} went on, {kept_in} kept in ({remedied} of them remedied), {misfits} misfits, {untold} untold, {ended} ended"
        );
        writeln!(f, "{counts}, {} wrong", wrong.len())?;
        wrong.iter().try_for_each(|wrong| writeln!(f, "{wrong}"))
    }
}

/// Tries so many random changes, by every road in turn.
fn tries(count: usize) -> Found {
    let (roads, mut dice, mut found) = (Roads::new(), Dice::new(), Found::default());
    roads.served.lab.add_addresses(strangers().map(|(own, _)| own));
    let first = *dice.choose(&[0, 4, 8, 12]);
    for number in 0..count {
        let road = ROADS[(first + number) % ROADS.len()];
        let lock = valid(&roads, &mut dice, road);
        if let Err(why) = one(&roads, road, &lock, &mut found) {
            let Lock { before, policy, list, others } = lock;
            let case = format!("before: {before:?}\nothers: {others:?}\nlist: {list:?}\n{policy}");
            eprintln!("--- {number}, {}: {why}\n{case}", road.name);
            found.wrong.push(format!("{number}, {}: {why}", road.name));
        }
        if number % 20 == 19 {
            eprintln!("after {}: {found}", number + 1);
        }
    }
    eprintln!("{found}");
    found
}

/// A policy that is valid, and lies beside its list.
fn valid(roads: &Roads, dice: &mut Dice, road: Road) -> Lock {
    loop {
        let lock = Lock::next(dice, road);
        roads.served.lab.write_policy("list", &lock.list);
        let path = roads.served.lab.write_policy("policy.yaml", &lock.policy);
        if load_and_prove(&path, &Names::default()).is_ok() {
            return lock;
        }
    }
}

/// Applies a policy over a session, and holds what is said of it against a new connection.
fn one(roads: &Roads, road: Road, lock: &Lock, found: &mut Found) -> Result<(), String> {
    let mut session = begin(roads, road, lock);
    let idle = idle(roads);
    let others = lock.others.unwrap_or_default();
    roads.served.lab.host.nft_load(&format!("table inet others {{ {others}\n }}"));

    if session.says("echo lasts\n") != "lasts|\n" {
        found.ended += 1;
        return Ok(());
    }
    let said = applies(roads, &mut session);

    if strangers().iter().any(|(own, _)| said.contains(&format!("session of root from {own} "))) {
        return Err(format!("a stranger is named: {said}"));
    }
    if said.contains("applied: ") || said.contains("nothing to do") {
        return goes_on(roads, road, &mut session, &said, found);
    }
    let locks_out = said.contains("could not connect again.\n");
    if locks_out {
        found.kept_in += 1;
        remedied(roads, road, &mut session, (lock, &said), found)?;
    } else if said.contains("error: ") {
        found.misfits += 1;
    } else {
        return Err(format!("the session is cut while it applies: {said:?}"));
    }
    let told = by_console(roads, road, locks_out);
    drop(idle);
    told.map_err(|why| format!("{why}\nover the session: {said}"))
}

/// A session under the rules before.
fn begin(roads: &Roads, road: Road, lock: &Lock) -> Session {
    let lab = &roads.served.lab;
    lab.host
        .nft_load("table inet palisade\ndelete table inet palisade\ntable inet others\ndelete table inet others\n");
    roads.served.end_sessions();
    if let Some(before) = &lock.before {
        lab.write_policy("before.yaml", before);
        lab.palisade("before.yaml", &["apply", "--force"]).success();
    }
    let each = "while read -r line; do eval \"$line\" 2>&1 | tr '\\n' '|'; echo; done";
    Session::open(roads.ssh(road, 60), each)
}

/// What is said when the policy is applied over a session; nothing if the session is cut.
fn applies(roads: &Roads, session: &mut Session) -> String {
    session.says(&format!("{}\n", roads.served.palisade(&["apply"]))).replace('|', "\n")
}

/// After a policy was applied: the session lasts, and a new one comes about.
fn goes_on(roads: &Roads, road: Road, session: &mut Session, said: &str, found: &mut Found) -> Result<(), String> {
    let untold = said.contains("can't tell whether it could connect again");
    found.untold += usize::from(untold);
    found.went_on += usize::from(!untold);
    if session.says("echo lasts\n") != "lasts|\n" {
        return Err(format!("applied, and the session is cut: {said}"));
    }
    if untold || gets_in(roads, road) {
        return Ok(());
    }
    Err(format!("applied, and the operator does not get in again: {said}"))
}

/// With the changes that a refusal names the policy is applied, and the operator gets in again.
fn remedied(
    roads: &Roads,
    road: Road,
    session: &mut Session,
    (lock, said): (&Lock, &str),
    found: &mut Found,
) -> Result<(), String> {
    let lab = &roads.served.lab;
    let Some(mended) = mended(&lock.policy, said) else { return Ok(()) };
    lab.write_policy("policy.yaml", &mended);
    let again = applies(roads, session);
    lab.write_policy("policy.yaml", &lock.policy);
    let applied = again.contains("applied: ") || again.contains("nothing to do");
    let stays_out = said.contains("\nEven with that it could not connect again.\n");
    if !stays_out && applied && gets_in(roads, road) {
        found.remedied += 1;
        return Ok(());
    }
    // What lets the session in may still not fit the machine.
    let misfit = again.contains("does not fit this machine");
    let as_said = misfit || stays_out && again.contains("whatever the policy says");
    if as_said { Ok(()) } else { Err(format!("{said}\nwith that change, in\n{mended}\n{again}")) }
}

/// Applies the policy from the console, which nobody's session stops, and holds the warnings against a new connection.
fn by_console(roads: &Roads, road: Road, locks_out: bool) -> Result<(), String> {
    let lab = &roads.served.lab;
    let mut applied = lab.palisade("policy.yaml", &["apply"]);
    // What the machine would not get on with has to be forced.
    if applied.status != Some(0) && applied.stderr.contains("does not fit this machine") {
        applied = lab.palisade("policy.yaml", &["apply", "--force"]);
    }
    let Output { status, stderr, .. } = applied;
    if status != Some(0) {
        return Err(format!("the console is refused: {stderr}"));
    }
    let warned = stderr.contains(&format!("WARN the SSH session of root from {} ", road.seen));
    // Who should get in is waited for.
    let is_in = if locks_out || warned { roads.is_greeted(road, SILENCE * 2) } else { gets_in(roads, road) };
    match (locks_out, warned, is_in) {
        (true, _, true) => Err(format!("refused, and the operator would get in: {stderr}")),
        (_, true, true) => Err(format!("warned of at the console, and the operator gets in: {stderr}")),
        (_, false, false) => Err(format!("not told at the console, and the operator does not get in: {stderr}")),
        _ => Ok(()),
    }
}

/// The policy with all changes that a refusal names; `None` if it names none.
fn mended(policy: &str, said: &str) -> Option<String> {
    let said = said.split_once("To let it in, ")?.1;
    // The sentence, and the line below it.
    let (changes, rest) = said.split_once('\n')?;
    let line = changes.ends_with(':').then(|| rest.lines().nth(1)).flatten().map(str::trim);
    let mut mended = policy.to_owned();
    let of_service = |text: &str, name: &str, change: &dyn Fn(&str) -> String| -> String {
        let begin = format!("  {name}: {{");
        text.split_inclusive('\n').map(|l| if l.starts_with(&begin) { change(l) } else { l.to_owned() }).collect()
    };
    for change in changes.split(", and ") {
        if change.contains("out of `block`") {
            mended = mended.split_inclusive('\n').filter(|line| !line.starts_with("block: ")).collect();
        } else if change.contains("to `except` of the service") {
            let (item, name) = (change.split(' ').nth(1)?, change.split("the service ").nth(1)?.split(' ').next()?);
            mended = of_service(&mended, name, &|line| match line.split_once("except: [") {
                Some((before, after)) => format!("{before}except: [{item}, {after}"),
                None => format!("{}, except: [{item}] }}\n", line.trim_end().trim_end_matches(" }")),
            });
        } else if change.contains("which forwards it") {
            let name = change.split("the service ").nth(1)?.split(',').next()?;
            mended = of_service(&mended, name, &|_| String::new());
        } else if change.contains("reverse_path: off") {
            mended = mended.replace("reverse_path: strict", "reverse_path: off");
        }
    }
    Some(match line {
        Some(line) => mended.replace("\nservices:\n", &format!("\nservices:\n  {line}\n")),
        None => mended,
    })
}

/// Whether the operator, who may, gets in, beside any load.
fn gets_in(roads: &Roads, road: Road) -> bool {
    roads.is_greeted(road, PATIENCE * 6)
}

/// Connections of strangers, who say nothing and have heard who listens.
fn idle(roads: &Roads) -> Vec<TcpStream> {
    let lab = &roads.served.lab;
    strangers()
        .into_iter()
        .filter_map(|(own, to)| {
            lab.client.run(|| {
                let domain = socket2::Domain::for_address(to);
                let socket = socket2::Socket::new(domain, socket2::Type::STREAM, None).expect("a socket");
                socket.bind(&std::net::SocketAddr::new(own, 0).into()).expect("its own address");
                socket.connect_timeout(&to.into(), PATIENCE).ok()?;
                let mut stream = TcpStream::from(socket);
                stream.set_read_timeout(Some(PATIENCE * 6)).expect("it is a socket");
                stream.read_exact(&mut [0; 4]).ok().map(|()| stream)
            })
        })
        .collect()
}

#[test]
fn a_policy_that_ends_the_sessions_next_connection_is_refused_and_no_stranger_refuses_anything() {
    assert_eq!(tries(12).wrong, Vec::<String>::new());
}

#[test]
#[ignore = "two hundred random policies take some minutes"]
fn two_hundred_random_policies_over_every_road() {
    let found = tries(200);
    assert_eq!(found.wrong, Vec::<String>::new());
    assert!(found.untold <= 6 && found.ended <= 6, "{found}");
    assert!(found.went_on >= 40 && found.kept_in >= 40, "{found}");
}
