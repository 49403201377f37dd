//! What bash, zsh and fish offer on the host of a lab, to root and to who may nothing.

mod support;

use std::collections::BTreeSet;
use std::fs;
use std::io::{Read, Write};
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use support::lab::{HOST, LOOPBACK, Lab};
use support::namespace::output;
use support::program::palisade;

const POLICY: &str = "version: 1
groups:
  owner: [203.0.113.20, { temporary: 12h }]
  offices: [192.0.2.0/24, \"2001:db8:7::1\", private]
services:
  ssh: { ports: 22/tcp, from: any }
  dashboard: { ports: [9000/tcp, 9001/tcp, 9010-9019/tcp], from: [owner, offices] }
forward:
  inner: { ports: 22/tcp, from: owner, to: 10.77.0.0/24 }
";

/// The end of a line, and all that is offered there. Colons part words in bash.
const OFFERED: [(&str, &[&str]); 22] = [
    ("ex", &["explain", "export", "exposure"]),
    ("expos", &["exposure"]),
    ("explain --pla", &["--planned"]),
    ("explain ", &["22/tcp", "9000/tcp", "9001/tcp", "8100/tcp", "ping"]),
    ("explain 22/tcp --from ", &["host", "203.0.113.20", "2001:db8:7::1"]),
    ("explain 22/tcp --from 2001:db8:", &["2001:db8:7::1"]),
    ("explain 22/tcp --to 10", &["10.77.0.1"]),
    ("explain 22/tcp --to=2001:", &["--to=2001:db8::1"]),
    ("explain 22/tcp --on e", &["eth0", "eth1"]),
    ("explain ping --user roo", &["root"]),
    ("suggest 203.0.113.66 9001", &["9001/tcp"]),
    ("add 81", &["8100/tcp"]),
    ("add 80/tcp --from ", &["any", "private", "containers", "owner", "offices"]),
    ("remove ", &["ssh", "dashboard"]),
    ("group ", &["add", "remove"]),
    ("group add ", &["owner", "offices"]),
    ("allow m", &["me"]),
    ("allow me --to ", &["ssh", "dashboard", "inner"]),
    ("allow me --group ", &["owner"]),
    ("block 192.0.2.66 --for ", &["30m", "8h", "1d"]),
    ("apply --confirm ", &["60s", "5m", "30m"]),
    ("check mine", &["mine.yaml", "mine-folder/"]),
];
/// Only root sees what palisade keeps.
const OFFERED_TO_ROOT: [(&str, &[&str]); 2] = [("rollback --to ", &["1", "2"]), ("revoke ", &["me", "203.0.113.30"])];

/// In the place of palisade: tells the words that a line has when it is run.
const TOLD: &str = "palisade() {
    if [ \"$1\" = complete ]; then command palisade \"$@\"; return; fi
    printf 'got<%s>' \"$@\"; echo 'got-all'
}
PS1='prompt> '
";
/// A key inserts all that is offered.
const BASH: &str = "source /usr/share/bash-completion/bash_completion; source <(command palisade completions bash)
bind '\"\\C-t\": insert-completions'; bind 'set enable-bracketed-paste off'
";
const ZSH: &str = "autoload -Uz compinit; compinit -u -D; source <(command palisade completions zsh)
zstyle ':completion:*' completer _all_matches _complete; zstyle ':completion:*' insert true
bindkey '^T' complete-word; PROMPT='prompt> '
";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shell {
    Bash,
    Zsh,
    Fish,
}

/// A lab with something that listens, two rulesets that were kept, and somebody who is let in for a time.
struct Shells {
    lab: Lab,
    _echo: support::echo::Echo,
}

impl Shells {
    fn new() -> Self {
        let lab = Lab::new();
        let folder = lab.policy("");
        for path in [folder.as_path(), folder.parent().expect("it lies in the lab's")] {
            fs::set_permissions(path, fs::Permissions::from_mode(0o755)).expect("it is root's");
        }
        fs::create_dir(lab.policy("mine-folder")).expect("the lab is writable");
        lab.write_policy("mine.yaml", &POLICY.replace("9000/tcp, ", ""));
        lab.palisade("mine.yaml", &["apply"]).success();
        lab.write_policy("mine.yaml", POLICY);
        lab.palisade("mine.yaml", &["apply"]).success();
        lab.palisade("mine.yaml", &["allow", "203.0.113.30"]).success();
        lab.write_policy("rc", &format!("{TOLD}{BASH}"));
        lab.write_policy(".zshrc", &format!("{TOLD}{ZSH}"));
        let listening = [SocketAddr::new(HOST[0], 8100), SocketAddr::new(LOOPBACK[0], 8101)];
        let echo = lab.host.listen(&listening, &[]);
        Self { lab, _echo: echo }
    }

    /// A program on the host, as root or as nobody, where the policies are.
    fn command(&self, nobody: bool, program: &[&str]) -> Command {
        let folder = self.lab.policy("");
        let mut command = self.lab.in_its_own_state("timeout");
        command.arg("60");
        if nobody {
            command.args(["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups", "--no-new-privs"]);
        }
        let program_folder = PathBuf::from(palisade()).parent().expect("it is in a folder").to_owned();
        command.args(program).current_dir(&folder).env("ZDOTDIR", &folder).env("TERM", "dumb");
        command.env("PATH", format!("{}:/usr/bin:/bin", program_folder.display()));
        command.env("HOME", if nobody { "/nonexistent".into() } else { folder });
        command
    }

    /// What a shell offers at the end of a line.
    #[track_caller]
    fn offered(&self, shell: Shell, nobody: bool, line: &str) -> BTreeSet<String> {
        let typed = format!("palisade --policy mine.yaml {line}");
        let before = typed.rsplit_once(' ').map_or(0, |(before, _)| before.split(' ').count() - 1);
        match shell {
            Shell::Bash => {
                told(self.command(nobody, &["script", "-qec", "bash --rcfile rc -i", "/dev/null"]), &typed)
            }
            Shell::Zsh => told(self.command(nobody, &["script", "-qec", "zsh -i", "/dev/null"]), &typed),
            Shell::Fish => {
                let line = format!("palisade completions fish | source; complete --do-complete '{typed}'");
                let said = output(&mut self.command(nobody, &["fish", "--no-config", "-c", &line])).stdout;
                return said.lines().map(|line| line.split('\t').next().unwrap_or_default().to_owned()).collect();
            }
        }
        .into_iter()
        .skip(before)
        .collect()
    }
}

/// The words of a line on a terminal, after the key that inserts all that is offered there.
fn told(mut shell: Command, typed: &str) -> Vec<String> {
    let mut child =
        shell.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("it is installed");
    let (mut input, mut screen) = (child.stdin.take().expect("it was piped"), child.stdout.take().expect("it was"));
    let mut shown = String::new();
    let mut until = |mark: &str, shown: &mut String| {
        let mut bytes = [0; 4096];
        while !shown.contains(mark) {
            match screen.read(&mut bytes) {
                Ok(0) | Err(_) => panic!("{typed}: no {mark} in {shown:?}"),
                Ok(read) => shown.push_str(&String::from_utf8_lossy(&bytes[..read])),
            }
        }
    };
    until("prompt> ", &mut shown);
    input.write_all(format!("{typed}\u{14}\n").as_bytes()).expect("it reads");
    until("got-all", &mut shown);
    input.write_all(b"exit\n").expect("it reads");
    child.wait().expect("it was started");
    let told = shown.split("got-all").next().unwrap_or_default();
    told.split("got<").skip(1).filter_map(|word| word.split_once('>')).map(|(word, _)| word.to_owned()).collect()
}

#[test]
fn each_shell_offers_what_may_stand_there_to_root_and_to_nobody() {
    let shells = Shells::new();
    let mut wrong = Vec::new();
    for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
        let of_root = OFFERED.iter().chain(&OFFERED_TO_ROOT).map(|(line, expected)| (false, *line, *expected));
        // The scripts ask the same of everybody.
        let of_nobody = OFFERED.iter().step_by(3).map(|(line, expected)| (true, *line, *expected));
        for (nobody, line, expected) in of_root.chain(of_nobody) {
            let expected: BTreeSet<String> = expected.iter().map(|&value| value.to_owned()).collect();
            let found = shells.offered(shell, nobody, line);
            if found != expected {
                wrong.push(format!("{shell:?}, nobody: {nobody}, {line:?}: {found:?}, not {expected:?}"));
            }
        }
    }
    assert_eq!(wrong, Vec::<String>::new(), "{}", wrong.join("\n"));
}

#[test]
fn whatever_is_typed_nothing_is_said_on_standard_error_and_the_rules_stay() {
    let shells = Shells::new();
    shells.lab.write_policy("broken.yaml", "version: 1\nservices: [\u{1b}[31m\n");
    let before = shells.lab.host.nft_list();
    let lines: [&[&str]; 9] = [
        &[],
        &[""],
        &["palisade"],
        &["palisade", "--policy", "none.yaml", "remove", ""],
        &["palisade", "--policy", "broken.yaml", "remove", ""],
        &["palisade", "--policy", "/dev/zero", "remove", ""],
        &["palisade", "apply", "--force", ""],
        &["palisade", "nonsense", "--", "--", ""],
        &["palisade", "--policy"],
    ];
    for (words, nobody) in lines.iter().flat_map(|words| [(words, false), (words, true)]) {
        for shell in ["bash", "zsh", "fish"] {
            let done = output(shells.command(nobody, &["palisade", "complete", shell]).args(*words));
            assert_eq!((done.status, done.stderr.as_str()), (Some(0), ""), "{shell}: {words:?}");
            let values = done.stdout.lines().filter(|line| !line.starts_with("--") && words.contains(&"remove"));
            assert_eq!(values.count(), 0, "{words:?}: {}", done.stdout);
        }
    }
    assert_eq!(shells.lab.host.nft_list(), before);
}
