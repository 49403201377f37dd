//! What `metrics` tells, from the kernel, the policy and what palisade keeps.

use super::Desired;
use super::counted::{Count, Counted, Line};
use super::standing::Standing;
use super::status::denied;
use crate::delta::changes;
use crate::enforce::stamp;
use crate::error::Error;
use crate::metrics::{self, Family, Samples};
use crate::net::Version;
use crate::netlink::{NetlinkError, Reading, Socket};
use crate::ruleset::{KeyType, SetFlags, Table, TableId};
use crate::state::{Booted, Source, State, moment};
use std::collections::BTreeMap;
use std::path::Path;
use std::time::UNIX_EPOCH;

/// The sources of a boot by the values of the label: in what order, `boot` says.
const SOURCES: [&str; 7] = ["policy", "policy_in_part", "previous", "waiting", "last_good", "live", "lockdown"];

/// All that can be told now.
///
/// # Errors
/// The kernel can't be asked. Without nf_tables nothing is loaded.
pub(super) fn measured(path: &Path, state: &State, desired: &Result<Desired, Error>) -> Result<Samples, Error> {
    let id = TableId::palisade();
    let nothing = Table::default();
    let known = (desired.as_ref().map_or(&nothing, |desired| &desired.table), state);
    let live = match Socket::open()?.snapshot_reading(&id, Reading::ByDigest(&known)) {
        Err(NetlinkError::NoNfTables) => None,
        snapshot => snapshot?.table,
    };
    let now = moment().wall.as_secs();
    let mut samples = Samples::default();
    let policy = path.display().to_string();
    samples.add(&metrics::INFO, [env!("CARGO_PKG_VERSION"), &policy], 1);
    samples.add(&metrics::ACTIVE, [], live.is_some().into());
    of_the_policy(&mut samples, desired, &id, live.as_ref(), now);
    if let Some(live) = &live {
        of_the_table(&mut samples, live, state);
    }
    of_the_state(&mut samples, state);
    samples.add(&metrics::WRITTEN, [], now);
    Ok(samples)
}

/// Whether the policy is valid and in force, and its host names.
fn of_the_policy(
    samples: &mut Samples,
    desired: &Result<Desired, Error>,
    id: &TableId,
    live: Option<&Table>,
    now: u64,
) {
    let desired = match desired {
        Ok(desired) => desired,
        Err(Error::Policy(_)) => {
            samples.add(&metrics::POLICY_VALID, [], 0);
            return samples.leave_out(&metrics::IN_SYNC, "the policy has problems, see `palisade check`");
        }
        Err(error) => {
            samples.leave_out(&metrics::POLICY_VALID, &error.to_string());
            return samples.leave_out(&metrics::IN_SYNC, "the policy can't be compiled");
        }
    };
    samples.add(&metrics::POLICY_VALID, [], 1);
    samples.add(&metrics::IN_SYNC, [], changes(id, live, Some(&desired.table)).is_empty().into());
    for (host, known) in desired.policy.names.iter() {
        let last = known.answered().map_or(0, |age| now.saturating_sub(age));
        samples.add(&metrics::NAME_LAST_SUCCESS, [host], last);
        samples.add(&metrics::NAME_ADDRESSES, [host], known.addresses().count() as u64);
    }
}

/// What the live table has counted, and since when.
fn of_the_table(samples: &mut Samples, live: &Table, state: &State) {
    let (_, since) = live.comment.as_deref().map_or((None, None), stamp::read);
    let since = since.and_then(|time| humantime::parse_rfc3339(time).ok());
    match since.and_then(|time| time.duration_since(UNIX_EPOCH).ok()) {
        Some(since) => samples.add(&metrics::LOADED, [], since.as_secs()),
        None => samples.leave_out(&metrics::LOADED, "the table does not say when it was loaded"),
    }
    let Counted { services, outgoing, forward, nat } = Counted::new(live, Standing::of(live, state).policy.as_ref());
    services.iter().for_each(|service| of_a_service(samples, service));
    for (section, rules) in [("outgoing", outgoing), ("forward", forward), ("nat", nat)] {
        for Line { name, matched, .. } in rules {
            samples.add(&metrics::RULE_PACKETS, [section, &name], matched.packets);
            samples.add(&metrics::RULE_BYTES, [section, &name], matched.bytes);
        }
    }
    for (direction, Count { packets, bytes }) in denied(live) {
        samples.add(&metrics::DENIED_PACKETS, [direction], packets);
        samples.add(&metrics::DENIED_BYTES, [direction], bytes);
    }
    for (set, elements) in sets(live) {
        samples.add(&metrics::SET_ELEMENTS, [set], elements);
    }
}

fn of_a_service(samples: &mut Samples, service: &Line) {
    let mut add = |[packets, bytes]: [&Family<1>; 2], count: Count| {
        samples.add(packets, [&service.name], count.packets);
        samples.add(bytes, [&service.name], count.bytes);
    };
    if service.denies {
        add([&metrics::SERVICE_DENIED_PACKETS, &metrics::SERVICE_DENIED_BYTES], service.matched);
    } else {
        add([&metrics::SERVICE_ADMITTED_PACKETS, &metrics::SERVICE_ADMITTED_BYTES], service.matched);
    }
    if let Some(limited) = service.limited {
        add([&metrics::SERVICE_LIMITED_PACKETS, &metrics::SERVICE_LIMITED_BYTES], limited);
    }
    if let Some(forwarded) = service.forwarded {
        add([&metrics::SERVICE_FORWARDED_PACKETS, &metrics::SERVICE_FORWARDED_BYTES], forwarded);
    }
}

/// The sizes of the sets of addresses that packets do not fill, those of both versions of IP together.
fn sets(live: &Table) -> BTreeMap<&str, u64> {
    let mut sizes = BTreeMap::new();
    for (name, set) in &live.sets {
        let spec = &set.spec;
        let version = Version::ALL.into_iter().find(|version| spec.key == KeyType::address(*version));
        let end = version.map(|version| format!("-{}", version.suffix()));
        let name = end.and_then(|end| name.strip_suffix(&end));
        let Some(name) = name.filter(|_| spec.value.is_none() && !spec.flags.contains(SetFlags::DYNAMIC)) else {
            continue;
        };
        *sizes.entry(name).or_default() += set.elements.len() as u64;
    }
    sizes
}

/// What palisade keeps: the boot, a change that waits, and the last check.
fn of_the_state(samples: &mut Samples, state: &State) {
    match state.pending() {
        Ok(change) => samples.add(&metrics::CONFIRMATION_PENDING, [], change.is_some().into()),
        Err(error) => samples.leave_out(&metrics::CONFIRMATION_PENDING, &error.to_string()),
    }
    if let Some(booted) = state.booted() {
        let from = source(&booted);
        SOURCES.iter().for_each(|one| samples.add(&metrics::BOOT_SOURCE, [one], (*one == from).into()));
    }
    match state.checked() {
        Ok(None) => {}
        Ok(Some(checked)) => {
            for (severity, count) in checked.counts() {
                samples.add(&metrics::DOCTOR_FINDINGS, [severity], count);
            }
            samples.add(&metrics::DOCTOR_RUN, [], checked.at);
        }
        Err(error) => samples.leave_out(&metrics::DOCTOR_FINDINGS, &error.to_string()),
    }
}

/// What was loaded at boot, as the value of the label.
const fn source(booted: &Booted) -> &'static str {
    match (booted.from, &booted.why) {
        (Source::Policy, None) => "policy",
        (Source::Policy, Some(_)) => "policy_in_part",
        (Source::Previous, _) => "previous",
        (Source::Waiting, _) => "waiting",
        (Source::LastGood, _) => "last_good",
        (Source::Live, _) => "live",
        (Source::Lockdown, _) => "lockdown",
    }
}
