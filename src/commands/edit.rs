//! `palisade edit`

use super::Report;
use super::prompt::agreed;
use crate::error::Error;
use crate::files::{MAX_POLICY, Refusal, Replacement, read_trusted};
use crate::policy::{Problems, Source, Sources};
use crate::printable::printable;
use crate::process::privileges::need_net_admin;
use crate::state::State;
use serde_json::{Value, json};
use std::ffi::OsString;
use std::fs::{self, OpenOptions};
use std::io::{self, IsTerminal, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

/// Edit the policy, and apply it.
///
/// Opens a copy in $VISUAL or $EDITOR, and checks it when the editor ends; a policy with problems is opened again, at the
/// first of them. Then shows the plan, as `palisade diff` does, asks, writes the file, and applies it as `palisade apply
/// --confirm 60s` does: it is undone after a minute unless you run `palisade confirm` from a new connection or, at the
/// console, say so.
///
/// Exit status: 0 success or nothing to do, 1 the policy is as it was, or could not be applied.
#[derive(Debug, clap::Args)]
pub struct Args {}

/// How long the change waits for confirmation.
const TIME: &str = "60s";
/// Editors that take `+LINE` before the file.
const TAKE_A_LINE: [&str; 9] = ["vi", "vim", "nvim", "vim.basic", "vim.tiny", "nano", "emacs", "joe", "editor"];

pub(crate) fn run(path: &Path, state: &State) -> Result<Report, Error> {
    need_net_admin("edit")?;
    if !io::stdin().is_terminal() {
        return Err(Error::Declined(
            "`palisade edit` needs a terminal; `palisade add` and `group` do not".to_owned(),
        ));
    }
    let old = read_trusted(path, MAX_POLICY).map_err(|refusal| refused(path, refusal))?;
    let copy = path.with_file_name(format!(".{}.edited", path.file_name().unwrap_or_default().to_string_lossy()));
    let failed = |source| Error::Io { what: format!("{} can't be edited", path.display()), source };
    write_new(&copy, &old).map_err(|error| {
        if error.kind() != io::ErrorKind::AlreadyExists {
            return failed(error);
        }
        let copy = copy.display();
        Error::Declined(format!(
            "{copy} is there: somebody edits the policy, or it is left of an edit; then move it away"
        ))
    })?;
    let palisade = Palisade { policy: &copy, state };
    let new = edited(&palisade, &old).map_err(failed)??;
    let Some(new) = new else {
        fs::remove_file(&copy).map_err(failed)?;
        return Ok(Report::ok("nothing was changed\n", json!({ "written": false, "applied": false })));
    };
    let diff = palisade.run(&["diff"]).map_err(failed)?;
    // The plan, which is printed before the rules.
    let plan = diff.1.lines().take_while(|line| !line.starts_with("--- "));
    let plan: String = plan.map(|line| format!("{line}\n")).collect();
    let plan = if plan.is_empty() { "the kernel holds this policy already\n".to_owned() } else { plan };
    let question = format!("{plan}Write {}, and apply it for {TIME}? [y/N] ", printable(&path.display().to_string()));
    agreed(&question, &format!("not written; what you have written is in {}", copy.display()))?;
    let replacement = Replacement::of(path, MAX_POLICY).map_err(|refusal| refused(path, refusal))?;
    if replacement.old() != old {
        let text =
            format!("somebody else has changed the policy meanwhile; what you have written is in {}", copy.display());
        return Err(Error::Declined(text));
    }
    replacement.finish(&new).map_err(failed)?;
    fs::remove_file(&copy).map_err(failed)?;
    let (status, text) = Palisade { policy: path, state }.run(&["apply", "--confirm", TIME]).map_err(failed)?;
    let json = json!({ "written": true, "applied": status == 0 });
    Ok(Report { status, text: text.into(), json })
}

/// Writes a file for this user alone, which must not be there yet.
fn write_new(path: &Path, bytes: &[u8]) -> io::Result<()> {
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?.write_all(bytes)
}

/// Has the copy edited until it is valid; `None` if it is as it was.
fn edited(palisade: &Palisade<'_>, old: &[u8]) -> io::Result<Result<Option<Vec<u8>>, Error>> {
    let mut line = None;
    loop {
        open(palisade.policy, line)?;
        let new = fs::read(palisade.policy)?;
        if new == old {
            return Ok(Ok(None));
        }
        // It says the problems on standard error.
        let (status, document) = palisade.run(&["check", "--json"])?;
        if status == 0 {
            return Ok(Ok(Some(new)));
        }
        let document: Value = serde_json::from_str(&document).unwrap_or_default();
        line = document.pointer("/problems/0/line").and_then(Value::as_u64);
        let kept = format!("the policy is as it was; what you have written is in {}", palisade.policy.display());
        if let Err(error) = agreed("Edit it again? [y/N] ", &kept) {
            return Ok(Err(error));
        }
    }
}

/// Opens a file in the user's editor, and waits.
fn open(file: &Path, line: Option<u64>) -> io::Result<()> {
    let named =
        ["VISUAL", "EDITOR"].into_iter().find_map(|name| std::env::var(name).ok().filter(|name| !name.is_empty()));
    let editor = named.unwrap_or_else(|| "vi".to_owned());
    let program = editor.split(' ').next().and_then(|program| program.rsplit('/').next()).unwrap_or_default();
    let at = line.filter(|_| TAKE_A_LINE.contains(&program)).map(|line| format!("+{line}"));
    // The variable may hold arguments, too.
    let mut command = Command::new("/bin/sh");
    command.args(["-c", &format!("exec {editor} \"$@\""), "sh"]).args(at).arg(file);
    let status = command.status()?;
    if status.success() { Ok(()) } else { Err(io::Error::other(format!("the editor `{editor}` failed: {status}"))) }
}

/// This program, for a policy: each command is a process of its own, which confines itself.
struct Palisade<'a> {
    policy: &'a Path,
    state: &'a State,
}

impl Palisade<'_> {
    /// Its exit status and its standard output.
    fn run(&self, arguments: &[&str]) -> io::Result<(u8, String)> {
        let folder = |option: &str, folder: &Path| [OsString::from(option), folder.into()];
        let program: PathBuf = std::env::current_exe()?;
        let mut command = Command::new(program);
        command.args(folder("--policy", self.policy)).args(folder("--state-dir", self.state.folder()));
        command.args(folder("--run-dir", self.state.run_folder())).args(arguments);
        // At the console `apply --confirm` asks.
        let done = command.stdin(Stdio::inherit()).stderr(Stdio::inherit()).output()?;
        let status = done.status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(1);
        Ok((status, String::from_utf8_lossy(&done.stdout).into_owned()))
    }
}

fn refused(path: &Path, refusal: Refusal) -> Error {
    let source = Source { name: path.display().to_string(), text: Arc::from("") };
    Error::Policy(Problems::new(vec![refusal.into()], Sources(vec![source])))
}
