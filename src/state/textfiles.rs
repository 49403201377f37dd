//! The files that `palisade metrics` has written for node_exporter, a path a line, so that `disable` and the removal of the
//! package leave none: nothing expires by itself, and the exporter would tell its numbers for ever.

use super::{MAX_SMALL, State, StateError, files};
use std::io;
use std::path::{Path, PathBuf};

const TEXTFILES: &str = "textfiles";

impl State {
    /// The files; none if that is not known.
    #[must_use]
    pub fn textfiles(&self) -> Vec<PathBuf> {
        let read = files::read(&self.folder.join(TEXTFILES), MAX_SMALL);
        let bytes = read.unwrap_or_else(|error| {
            tracing::warn!("{error}: which files palisade has written for node_exporter is not known");
            None
        });
        String::from_utf8_lossy(&bytes.unwrap_or_default()).lines().map(PathBuf::from).collect()
    }

    /// Notes a file that is about to be written, by its absolute path.
    ///
    /// # Errors
    /// The note can't be written, or the path is not one line of text.
    pub fn note_textfile(&self, path: &Path) -> Result<(), StateError> {
        let mut paths = self.textfiles();
        if paths.iter().any(|known| known == path) {
            return Ok(());
        }
        paths.push(path.to_owned());
        self.make_folder()?;
        let lines: Option<String> = paths.iter().map(|path| line(path)).collect();
        let no_line = || io::Error::other(format!("{} is not one line of text", path.display()));
        let lines =
            lines.ok_or_else(|| StateError::Write { path: self.folder.join(TEXTFILES), source: no_line() })?;
        files::write(&self.folder, TEXTFILES, lines.as_bytes())
    }
}

fn line(path: &Path) -> Option<String> {
    path.to_str().filter(|path| !path.contains('\n')).map(|path| format!("{path}\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_noted_once_and_one_whose_path_is_no_line_is_refused() {
        let folder = tempfile::tempdir().expect("a folder");
        let state = State::new(folder.path().join("state"), folder.path().join("run"));
        assert_eq!(state.textfiles(), Vec::<PathBuf>::new());
        let paths = ["/var/lib/a b/palisade.prom", "/srv/palisade.prom"].map(PathBuf::from);

        for path in paths.iter().chain(&paths) {
            state.note_textfile(path).expect("it can be written");
        }

        assert_eq!(state.textfiles(), paths);
        let odd = Path::new("/srv/a\nb/palisade.prom");
        let error = state.note_textfile(odd).expect_err("two lines").to_string();
        assert!(error.ends_with("/textfiles: /srv/a\nb/palisade.prom is not one line of text"), "{error}");
        assert_eq!(state.textfiles(), paths);
    }
}
