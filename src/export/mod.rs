//! A policy as the allow-list of a cloud firewall, which stands before the machine and knows neither order nor denials.
//!
//! The list is never more open than the policy. What can't be said in it is narrowed or left out, and is a [`Remark`]. The
//! machine goes on enforcing the whole policy: too narrow a list closes something, which is seen; too wide a one is only a
//! layer less, which is not.
//!
//! ```text
//! Resolved ─ incoming ─► Allowed { service, what, sources } ─ fit ─► firewalls ─ one file a vendor ─► JSON
//! ```

mod allowed;
mod aws;
mod block;
mod denials;
mod digitalocean;
mod fit;
mod hetzner;
mod incoming;
mod outgoing;
mod place;
mod refusal;
mod remark;
mod sources;
mod terraform;
mod vendor;

pub use allowed::{Allowed, What};
pub use fit::TooMany;
pub use refusal::Refusal;
pub use remark::{Kind, Remark};
pub use sources::Sources;
pub use vendor::Vendor;

use crate::resolve::{Action, Resolved};
use fit::{Firewall, divided};
use incoming::Reader;
use serde_json::Value;

/// The name of the firewall unless the user gives another.
pub const DEFAULT_NAME: &str = "palisade";

/// The longest name that every vendor takes, with `-2` behind it.
const MAX_NAME: usize = 100;

/// Whose format is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Target {
    /// The vendor.
    pub vendor: Vendor,
    /// Whether the document is for Terraform, and not for the vendor's own client.
    pub terraform: bool,
}

/// What the user says besides.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// The name of the firewall.
    pub name: &'a str,
    /// The interface that the cloud's firewall stands before.
    pub public: Option<&'a str>,
    /// Whether who is blocked may pass the cloud's firewall.
    pub leave_block_to_host: bool,
}

/// An exported policy.
#[derive(Clone, Debug, PartialEq)]
pub struct Exported {
    /// What the vendor's client reads.
    pub document: Value,
    /// The names of the firewalls: more than one if the policy does not fit into one.
    pub firewalls: Vec<String>,
    /// What it does not say, in the order of the policy.
    pub remarks: Vec<Remark>,
}

impl Exported {
    /// Whether all of the policy's access is in it.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.remarks.iter().all(|remark| remark.kind == Kind::Note)
    }
}

/// Exports a policy.
///
/// # Errors
/// [`Refusal`] if the name can't be the vendor's, if the public interface matters and is not known, or if the list is longer
/// than the vendor takes.
pub fn export(policy: &Resolved, target: Target, asked: &Asked<'_>) -> Result<Exported, Refusal> {
    check_name(asked.name, target.vendor)?;
    let mut refusal = None;
    for step in block::STEPS {
        let (allowed, mut remarks) = Reader::new(policy, target.vendor, asked, step)?.read()?;
        let firewalls = match divided(target.vendor, asked.name, &allowed) {
            Ok(firewalls) => firewalls,
            Err(too_many) => {
                // What is said of the exact list is what the user has to shorten.
                refusal.get_or_insert(Refusal::TooMany {
                    vendor: target.vendor,
                    too_many,
                    blocks: !asked.leave_block_to_host && !policy.block.is_empty(),
                });
                continue;
            }
        };
        outgoing::remarks(policy, &mut remarks);
        let names: Vec<String> = firewalls.iter().map(|firewall| firewall.name.clone()).collect();
        if names.len() > 1 {
            let text = format!("{}: a server needs all of them", names.join(", "));
            remarks.add(Kind::Note, "more than one firewall", None, text);
        }
        let remarks = remarks.all();
        let sends = policy.defaults.outgoing == Action::Allow;
        let document = document(target, &firewalls, sends, &remarks, &policy.file);
        return Ok(Exported { document, firewalls: names, remarks });
    }
    Err(refusal.unwrap_or(Refusal::WhichInterface))
}

fn document(target: Target, firewalls: &[Firewall], sends: bool, remarks: &[Remark], file: &str) -> Value {
    match (target.vendor, target.terraform) {
        (Vendor::Hetzner, false) => hetzner::document(firewalls, sends),
        (Vendor::Hetzner, true) => terraform::document(hetzner::resources(firewalls, sends), remarks, file),
        (Vendor::DigitalOcean, false) => digitalocean::document(firewalls, sends),
        (Vendor::DigitalOcean, true) => terraform::document(digitalocean::resources(firewalls, sends), remarks, file),
        (Vendor::Aws, false) => aws::document(firewalls, sends),
        (Vendor::Aws, true) => terraform::document(aws::resources(firewalls, sends), remarks, file),
    }
}

/// Takes what every vendor takes as a name: the narrowest is DigitalOcean's.
fn check_name(name: &str, vendor: Vendor) -> Result<(), Refusal> {
    let begins = name.starts_with(|c: char| c.is_ascii_alphanumeric());
    let rest = name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-'));
    let is_taken = vendor == Vendor::Aws && name.starts_with("sg-");
    if begins && rest && (2..=MAX_NAME).contains(&name.len()) && !is_taken {
        return Ok(());
    }
    Err(Refusal::Name(name.to_owned()))
}
