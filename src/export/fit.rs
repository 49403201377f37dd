//! Divides rules among as few firewalls as the vendor's limits allow. Firewalls before one server allow the union of what
//! they allow, so any division means the same.

use super::allowed::{Allowed, What};
use super::vendor::{MOST_FIREWALLS, Vendor};
use ipnet::IpNet;
use std::collections::BTreeMap;

/// One rule of a firewall.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Rule {
    /// The service that it belongs to.
    pub(super) service: String,
    /// Its author's comment.
    pub(super) comment: Option<String>,
    /// What may be reached.
    pub(super) what: What,
    /// From where.
    pub(super) networks: Vec<IpNet>,
}

impl Rule {
    /// The service, and its author's comment.
    pub(super) fn description(&self) -> String {
        match &self.comment {
            Some(comment) => format!("{}: {comment}", self.service),
            None => self.service.clone(),
        }
    }

    /// Whether the other one says the same of other networks.
    fn goes_on_in(&self, other: &Self) -> bool {
        self.service == other.service && self.what == other.what
    }
}

/// A firewall, as a list of rules.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Firewall {
    /// Its name.
    pub(super) name: String,
    /// Its rules, by service.
    pub(super) rules: Vec<Rule>,
}

/// Why the rules don't fit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TooMany {
    /// `710 networks of all rules`, for each kind of which there are too many.
    pub counts: Vec<String>,
    /// What the most firewalls hold, likewise.
    pub most: Vec<String>,
    /// The service that takes most networks, and how many.
    pub costliest: (String, usize),
}

/// Divides rules among firewalls with these names: NAME, NAME-2 and so on.
pub(super) fn divided(vendor: Vendor, name: &str, allowed: &[Allowed]) -> Result<Vec<Firewall>, Box<TooMany>> {
    let limits = vendor.limits();
    let services = by_service(allowed, limits.networks_of_a_rule);
    let mut firewalls: Vec<Vec<Rule>> = vec![Vec::new()];
    let mut used = [0; 2];
    for rules in services {
        let cost = rules.iter().fold([0; 2], |sum, rule| plus(sum, vendor.cost(&rule.networks)));
        // A service stays together if it can.
        if !fits(plus(used, cost), limits.most) && fits(cost, limits.most) {
            firewalls.push(Vec::new());
            used = [0; 2];
        }
        for rule in rules {
            let after = plus(used, vendor.cost(&rule.networks));
            if fits(after, limits.most) {
                used = after;
            } else {
                firewalls.push(Vec::new());
                used = vendor.cost(&rule.networks);
            }
            if let Some(firewall) = firewalls.last_mut() {
                firewall.push(rule);
            }
        }
    }
    if firewalls.len() > MOST_FIREWALLS {
        return Err(Box::new(too_many(vendor, &firewalls.concat())));
    }
    let named = firewalls.into_iter().enumerate().map(|(index, rules)| {
        let name = if index == 0 { name.to_owned() } else { format!("{name}-{}", index + 1) };
        let whole = if vendor == Vendor::Aws { together(rules) } else { rules };
        Firewall { name, rules: whole }
    });
    Ok(named.collect())
}

/// The rules of each service, none with more networks than a rule may name.
fn by_service(allowed: &[Allowed], most: usize) -> Vec<Vec<Rule>> {
    let services = allowed.chunk_by(|a, b| a.service == b.service);
    let rules = |of: &[Allowed]| {
        let mut rules = Vec::new();
        for Allowed { service, comment, what, sources } in of {
            rules.extend(sources.networks().chunks(most).map(|networks| Rule {
                service: service.clone(),
                comment: comment.clone(),
                what: *what,
                networks: networks.to_vec(),
            }));
        }
        rules
    };
    services.map(rules).collect()
}

/// Rules that differ by their networks alone, as one.
fn together(rules: Vec<Rule>) -> Vec<Rule> {
    let mut all: Vec<Rule> = Vec::new();
    for rule in rules {
        match all.last_mut() {
            Some(last) if last.goes_on_in(&rule) => last.networks.extend(rule.networks),
            _ => all.push(rule),
        }
    }
    all
}

fn plus(a: [usize; 2], b: [usize; 2]) -> [usize; 2] {
    [a[0].saturating_add(b[0]), a[1].saturating_add(b[1])]
}

fn fits(cost: [usize; 2], most: [usize; 2]) -> bool {
    cost[0] <= most[0] && cost[1] <= most[1]
}

fn too_many(vendor: Vendor, rules: &[Rule]) -> TooMany {
    let limits = vendor.limits();
    let cost = rules.iter().fold([0; 2], |sum, rule| plus(sum, vendor.cost(&rule.networks)));
    let counted = [0, 1].into_iter().filter(|index| limits.most[*index] != usize::MAX);
    let counted: Vec<usize> = counted.collect();
    let mut services: BTreeMap<&str, usize> = BTreeMap::new();
    for rule in rules {
        *services.entry(&rule.service).or_default() += rule.networks.len();
    }
    let costliest = services.iter().max_by_key(|(_, networks)| **networks);
    TooMany {
        counts: counted.iter().map(|index| format!("{} {}", cost[*index], limits.of[*index])).collect(),
        most: counted.iter().map(|index| format!("{} {}", limits.most[*index], limits.of[*index])).collect(),
        costliest: costliest.map_or_else(Default::default, |(name, networks)| ((*name).to_owned(), *networks)),
    }
}
