//! What ufw has besides its rules: files that people edit by hand, init scripts, sysctls.

use crate::migrate::cut::Redirect;
use crate::migrate::names::Names;
use crate::migrate::report::{Entry, Fate, Report};
use crate::migrate::service::written;
use crate::migrate::spans::InWords;
use crate::migrate::tuple::{Place, interface};
use crate::net::{IfPattern, Version};
use std::collections::{BTreeMap, BTreeSet};

/// The files with rules of the owner's own.
const BY_HAND: [&str; 4] = ["before.rules", "before6.rules", "after.rules", "after6.rules"];
/// Where the package keeps copies of these, as they were.
const PRISTINE: &str = "usr/share/ufw/iptables";
/// What ufw-docker writes around its rules.
const DOCKER_BEGINS: &str = "# BEGIN UFW AND DOCKER";
const DOCKER_ENDS: &str = "# END UFW AND DOCKER";
/// Digests (FNV-1a, 64 bits) of the lines of the stock files of 0.36: without what is between words.
const STOCK: &[u64] = &include!("stock.in");

/// What is said of a line about echo requests.
const PING: &str = "`ping` in `defaults` says it";

/// What was found.
#[derive(Debug, Default)]
pub(super) struct More {
    /// Whether echo requests are answered; `None`: over one version, or nobody knows.
    pub(super) ping: Option<bool>,
    /// Redirects of each version.
    pub(super) redirects: [Vec<Redirect>; 2],
    /// Ports of which nobody knows who answers: whether of TCP, and the port; of each version.
    pub(super) refused: BTreeSet<(bool, u16)>,
    /// Whether ufw-docker was here.
    pub(super) has_docker: bool,
    /// Whether everyone may ask by multicast for names (mDNS) and devices (UPnP).
    pub(super) multicast: [bool; 2],
    /// Whose source addresses are rewritten.
    masks: Vec<Mask>,
}

/// A line of *nat that rewrites source addresses.
#[derive(Debug)]
struct Mask {
    from: String,
    to: IfPattern,
    as_address: Option<String>,
    place: String,
}

/// Reads the files in which owners add rules of their own.
pub(super) fn read(files: &BTreeMap<String, String>, report: &mut Report) -> More {
    let mut more = More::default();
    let mut pings = Vec::new();
    for name in BY_HAND {
        let path = format!("etc/ufw/{name}");
        let Some(text) = files.get(&path) else {
            if name.starts_with("before.") {
                report.note(Some(path), "is not there: whether pings were answered is not known");
            }
            continue;
        };
        let version = if name.contains('6') { Version::V6 } else { Version::V4 };
        let pristine = files.get(&format!("{PRISTINE}/{name}")).map(String::as_str).unwrap_or_default();
        let known: BTreeSet<String> = pristine.lines().map(plain).collect();
        if name.starts_with("before") {
            pings.push(answers_ping(text));
            let has = |address: &str| {
                text.lines().map(plain).any(|line| line.contains(address) && line.ends_with("-j ACCEPT"))
            };
            more.multicast[0] |= has("-d 224.0.0.251 --dport 5353");
            more.multicast[1] |= has("-d 239.255.255.250 --dport 1900");
        }
        more.lines(name, text, version, &known, report);
    }
    more.ping = match pings.as_slice() {
        [] => None,
        [first, rest @ ..] if rest.iter().all(|one| one == first) => Some(*first),
        _ => {
            report.note(
                Some("etc/ufw/before6.rules".to_owned()),
                "pings were answered over one version of IP alone: `ping: deny` is for both",
            );
            Some(false)
        }
    };
    more
}

/// A line with one blank between words, in the words of today.
fn plain(line: &str) -> String {
    let words: Vec<&str> = line.split_whitespace().collect();
    words.join(" ").replace("-m state --state", "-m conntrack --ctstate")
}

fn digest(line: &str) -> u64 {
    line.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

/// Whether the first line about echo requests to this machine accepts them.
fn answers_ping(text: &str) -> bool {
    let is_about =
        |line: &String| line.starts_with("-A ufw") && line.contains("-before-input") && line.contains("echo-request");
    text.lines().map(plain).find(is_about).is_some_and(|line| line.ends_with("-j ACCEPT"))
}

impl More {
    /// Goes through the lines that are not the package's.
    fn lines(&mut self, name: &str, text: &str, version: Version, known: &BTreeSet<String>, report: &mut Report) {
        let (mut table, mut in_docker) = (String::new(), false);
        for (at, line) in text.lines().enumerate() {
            let line = line.trim();
            match line {
                DOCKER_BEGINS => in_docker = true,
                DOCKER_ENDS => in_docker = false,
                _ => {}
            }
            if in_docker {
                self.has_docker = true;
                continue;
            }
            if let Some(name) = line.strip_prefix('*') {
                name.clone_into(&mut table);
            }
            let plain = plain(line);
            let is_rule = ["-A ", "-I ", "-D ", "-F", "-P "].iter().any(|begin| plain.starts_with(begin));
            let is_stock = table == "filter" && STOCK.contains(&digest(&plain)) || known.contains(&plain);
            if !is_rule || is_stock || plain.starts_with("-F") {
                continue;
            }
            let place = format!("{name}:{}", at + 1);
            let mask = Some(&plain).filter(|_| table == "nat").and_then(|line| mask(line, version, &place));
            let (fate, why) = match mask {
                Some(mask) => {
                    self.masks.push(mask);
                    (Fate::Exact, vec!["`nat` does it".to_owned()])
                }
                None => {
                    let why = self.of_own(&table, &plain, version);
                    let is_ping = why.first().is_some_and(|why| why == PING);
                    (if is_ping { Fate::Exact } else { Fate::NotTranslated }, why)
                }
            };
            report.rules.push(Entry { fate, rule: line.to_owned(), places: vec![place], why });
        }
    }

    /// What is to be said of a line that an owner added.
    fn of_own(&mut self, table: &str, line: &str, version: Version) -> Vec<String> {
        let words: Vec<&str> = line.split(' ').collect();
        let value =
            |option: &str| words.iter().position(|word| *word == option).and_then(|at| words.get(at + 1)).copied();
        let goes_on = "goes on only while something else loads it".to_owned();
        if line.contains("echo-request") && value("-A").is_some_and(|chain| chain.ends_with("-before-input")) {
            return vec![PING.to_owned()];
        }
        let translates = table == "nat" && matches!(value("-j"), Some("REDIRECT" | "DNAT"));
        let is_tcp = match value("-p") {
            Some("tcp") => Some(true),
            Some("udp") => Some(false),
            _ => None,
        };
        let asked = value("--dport").and_then(|port| port.parse::<u16>().ok());
        let Some((is_tcp, asked)) = is_tcp.zip(asked).filter(|_| translates) else {
            return std::iter::once(goes_on).chain(denies(line)).collect();
        };
        let protocol = if is_tcp { "tcp" } else { "udp" };
        let seen = value("--to-ports").or_else(|| value("--to-port")).and_then(|port| port.parse::<u16>().ok());
        // Nothing else is asked of the packet: -A PREROUTING -p tcp [-m tcp] --dport 80 -j REDIRECT --to-ports 8080.
        let is_plain = words.len() == if line.contains(&format!("-m {protocol} ")) { 12 } else { 10 };
        match seen.filter(|_| is_plain && value("-A") == Some("PREROUTING")) {
            Some(seen) => {
                let [four, six] = &mut self.redirects;
                let of = if version == Version::V4 { four } else { six };
                of.push(Redirect { is_tcp, asked, seen });
                vec![
                    goes_on,
                    format!(
                        "a policy goes by the port that the sender asked for: who may reach {seen}/{protocol} may reach \
                         {asked}/{protocol} in it"
                    ),
                ]
            }
            None => {
                self.refused.insert((is_tcp, asked));
                vec![
                    goes_on,
                    format!("{asked}/{protocol} is translated to somewhere else by it, and left out of the policy"),
                ]
            }
        }
    }
}

/// What is to be said of a line that denies, and is left out.
pub(super) fn denies(line: &str) -> Option<String> {
    let denies = ["-j DROP", "-j REJECT"].iter().any(|verdict| line.contains(verdict));
    denies.then(|| "the policy is more open by it: it does not deny what this line denies".to_owned())
}

impl More {
    /// The lines of `nat`.
    pub(super) fn nat(&self, names: &mut Names) -> Vec<String> {
        let line = |mask: &Mask| {
            let as_address = mask.as_address.as_ref().map(|address| format!(", as: {address}")).unwrap_or_default();
            let name = names.free(&format!("by-{}", mask.to.name));
            let to = written(&mask.to);
            format!("{name}: {{ from: {}, to: {{ interface: {to} }}{as_address} }}  # {}", mask.from, mask.place)
        };
        self.masks.iter().map(line).collect()
    }
}

/// A line such as `-A POSTROUTING -s 10.8.0.0/24 -o eth0 -j MASQUERADE`, in any order; `None` if it asks for more.
fn mask(line: &str, version: Version, place: &str) -> Option<Mask> {
    let words: Vec<&str> = line.split(' ').collect();
    let (pairs, rest) = words.as_chunks::<2>();
    let value = |option: &str| pairs.iter().find(|[name, _]| *name == option).map(|[_, value]| *value);
    let known = ["-A", "-s", "-o", "-j", "--to-source"];
    let is_known = rest.is_empty() && pairs.iter().all(|[name, _]| known.contains(name));
    let as_address = match (value("-j")?, value("--to-source")) {
        ("MASQUERADE", None) => None,
        ("SNAT", Some(address)) => Some(address.parse::<std::net::IpAddr>().ok()?),
        _ => return None,
    };
    let from = match (value("-s"), version) {
        (Some(network), _) => {
            let place = Place::read(network, version).filter(|place| !place.is_odd)?;
            place.spans.words(version).join(", ")
        }
        (None, Version::V4) => "any".to_owned(),
        // A policy translates IPv6 only where the networks are named.
        (None, Version::V6) => return None,
    };
    let to = interface(value("-o")?)?;
    let as_address =
        as_address.map(|address| if address.is_ipv6() { format!("\"{address}\"") } else { address.to_string() });
    (is_known && value("-A") == Some("POSTROUTING")).then(|| Mask { from, to, as_address, place: place.to_owned() })
}

/// What is to be known of scripts, modules and sysctls.
pub(super) fn of_the_machine(files: &BTreeMap<String, String>, executable: &BTreeSet<String>, report: &mut Report) {
    for name in ["before.init", "after.init"] {
        let path = format!("etc/ufw/{name}");
        if executable.contains(&path) {
            report.note(Some(path), "is executable: ufw ran it at each start, and nothing will once ufw is off");
        }
    }
    let path = "etc/ufw/sysctl.conf";
    for (at, line) in files.get(path).map(String::as_str).unwrap_or_default().lines().enumerate() {
        let line: String = line.split_whitespace().collect();
        let Some((key, value)) = line.split_once('=').filter(|_| !line.starts_with(['#', ';'])) else { continue };
        if !STOCK.contains(&digest(&line)) {
            let key = key.replace('/', ".");
            report.note(
                Some(format!("{path}:{}", at + 1)),
                format!(
                    "nothing sets {key} at boot once ufw is off: echo '{key} = {value}' >> /etc/sysctl.d/60-was-ufw.conf"
                ),
            );
        }
    }
}
