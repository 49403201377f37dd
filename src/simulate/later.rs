//! What comes after the opening of a connection: packets in both directions, until they leave nothing behind that has
//! not been there before.
//!
//! A packet may leave a mark behind in its connection, or a key in a set, and rules that come earlier on the way may ask
//! for it: they did not stop that packet, and stop the next. What the packets so far have left behind is a state, and a
//! packet in either direction leads from one to another. Which side sends next depends on the protocol and on what is
//! said; that both take turns is certain, and only which of them begins is not.

use super::packet_run::PacketRun;
use super::trace::{Outcomes, Stage, Verdict};
use super::traversal::Traversal;

/// So many states are followed. Rules that count a connection's packets make more.
const MOST_STATES: usize = 64;

/// Where a packet leads.
#[derive(Clone, Copy)]
enum Next {
    /// To the state of that number.
    State(usize),
    /// Nowhere, or nobody can tell: to the packet of that number among those that may be stopped.
    Stop(usize),
}

/// The packet that may be stopped after these, if there is one. `before` is the last packet but one, and `last` the last,
/// of which `stage` says whose it was: if it left behind what it found, the next of its kind passes as it did.
pub(super) fn follow_on<'a, 'v>(
    before: &PacketRun<'a, 'v>,
    last: PacketRun<'a, 'v>,
    stage: Stage,
    send: impl Fn(Stage, &PacketRun<'a, 'v>) -> (Traversal<'a>, PacketRun<'a, 'v>),
) -> Option<(Stage, Traversal<'a>)> {
    let passes_again = before.leaves_what(&last).then_some(stage);
    let mut states = vec![last];
    let mut next: Vec<[Next; 2]> = Vec::new();
    let mut stops = Vec::new();
    while let Some(state) = states.get(next.len()) {
        let here = next.len();
        let mut arrived = Vec::new();
        let ways = [Stage::Sent, Stage::Returned].map(|stage| {
            if here == 0 && passes_again == Some(stage) {
                return Next::State(0);
            }
            let (mut traversal, run) = send(stage, state);
            let all = states.len() + arrived.len();
            let met = states.iter().chain(&arrived).position(|state| state.leaves_what(&run));
            if traversal.trace.verdict == Verdict::Allow {
                match met {
                    Some(met) => return Next::State(met),
                    None if all < MOST_STATES => {
                        arrived.push(run);
                        return Next::State(all);
                    }
                    None => traversal.may_go_astray(WITHOUT_END.into()),
                }
            }
            stops.push((stage, traversal));
            Next::Stop(stops.len() - 1)
        });
        next.push(ways);
        states.extend(arrived);
    }
    which_stops(&next, stops)
}

/// The packet that is stopped if both sides take turns, whichever begins; where one of them is not, or only a packet
/// out of turn is, nobody can tell.
fn which_stops<'a>(next: &[[Next; 2]], mut stops: Vec<(Stage, Traversal<'a>)>) -> Option<(Stage, Traversal<'a>)> {
    let in_turn = [0, 1].map(|begins| stop_in_turn(next, begins));
    let decides = in_turn.into_iter().flatten().next().unwrap_or(0);
    let outcomes_of = |stop: usize| stops.get(stop).map(|(_, stopped)| stopped.trace.outcomes.unheard());
    let outcomes = in_turn.map(|stop| stop.and_then(outcomes_of).unwrap_or(Outcomes::ALLOW));
    let outcomes = outcomes.into_iter().reduce(Outcomes::or).unwrap_or(Outcomes::ALLOW);
    if decides >= stops.len() {
        return None;
    }
    let (stage, mut stopped) = stops.swap_remove(decides);
    let others = if in_turn == [None; 2] { stopped.trace.outcomes.unheard().or(Outcomes::ALLOW) } else { outcomes };
    if others != stopped.trace.outcomes.unheard() {
        stopped.may_be(others, WHO_SENDS.into());
    }
    Some((stage, stopped))
}

/// Which packet is stopped if both sides take turns and that one begins.
fn stop_in_turn(next: &[[Next; 2]], begins: usize) -> Option<usize> {
    let (mut state, mut side) = (0, begins);
    // Then each state has been met with each side's turn.
    for _ in 0..=2 * next.len() {
        match *next.get(state)?.get(side)? {
            Next::State(to) => state = to,
            Next::Stop(stop) => return Some(stop),
        }
        side = 1 - side;
    }
    None
}

const WITHOUT_END: &str =
    "each packet leaves something else behind in its connection, and not all that may follow is looked at";
const WHO_SENDS: &str = "a packet leaves behind what stops later ones, and which side sends first is not known";
