//! `palisade export`

use super::{Report, reader, with_file};
use crate::desired::{STDIN, compile_named};
use crate::error::Error;
use crate::export::{Asked, DEFAULT_NAME, Exported, Refusal, Remark, Target, Vendor, export};
use crate::names::Names;
use crate::netlink::routing::Routing;
use crate::printable::printable;
use crate::process::journal::Stderr;
use crate::process::privileges::Confinement;
use crate::resolve::Resolved;
use crate::state::State;
use clap::ValueEnum;
use serde_json::{Value, json};
use std::io::Write;
use std::path::Path;
use tracing::Level;

/// Print the policy as the allow-list of a cloud firewall.
///
/// The list is never more open than the policy at the ports of the public interface. What a cloud firewall can't say is narrowed
/// or left out, and listed on standard error; this machine goes on enforcing all of the policy. Needs neither root nor the
/// network: the addresses of host names are left out, and so is who is let in for a time.
///
/// Exit status: 0 all of the policy's access is exported, 2 something was narrowed or left out, 1 an error.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Whose format: that of the vendor's own client, or Terraform's.
    #[arg(value_enum, value_name = "FORMAT")]
    pub(crate) format: Format,
    /// The name of the firewall. What does not fit into one is divided into NAME, NAME-2 and so on.
    #[arg(long, default_value = DEFAULT_NAME)]
    pub(crate) name: String,
    /// The interface that the cloud firewall stands before, if the policy tells interfaces apart.
    ///
    /// Without it, the interface of this machine's default route is taken.
    #[arg(long, value_name = "IFACE")]
    pub(crate) public: Option<String>,
    /// Export no `block`: who is blocked passes the cloud firewall, and this machine drops them.
    #[arg(long)]
    pub(crate) leave_block_to_host: bool,
}

/// Whose format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For `hcloud firewall replace-rules --rules-file`.
    Hetzner,
    /// The body of `PUT /v2/firewalls/ID`.
    #[value(name = "digitalocean")]
    DigitalOcean,
    /// For `aws ec2 authorize-security-group-ingress --ip-permissions`.
    Aws,
    /// `hcloud_firewall`.
    TerraformHetzner,
    /// `digitalocean_firewall`.
    #[value(name = "terraform-digitalocean")]
    TerraformDigitalOcean,
    /// `aws_security_group` and its rules.
    TerraformAws,
}

impl Format {
    const fn target(self) -> Target {
        let (vendor, terraform) = match self {
            Self::Hetzner => (Vendor::Hetzner, false),
            Self::DigitalOcean => (Vendor::DigitalOcean, false),
            Self::Aws => (Vendor::Aws, false),
            Self::TerraformHetzner => (Vendor::Hetzner, true),
            Self::TerraformDigitalOcean => (Vendor::DigitalOcean, true),
            Self::TerraformAws => (Vendor::Aws, true),
        };
        Target { vendor, terraform }
    }
}

pub(crate) fn run(path: &Path, state: &State, args: &Args) -> Result<Report, Error> {
    // Whether it is needed is known later, when the process is confined.
    let ways_out = if args.public.is_none() { ways_out() } else { Vec::new() };
    let confined = Confinement::begin(reader(state));
    // The names as looked up last would make the list another one each day.
    let policy = compile_named(path, &Names::default()).map_err(Error::Policy)?.policy;
    confined.keep_nothing();
    let exported = exported(&policy, args, &ways_out)?;
    let file = if path == Path::new(STDIN) { None } else { path.file_name() };
    let file = file.map(|file| file.to_string_lossy().into_owned());
    say(&exported.remarks, &policy, file.as_deref().unwrap_or(&policy.file));
    let status = if exported.is_whole() { 0 } else { 2 };
    Ok(Report { status, text: text(&exported).as_str().into(), json: json(&exported, &policy) })
}

fn text(exported: &Exported) -> String {
    format!("{:#}\n", exported.document)
}

/// The interfaces by which the default routes of this machine go, as far as that can be read.
fn ways_out() -> Vec<String> {
    let links = Routing::open().and_then(|routing| routing.topology()).unwrap_or_else(|error| {
        tracing::info!("the routes of this machine can't be read: {error}");
        Vec::new()
    });
    links.into_iter().filter(|link| link.is_way_out).map(|link| link.name).collect()
}

/// Exports with the public interface that the user names, or with that of the default route where it matters.
fn exported(policy: &Resolved, args: &Args, ways_out: &[String]) -> Result<Exported, Error> {
    let asked =
        Asked { name: &args.name, public: args.public.as_deref(), leave_block_to_host: args.leave_block_to_host };
    let target = args.format.target();
    let declined = |refusal: Refusal| Error::Declined(printable(&refusal.to_string()).into_owned());
    match (export(policy, target, &asked), ways_out) {
        (Err(Refusal::WhichInterface), [public]) => {
            tracing::warn!(
                "the public interface is taken to be {}, by which this machine's default route goes; --public names another",
                printable(public)
            );
            export(policy, target, &Asked { public: Some(public.as_str()), ..asked }).map_err(declined)
        }
        (exported, _) => exported.map_err(declined),
    }
}

/// Says what the list does not say on standard error, unless only errors are wanted there.
fn say(remarks: &[Remark], policy: &Resolved, file: &str) {
    if remarks.is_empty() || !tracing::enabled!(Level::WARN) {
        return;
    }
    let lines: String = remarks
        .iter()
        .map(|remark| {
            let at = remark.line.map(|line| {
                let file = policy.included_file(line).unwrap_or(file);
                format!(" ({file}:{})", line.number)
            });
            let at = at.unwrap_or_default();
            format!("{}{at}\n", printable(&remark.to_string()))
        })
        .collect();
    // Nothing can be done if standard error can't be written to.
    let _ = Stderr::detect().at(Level::WARN).write_all(lines.as_bytes());
}

fn json(exported: &Exported, policy: &Resolved) -> Value {
    let remarks = exported.remarks.iter().map(|remark| {
        let json =
            json!({ "kind": remark.kind.name(), "about": remark.about, "line": remark.line, "message": remark.text });
        with_file(json, remark.line.map(|line| (policy, line)))
    });
    json!({
        "document": text(exported),
        "firewalls": exported.firewalls,
        "remarks": remarks.collect::<Vec<_>>(),
    })
}
