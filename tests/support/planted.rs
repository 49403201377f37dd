//! A host on which problems are planted, and what `doctor` says of it.

use super::lab::Lab;
use super::namespace::{Output, output};
use super::program::palisade;
use serde_json::Value;
use std::fs;
use std::path::PathBuf;
use std::process::Command;
use tempfile::TempDir;

/// One that lets SSH in.
pub const POLICY: &str = "version: 1\nservices: { ssh: { ports: 22/tcp, from: any } }\n";

/// Lays the folders of a planted machine over those of this one, from which all that could be found is taken away.
const ON_ITS_OWN_FILES: &str = r#"set -e
    for folder in etc run usr var/lib/dpkg var/log; do
        mkdir -p "$0/upper/$folder" "$0/work/$folder" "$0/files/$folder"
        mount -t overlay -o "lowerdir=/$folder,upperdir=$0/upper/$folder,workdir=$0/work/$folder" overlay "/$folder"
    done
    rm -rf /etc/ufw /etc/docker /etc/containers /etc/cni /etc/nftables.conf /etc/palisade /run/podman /run/docker.sock
    rm -rf /etc/systemd/system /run/systemd/system
    for folder in etc run usr var/lib/dpkg var/log; do cp -a "$0/files/$folder/." "/$folder"; done
    exec "$@""#;

/// A lab's host with a policy that is applied, and files of its own below `/etc`, `/run` and `/usr`.
pub struct Planted<'l> {
    lab: &'l Lab,
    files: TempDir,
}

/// What `doctor` said.
pub struct Said {
    status: Option<i32>,
    text: String,
    findings: Vec<(String, String)>,
    helps: Vec<String>,
}

impl<'l> Planted<'l> {
    pub fn new(lab: &'l Lab) -> Self {
        let planted = Self::over(lab);
        planted.apply(POLICY);
        planted
    }

    /// With the policy that the lab has, and what is loaded of it.
    pub fn over(lab: &'l Lab) -> Self {
        let files = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("the folder for tests is writable");
        Self { lab, files }
    }

    /// Writes another policy, and loads it.
    #[track_caller]
    pub fn apply(&self, policy: &str) {
        self.lab.write_policy("policy.yaml", policy);
        self.lab.palisade("policy.yaml", &["apply"]).success();
    }

    fn file(&self, path: &str) -> PathBuf {
        let path = self.files.path().join("files").join(path.trim_start_matches('/'));
        fs::create_dir_all(path.parent().expect("it is absolute")).expect("scratch is writable");
        path
    }

    pub fn write(&self, path: &str, text: &str) {
        fs::write(self.file(path), text).expect("scratch is writable");
    }

    pub fn link(&self, path: &str, to: &str) {
        std::os::unix::fs::symlink(to, self.file(path)).expect("scratch is writable");
    }

    /// The same files on a machine that was started anew: none of its rules is left but those of the policy.
    pub fn started_anew<'a>(self, lab: &'a Lab) -> Planted<'a> {
        let planted = Planted { lab, files: self.files };
        planted.apply(POLICY);
        planted
    }

    /// Runs a remedy as it is printed, then asks. A `palisade` in it is this one, with the planted policy.
    #[track_caller]
    pub fn doctor_after(&self, remedy: &str) -> Said {
        self.doctor_with("", remedy, &[])
    }

    /// Runs a remedy with functions in the place of programs that this machine does not have, then asks, by way of what
    /// stands before palisade.
    #[track_caller]
    pub fn doctor_with(&self, functions: &str, remedy: &str, before: &[&str]) -> Said {
        let policy = self.lab.policy("policy.yaml");
        let script = format!(
            "palisade() {{ {} --policy {} \"$@\"; }}; {functions} {{ {remedy}; }} >&2; exec \"$@\"",
            palisade(),
            policy.display()
        );
        // Without a systemd that runs, systemctl works on the files.
        self.doctor_in(&[&["env", "SYSTEMD_OFFLINE=1", "/bin/sh", "-c", &script, "sh"], before].concat())
    }

    fn command(&self, before: &[&str], arguments: &[&str]) -> Command {
        let mut command = self.lab.in_its_own_state("/bin/sh");
        command.args(["-c", ON_ITS_OWN_FILES]).arg(self.files.path()).args(before);
        command.arg(palisade()).arg("--policy").arg(self.lab.policy("policy.yaml")).args(arguments);
        command
    }

    /// Runs palisade with the planted policy.
    pub fn palisade(&self, arguments: &[&str]) -> Output {
        output(&mut self.command(&[], arguments))
    }

    /// Runs a remedy as it is printed, then palisade with the planted policy.
    pub fn after(&self, remedy: &str, arguments: &[&str]) -> Output {
        let script = format!("{{ {remedy}; }} >&2; exec \"$@\"");
        // Without a systemd that runs, systemctl works on the files.
        output(&mut self.command(&["env", "SYSTEMD_OFFLINE=1", "/bin/sh", "-c", &script, "sh"], arguments))
    }

    #[track_caller]
    pub fn doctor(&self) -> Said {
        self.doctor_in(&[])
    }

    #[track_caller]
    pub fn doctor_in(&self, before: &[&str]) -> Said {
        Said::by(|arguments| output(&mut self.command(before, arguments)))
    }
}

impl Said {
    /// Asks twice, for text and for JSON.
    #[track_caller]
    pub fn by(palisade: impl Fn(&[&str]) -> Output) -> Self {
        let (text, done) = (palisade(&["doctor"]), palisade(&["doctor", "--json"]));
        let document: Value =
            serde_json::from_str(&done.stdout).unwrap_or_else(|_| panic!("{}{}", done.stdout, done.stderr));
        assert_eq!(text.status, done.status, "{}", text.stderr);
        let said = |name: &str| -> Vec<String> {
            let findings = document["findings"].as_array().expect("a list");
            findings.iter().map(|finding| finding[name].as_str().expect("a text").to_owned()).collect()
        };
        let said = Said {
            status: done.status,
            text: text.stdout,
            findings: said("id").into_iter().zip(said("message")).collect(),
            helps: said("help"),
        };
        eprintln!("{}", said.text);
        said
    }
}

impl Said {
    /// Fails unless there is one finding, of that kind, with these words in it.
    #[track_caller]
    pub fn is_one(&self, id: &str, words: &[&str]) {
        self.are(&[id], words);
    }

    /// Fails unless these are the findings, with these words in them.
    #[track_caller]
    pub fn are(&self, ids: &[&str], words: &[&str]) {
        assert_eq!(self.findings.iter().map(|(id, _)| id.as_str()).collect::<Vec<_>>(), ids, "{}", self.text);
        assert_eq!(self.status, Some(2));
        for word in words {
            assert!(self.text.contains(word), "no {word:?} in {}", self.text);
        }
        assert!(self.helps.iter().all(|help| !help.is_empty()));
    }

    /// Kind and message of each finding.
    pub fn findings(&self) -> &[(String, String)] {
        &self.findings
    }

    /// The remedy for a finding, as it is printed.
    #[track_caller]
    pub fn help(&self, id: &str) -> &str {
        let finding = self.findings.iter().position(|(found, _)| found == id).expect("the finding");
        &self.helps[finding]
    }

    /// The remedies for all findings of a kind.
    pub fn helps_of(&self, id: &str) -> Vec<&str> {
        let of_id = self.findings.iter().zip(&self.helps).filter(|((found, _), _)| found == id);
        of_id.map(|(_, help)| help.as_str()).collect()
    }

    /// What it said.
    pub fn text(&self) -> &str {
        &self.text
    }

    #[track_caller]
    pub fn has(&self, id: &str) {
        assert!(self.findings.iter().any(|(found, _)| found == id), "no {id}: {}", self.text);
    }

    #[track_caller]
    pub fn has_no(&self, id: &str) {
        assert!(!self.findings.iter().any(|(found, _)| found == id), "{}", self.text);
    }

    /// The parts in backquotes of the remedy for a finding, in order.
    #[track_caller]
    pub fn commands(&self, id: &str) -> Vec<String> {
        let finding = self.findings.iter().position(|(found, _)| found == id).expect("the finding");
        self.helps[finding].split('`').skip(1).step_by(2).map(str::to_owned).collect()
    }

    /// Fails unless these are the findings, and none of them counts.
    #[track_caller]
    pub fn are_notes(&self, ids: &[&str]) {
        assert_eq!(self.findings.iter().map(|(id, _)| id.as_str()).collect::<Vec<_>>(), ids, "{}", self.text);
        assert_eq!(self.status, Some(0), "{}", self.text);
        let notes = if ids.len() == 1 { "1 note".to_owned() } else { format!("{} notes", ids.len()) };
        let last = self.text.lines().last().map(str::to_owned);
        assert_eq!(last, Some(format!("healthy: nothing on this machine works against the policy, {notes}")));
    }

    /// Fails unless nothing counts, and that many findings are ignored.
    #[track_caller]
    pub fn is_healthy_but_ignoring(&self, count: usize) {
        assert_eq!(self.findings, [], "{}", self.text);
        assert_eq!((self.status, self.text.matches("ignored[").count()), (Some(0), count), "{}", self.text);
    }

    #[track_caller]
    pub fn is_healthy(&self) {
        assert_eq!(self.findings, [], "{}", self.text);
        assert_eq!(
            (self.status, self.text.as_str()),
            (Some(0), "healthy: nothing on this machine works against the policy\n")
        );
    }
}
