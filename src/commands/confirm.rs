//! `palisade confirm`

use super::{Report, lock, writer};
use crate::confirm;
use crate::confirm::Timer;
use crate::error::Error;
use crate::machine::Caller;
use crate::netlink::Socket;
use crate::process::privileges::Confinement;
use crate::state::State;
use serde_json::json;

/// Keep the change that `apply --confirm` made.
///
/// A change made over SSH must be confirmed from a new SSH connection, which shows that new connections get in, or from
/// the console.
///
/// Exit status: 0 the change stays, 1 it does not, or none waits for confirmation.
#[derive(Debug, clap::Args)]
pub struct Args {}

pub(crate) fn run(state: &State) -> Result<Report, Error> {
    let _lock = lock(state, "confirm")?;
    let caller = Caller::of_this_process();
    let timer = Timer::of_pending(state);
    Confinement::begin(writer(state)).keep_net_admin("confirm")?;
    let Some(change) = confirm::pending(state) else {
        return Err(Error::Declined("no change waits for confirmation".to_owned()));
    };
    if change.left().is_none() {
        confirm::settle(&Socket::open()?, state)?;
        return Err(Error::Declined("too late: the change is undone".to_owned()));
    }
    let Some(loaded) = change.loaded() else {
        let sentence = "the apply that is to be confirmed did not end: `palisade rollback`, then apply again";
        return Err(Error::Declined(sentence.to_owned()));
    };
    if let Some(why) = caller.cannot_confirm(change.caller, loaded) {
        return Err(Error::Declined(format!("not confirmed: {why}")));
    }
    state.confirm()?;
    timer.stop();
    let policy = change.policy.display();
    Ok(Report::ok(format!("confirmed: {policy} stays\n"), json!({ "confirmed": true, "policy": policy.to_string() })))
}
