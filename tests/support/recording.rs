//! What a real engine loaded, with a container for each way of publishing a port, as a file of `tests/data/rulesets/`.

use super::namespace::{Namespace, output};
use super::probe::Target;
use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;

/// The recorded rules of one engine.
#[derive(Clone)]
pub struct Recording {
    texts: Vec<(Program, String)>,
    loads: bool,
}

impl std::fmt::Debug for Recording {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "a recording of {} files", self.texts.len())
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Program {
    Iptables,
    Ip6tables,
    Nft,
}

/// A port of the host that leads to a port of a container.
pub struct Published {
    pub bridge: String,
    /// The port that the outside sees.
    pub target: Target,
    /// The only address of the host that it is published on; else all are.
    pub only: Option<IpAddr>,
    pub to: SocketAddr,
}

impl Recording {
    pub fn read(name: &str) -> Self {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/rulesets");
        let programs =
            [(Program::Iptables, "iptables-save"), (Program::Ip6tables, "ip6tables-save"), (Program::Nft, "nft")];
        let found = programs.into_iter().filter_map(|(program, extension)| {
            fs::read_to_string(folder.join(format!("{name}.{extension}"))).ok().map(|text| (program, text))
        });
        let found: Vec<_> = found.collect();
        assert!(!found.is_empty(), "there is no recording {name}");
        Self { texts: found, loads: true }
    }

    /// The same containers where the engine was told to load no rules (`iptables: false`).
    pub fn unloaded(self) -> Self {
        Self { loads: false, ..self }
    }

    /// Loads it, in place of what it or another version of it loaded, as the engine does when it is started.
    #[track_caller]
    pub fn load(&self, inside: &Namespace) {
        let file = tempfile::NamedTempFile::new().expect("a temporary file");
        for (program, text) in self.texts.iter().filter(|_| self.loads) {
            let (program, text) = match program {
                Program::Iptables => ("iptables-nft-restore", text.clone()),
                Program::Ip6tables => ("ip6tables-nft-restore", text.clone()),
                Program::Nft => ("nft", replacing(text)),
            };
            fs::write(file.path(), text).expect("it is writable");
            let mut command = inside.command(program);
            if program == "nft" {
                command.arg("-f");
            }
            output(command.arg(file.path())).success();
        }
    }

    /// Every port that the rules translate.
    pub fn published(&self) -> Vec<Published> {
        self.lines().filter_map(published).collect()
    }

    /// The bridges with the networks behind them, whose senders they masquerade.
    pub fn bridges(&self) -> Vec<(String, String)> {
        let masqueraded = |line: &str| {
            let words = words(line);
            let masquerades = words.iter().any(|word| word.eq_ignore_ascii_case("masquerade"));
            let bridge = after(&words, ["-o", "oifname"])?;
            masquerades.then_some((bridge, after(&words, ["-s", "saddr"])?))
        };
        self.lines().filter_map(masqueraded).collect()
    }

    /// The bridge of the `--internal` network.
    pub fn internal_bridge(&self) -> String {
        let internal = |line: &str| {
            let words = words(line);
            let old = (after(&words, ["-s", "-s"])? == "172.20.0.0/16").then(|| after(&words, ["-o", "-o"]));
            old.flatten()
        };
        let newer = |line: &str| {
            line.contains("INTERNAL NETWORK INGRESS").then(|| after(&words(line), ["iifname", "iifname"])).flatten()
        };
        self.lines().find_map(|line| internal(line).or_else(|| newer(line))).expect("each recording has one")
    }

    /// The same with every mention of one address another one: its container was made anew.
    pub fn moved(&self, from: IpAddr, to: IpAddr) -> Self {
        let moved = |text: &String| {
            let digit = |c: Option<char>| c.is_some_and(|c| c.is_ascii_hexdigit());
            let (name, new) = (from.to_string(), to.to_string());
            let mut pieces = text.split(&name);
            let mut result = pieces.next().unwrap_or_default().to_owned();
            for piece in pieces {
                // Only as a whole: 172.17.0.2 stands in 172.17.0.20 too.
                let address = if digit(piece.chars().next()) { &name } else { &new };
                result += address;
                result += piece;
            }
            result
        };
        self.rewritten(moved)
    }

    /// The same with every rule, chain and element that speaks of a bridge once more for another one, as those pairs
    /// of words say.
    pub fn with_another(&self, bridge: &str, renamed: &[(&str, &str)]) -> Self {
        let once_more = |text: &String| {
            let another =
                |line: &str| renamed.iter().fold(line.to_owned(), |line, (one, other)| line.replace(one, other));
            let mut result = String::new();
            let mut block: Option<String> = None;
            for line in text.split_inclusive('\n') {
                result += line;
                match &mut block {
                    Some(chain) => {
                        *chain += &another(line);
                        if line == "\t}\n" {
                            result += &block.take().unwrap_or_default();
                        }
                    }
                    None if line.contains(bridge) && line.starts_with("\tchain ") => block = Some(another(line)),
                    None if line.contains(bridge) => result += &another(line),
                    None => {}
                }
            }
            result
        };
        self.rewritten(once_more)
    }

    /// The same without the lines that have one of these words in them.
    pub fn without(&self, words: &[&str]) -> Self {
        let keep = |line: &&str| !words.iter().any(|word| line.contains(word));
        self.rewritten(|text| text.split_inclusive('\n').filter(keep).collect())
    }

    fn rewritten(&self, rewrite: impl Fn(&String) -> String) -> Self {
        let texts = self.texts.iter().map(|(program, text)| (*program, rewrite(text))).collect();
        Self { texts, loads: self.loads }
    }

    fn lines(&self) -> impl Iterator<Item = &str> {
        self.texts.iter().flat_map(|(_, text)| text.lines())
    }
}

/// An nft file that takes the place of its own tables: `nft -f` alone would add to them.
fn replacing(text: &str) -> String {
    let tables = text.lines().filter_map(|line| line.strip_prefix("table ")).map(|line| line.trim_end_matches(" {"));
    let delete = tables.map(|table| format!("add table {table}\ndelete table {table}\n"));
    delete.chain([text.to_owned()]).collect()
}

/// Reads a line of iptables-save or of nft's listing that translates a destination.
fn published(line: &str) -> Option<Published> {
    let words = words(line);
    let to = after(&words, ["--to-destination", "to"])?.parse().ok()?;
    let port = after(&words, ["--dport", "dport"])?.parse().ok()?;
    let target = if words.contains(&"udp") { Target::Udp(port) } else { Target::Tcp(port) };
    let only = after(&words, ["-d", "daddr"]).and_then(|address| address.trim_end_matches("/32").parse().ok());
    Some(Published { bridge: after(&words, ["-i", "iifname"])?, target, only, to })
}

fn words(line: &str) -> Vec<&str> {
    let words = line.split_whitespace().filter(|word| !["!", "!="].contains(word));
    words.map(|word| word.trim_matches('"')).collect()
}

fn after(words: &[&str], keys: [&str; 2]) -> Option<String> {
    let at = words.iter().position(|word| keys.contains(word))?;
    words.get(at + 1).map(|word| (*word).to_owned())
}
