//! `palisade explain`

mod asked;
mod one;
mod reached;
mod who;
mod whole;

pub(super) use asked::{Target, target};

use super::exposure::Found;
use super::{Desired, Report, reader};
use crate::desired::compile_as_applied;
use crate::error::Error;
use crate::files::user_id;
use crate::netlink::Socket;
use crate::netlink::routing::Routing;
use crate::process::privileges::{Confinement, need_net_admin};
use crate::resolve::Resolved;
use crate::state::State;
use asked::{Asked, Sender, sender};
use std::net::IpAddr;

/// The exit status for "denied".
const DENIED: u8 = 2;
/// The exit status for "can't tell".
const CANT_TELL: u8 = 3;
/// How much of a set is read to tell its addresses apart, in netlink messages of some hundred elements each.
const MOST_MESSAGES: usize = 1 << 16;

/// Show the verdict on a connection, and each rule that it meets; who reaches a port; or what an address reaches.
///
/// With a port and `--from ADDR` it follows that connection, rule by rule. If it is denied by the policy, it says why, and
/// what lets it in. With a port alone it says who reaches it, as `exposure` does. With `--from` alone it lists the ports
/// that this address reaches. If `--from` is a network, a group of the policy, `any` or `containers`, it judges all of
/// their addresses, and names those that differ.
///
/// Reads the live kernel: the rules and sets of all tables, whichever program loaded them, and the routes. For a port
/// that a container publishes, give the port that the outside sees. If something can't be determined, it says what and
/// why instead of a verdict. The verdict is that of the rules; whether anybody listens is said beside it.
///
/// Exit status: 0 allowed, 2 denied or rejected, 3 can't tell, 1 error. Of several ports or addresses: 0 all are allowed, 2
/// one at least is denied. Without `--from`: 0 somebody else than this machine reaches it, 2 nobody. Without a port: 0 it
/// reaches something, 2 nothing.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  palisade explain 9000/tcp --from 203.0.113.9\n  palisade explain dashboard\n  \
    palisade explain 9000 --from 203.0.113.0/24\n  palisade explain --from 203.0.113.9\n  \
    palisade explain 25/tcp --from host --to 198.51.100.9")]
pub struct Args {
    /// What the connection is to: a port (`22/tcp`, `53/udp`; TCP if it is a bare `9000`), `ping`, `esp/proto`, or a
    /// service of the policy by its name, of which each port is asked about.
    #[arg(value_name = "PORT/PROTO|SERVICE", required_unless_present = "from")]
    pub(crate) target: Option<String>,
    /// Who opens the connection: an address, a network, a group of the policy, `any`, `containers`; `host` is this
    /// machine, by its address on the route to `--to`.
    #[arg(long, value_name = "ADDR|NETWORK|GROUP|any|containers|host", value_parser = sender)]
    pub(crate) from: Option<Sender>,
    /// The address that the connection is to. The default is this machine's own address on the route to the source.
    #[arg(long, value_name = "ADDR", requires = "from")]
    pub(crate) to: Option<IpAddr>,
    /// The interface that the connection comes in by. The default is the one that the route to the source leaves by.
    #[arg(long, value_name = "IFACE", requires = "from")]
    pub(crate) on: Option<String>,
    /// The interface that the connection leaves by. The default is the one that the routing chooses. Needs one address.
    #[arg(long, value_name = "IFACE", requires = "from")]
    pub(crate) out: Option<String>,
    /// The user of this machine whose program opens the connection: a name of /etc/passwd, or a number. Needs
    /// `--from host`.
    #[arg(long, value_name = "USER", requires = "from")]
    pub(crate) user: Option<String>,
    /// Answer as if the policy were applied.
    #[arg(long)]
    pub(crate) planned: bool,
}

/// What every answer is made from.
struct Question<'q> {
    args: &'q Args,
    state: &'q State,
    socket: &'q Socket,
    routing: &'q Routing,
    /// The policy that would be applied, with its table.
    desired: Option<&'q Desired>,
    /// The policy that the answer is about, where its words are needed.
    policy: Option<&'q Resolved>,
    /// Whether the answer is for programs.
    in_json: bool,
}

pub(crate) fn run(path: &std::path::Path, state: &State, args: &Args, in_json: bool) -> Result<Report, Error> {
    need_net_admin("explain")?;
    let one = matches!(args.from, Some(Sender::Host | Sender::Address(_)));
    // Confined, it could not read /etc/passwd, nor see processes and engines.
    let user = args.user.as_deref().map(user).transpose()?;
    let found = if one && args.target.is_some() { None } else { Some(Found::read()?) };
    let near = one::Near::read();
    let confined = Confinement::begin(reader(state));
    let desired = args.planned.then(|| Desired::load(path, state)).transpose()?;
    let desired = desired.map(|desired| desired.with_temporary(state));
    let in_force = (desired.is_none() && asked::needs_policy(args)).then(|| in_force(state)).flatten();
    let policy = desired.as_ref().map(|desired| &desired.policy).or(in_force.as_ref());
    let asked = args.target.as_deref().map(|text| Asked::read(text, policy)).transpose()?;
    let names = state.names().unwrap_or_default();
    confined.keep_net_admin("explain")?;
    let (socket, routing) = (Socket::open()?, Routing::open()?);
    let (socket, routing, desired) = (&socket, &routing, desired.as_ref());
    let question = Question { args, state, socket, routing, desired, policy, in_json };
    match (asked, args.from.as_ref(), found) {
        (Some(asked), Some(Sender::Host | Sender::Address(_)), _) => {
            one::all(&question, &asked, &one::Around { near: &near, names: &names, user })
        }
        (Some(asked), Some(sender), Some(found)) => whole::report(&question, &asked, sender, &found),
        (Some(asked), None, Some(found)) => who::report(&question, &asked, &found),
        (None, Some(Sender::Address(from)), Some(found)) => {
            reached::report(&question, *from, &found, &one::Around { near: &near, names: &names, user })
        }
        _ => Err(Error::Declined("pass a port, or `--from ADDR` to see what that address reaches".to_owned())),
    }
}

/// The policy that the present rules were made from, if it is known.
fn in_force(state: &State) -> Option<Resolved> {
    let applied = state.in_force()?.applied?;
    compile_as_applied(&applied, state).ok().map(|compiled| compiled.policy)
}

/// Reads `--user`.
fn user(text: &str) -> Result<u32, Error> {
    let number = text.parse().ok().or_else(|| user_id(text));
    number.ok_or_else(|| Error::Declined(format!("/etc/passwd has no user {}", crate::policy::quote(text))))
}
