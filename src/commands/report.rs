//! `palisade report`

mod fleet;
mod sections;

use super::denied::{applied, who_was_denied};
use super::exposure::{Found, Kernel};
use super::status::status;
use super::{Desired, Report, reader};
use crate::desired::STDIN;
use crate::doctor::gather::{Installation, Live, Surroundings};
use crate::error::Error;
use crate::files::{MAX_CONFIGURATION, NewFile, read_text_bounded};
use crate::netlink::routing::Routing;
use crate::netlink::{LiveSets, Socket};
use crate::picture::Page;
use crate::printable::printable;
use crate::process::privileges::{Confinement, Needs, need_net_admin};
use crate::state::State;
use sections::Answers;
use serde_json::json;
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

const HOST_NAME: &str = "/proc/sys/kernel/hostname";

/// Write one page about this machine: who reaches what, who was denied, what works against the policy, and every base chain.
///
/// The page is one file of HTML that needs nothing from elsewhere: no script, no font, no picture. It has a map of who reaches
/// which service and what listens, the table of `exposure`, what `doctor` found, who was `denied` lately, the `status`, and the
/// way of a packet through the base chains of all tables. What is not known says so. The file is written whole or not at all,
/// and its owner alone can read it: it tells where this machine is open.
///
/// With --fleet the page is about many hosts, from what each of them has answered; that takes no root.
///
/// Exit status: 0 success, 1 error.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The file to write; `-` is standard output.
    #[arg(long, value_name = "FILE")]
    html: PathBuf,
    /// Write the page about the hosts whose answers are in this folder: NAME.json, as `palisade_info` of the Ansible collection
    /// returns them.
    ///
    /// It tells which hosts are not as their policies say and in what, which ports are open to whom on how many of them, and what
    /// works against the policies; what is the same on many is said once. A host that has not answered is said to be unknown.
    #[arg(long, value_name = "DIR")]
    fleet: Option<PathBuf>,
}

impl Args {
    /// Whether the page goes to standard output.
    pub(crate) fn prints_a_page(&self) -> bool {
        self.html == Path::new(STDIN)
    }
}

pub(crate) fn run(path: &Path, state: &State, args: &Args) -> Result<Report, Error> {
    if let Some(folder) = &args.fleet {
        return of_fleet(folder, args);
    }
    need_net_admin("report")?;
    let file = (!args.prints_a_page()).then(|| NewFile::at(&args.html)).transpose();
    let file = file.map_err(|source| cannot(args, source))?;
    let surroundings = Surroundings::read();
    let found = Found::with(surroundings.machine().listeners.clone());
    let host = read_text_bounded(Path::new(HOST_NAME), MAX_CONFIGURATION).unwrap_or_default();
    let writes = file.iter().map(|file| file.folder().to_owned()).collect::<Vec<_>>();
    let writes = writes.iter().map(PathBuf::as_path).collect();
    let confined = Confinement::begin(Needs { namespace: true, writes, ..reader(state) });
    let installation = Installation::read(path, state);
    let desired = Desired::load(path, state).map(|desired| desired.with_temporary(state));
    let applied = applied(state);
    confined.keep_net_admin("report")?;

    let socket = Socket::open()?;
    let answers = Answers {
        exposed: found.and_then(|found| {
            let routing = Routing::open()?;
            let asked = socket
                .ask_live(|live| Kernel { socket: &socket, routing: &routing, live, planned: None }.exposed(&found));
            asked?
        }),
        examined: Live::ask(surroundings, installation, state)
            .and_then(|live| live.examine(&[]).map_err(Error::from)),
        denied: who_was_denied(),
        applied,
        status: status(path, state, &desired),
        desired,
        way: socket.ask_live(|live| sections::way(&live.ruleset, &LiveSets::new(&socket, live, None))),
    };
    let now = humantime::format_rfc3339_seconds(SystemTime::now());
    let page = Page {
        title: format!("palisade on {}", host.trim()),
        about: format!("Made by palisade {} at {now}.", env!("CARGO_PKG_VERSION")),
        sections: answers.sections(path),
    };
    written(&page, file, args)
}

/// The page about the hosts of a folder.
fn of_fleet(folder: &Path, args: &Args) -> Result<Report, Error> {
    let file = (!args.prints_a_page()).then(|| NewFile::at(&args.html)).transpose();
    let file = file.map_err(|source| cannot(args, source))?;
    let (page, hosts) = fleet::page(folder)?;
    Ok(written(&page, file, args)?.with("hosts", json!(hosts)))
}

fn cannot(args: &Args, source: io::Error) -> Error {
    Error::Io { what: format!("can't write {}", args.html.display()), source }
}

/// Writes a page to the file, if there is one.
fn written(page: &Page, file: Option<NewFile>, args: &Args) -> Result<Report, Error> {
    let html = page.html();
    let Some(file) = file else { return Ok(Report::ok(html.as_str(), json!({ "html": html }))) };
    file.finish(html.as_bytes()).map_err(|source| cannot(args, source))?;
    let text =
        format!("{} is written, {} kB\n", printable(&args.html.display().to_string()), html.len().div_ceil(1000));
    Ok(Report::ok(text, json!({ "written": args.html.display().to_string(), "bytes": html.len() })))
}
