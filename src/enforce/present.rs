//! Fills a table with whoever is in its groups for a time.

use crate::netlink::{Reading, Socket};
use crate::ruleset::{Table, TableId};
use crate::state::{State, moment};
use crate::temporary::{Limits, with_entries, with_those_of};

/// The table with everybody who is in its groups for a time by the state, each for as long as the limits of a policy
/// allow. `None` cuts nobody's time.
///
/// Where the state can't be read, an error says so, and whoever is in a group in the kernel stays there: a damaged file
/// must let nobody in whom the kernel has blocked.
#[must_use]
pub fn with_present(state: &State, table: &Table, limits: Option<&Limits>) -> Table {
    match (state.temporary(), limits) {
        (Ok(entries), Some(limits)) => with_entries(table, &entries.under(limits), &moment()),
        (Ok(entries), None) => with_entries(table, &entries, &moment()),
        (Err(error), _) => {
            tracing::error!(
                "{error}: who is let in or blocked for a time stays as it is in the kernel, and is lost with a reboot; once \
                 that file is removed, `palisade apply` ends it"
            );
            let live = Socket::open()
                .and_then(|socket| socket.snapshot_reading(&TableId::palisade(), Reading::ByDigest(state)));
            let live = live.inspect_err(|error| tracing::error!("nor does the kernel tell: {error}"));
            match live.ok().and_then(|snapshot| snapshot.table) {
                Some(live) => with_those_of(table, &live),
                None => table.without_timed(),
            }
        }
    }
}
