//! Reads the files of other firewalls: root's own alone, whole or not at all, and within bounds.

use crate::error::Error;
use crate::files::{MAX_CONFIGURATION, read_text_bounded, read_trusted};
use crate::migrate::{firewalld, ufw};
use std::fs;
use std::io::{ErrorKind, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// How many files a folder may have.
const MOST_FILES: usize = 2_000;
/// How many bytes all files of a firewall may have together.
const MOST_BYTES: usize = 32 << 20;

/// A text that somebody saved; `-` is standard input.
pub(super) fn text(path: &Path) -> Result<String, Error> {
    let unreadable = |error: std::io::Error| Error::Declined(format!("{} can't be read: {error}", path.display()));
    let text = if path == Path::new("-") {
        let mut text = String::new();
        let limit = MAX_CONFIGURATION.saturating_mul(8);
        std::io::stdin().lock().take(limit.saturating_add(1)).read_to_string(&mut text).map_err(unreadable)?;
        if u64::try_from(text.len()).unwrap_or(u64::MAX) > limit {
            return Err(Error::Declined(format!("standard input has more than {limit} bytes")));
        }
        text
    } else {
        read_text_bounded(path, MAX_CONFIGURATION.saturating_mul(8)).map_err(unreadable)?
    };
    Ok(text)
}

/// The files of ufw that are there.
pub(super) fn of_ufw(root: &Path) -> Result<ufw::Installation, Error> {
    let mut installation = ufw::Installation::default();
    for path in ufw::FILES {
        let Some(file) = file(root, path)? else { continue };
        if file.is_executable {
            installation.executable.insert(path.to_owned());
        }
        installation.files.insert(path.to_owned(), file.text);
    }
    Ok(installation)
}

/// The files of firewalld that are there.
pub(super) fn of_firewalld(root: &Path) -> Result<firewalld::Installation, Error> {
    let mut installation = firewalld::Installation::default();
    let mut bytes = 0;
    let mut paths: Vec<String> = firewalld::FILES.map(str::to_owned).to_vec();
    for folder in firewalld::FOLDERS {
        for kind in firewalld::KINDS {
            let below = format!("{folder}/{kind}");
            for name in names(root, &below)? {
                let path = format!("{below}/{name}");
                if name.ends_with(".xml") {
                    paths.push(path);
                } else if kind == "zones" && root.join(&path).is_dir() {
                    installation.folders.insert(path);
                }
            }
        }
    }
    for path in paths {
        let Some(file) = file(root, &path)? else { continue };
        bytes += file.text.len();
        if bytes > MOST_BYTES {
            let root = root.display();
            return Err(Error::Declined(format!(
                "{root}: firewalld's files have more than {MOST_BYTES} bytes together"
            )));
        }
        installation.files.insert(path, file.text);
    }
    installation.has_network_manager = root.join("etc/NetworkManager/NetworkManager.conf").exists();
    Ok(installation)
}

/// The names in a folder, sorted; none where there is no such folder.
fn names(root: &Path, folder: &str) -> Result<Vec<String>, Error> {
    let full = root.join(folder);
    let entries = match fs::read_dir(&full) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(Error::Declined(format!("{} can't be read: {error}", full.display()))),
    };
    let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let mut names: Vec<String> = names.take(MOST_FILES + 1).collect();
    if names.len() > MOST_FILES {
        return Err(Error::Declined(format!("{} has more than {MOST_FILES} files", full.display())));
    }
    names.sort();
    Ok(names)
}

struct File {
    text: String,
    is_executable: bool,
}

/// A file, where it is there.
fn file(root: &Path, path: &str) -> Result<Option<File>, Error> {
    let full = root.join(path);
    let about = match fs::symlink_metadata(&full) {
        Ok(about) => about,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(Error::Declined(format!("{} can't be read: {error}", full.display()))),
    };
    // A link in the copy of another machine leads to a file of this one.
    if root != Path::new("/") && about.is_symlink() {
        return Err(Error::Declined(format!("{} is a link: copy the file itself", full.display())));
    }
    let is_executable = about.permissions().mode() & 0o111 != 0 && about.is_file();
    let bytes = read_trusted(&full, MAX_CONFIGURATION).map_err(|refusal| {
        let help = refusal.help.as_ref().map(|help| format!(" ({help})")).unwrap_or_default();
        Error::Declined(format!("{refusal}{help}"))
    })?;
    Ok(Some(File { text: String::from_utf8_lossy(&bytes).into_owned(), is_executable }))
}
