//! A server whose policy takes addresses for a time, and a clock that can be turned.
#![allow(dead_code, unreachable_pub)]

use crate::support::lab::Lab;
use crate::support::namespace::{Output, output};
use palisade::state::State;
use serde_json::Value;
use std::fs;
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// An address that the policies name.
pub const FIXED: IpAddr = IpAddr::V4(Ipv4Addr::new(1, 1, 1, 1));

/// A lab whose host holds a policy.
pub struct Server {
    pub lab: Lab,
}

impl Server {
    pub fn new(policy: &str) -> Self {
        let server = Self { lab: Lab::new() };
        server.apply(policy);
        server
    }

    pub fn apply(&self, policy: &str) -> String {
        self.lab.write_policy("policy.yaml", policy);
        self.palisade(&["apply"]).success()
    }

    #[track_caller]
    pub fn palisade(&self, arguments: &[&str]) -> Output {
        self.lab.palisade("policy.yaml", arguments)
    }

    /// A folder of the lab's.
    fn folder(&self, name: &str) -> PathBuf {
        let policies = self.lab.policy("policy.yaml");
        policies.ancestors().nth(2).expect("it lies two folders deep").join(name)
    }

    /// Runs something on the host, with what palisade keeps there.
    pub fn inside<T: Send>(&self, work: impl FnOnce(&State) -> T + Send) -> T {
        let state = State::new(self.folder("lib"), self.folder("run"));
        self.lab.host.run(|| work(&state))
    }

    fn file(&self) -> PathBuf {
        self.folder("lib").join("temporary.json")
    }

    /// Who the state says is in a group for a time.
    pub fn entries(&self) -> Vec<Value> {
        let text = fs::read_to_string(self.file()).unwrap_or_else(|_| "[]".to_owned());
        serde_json::from_str(&text).expect("it is JSON")
    }

    fn change(&self, mut change: impl FnMut(&mut Value)) {
        let mut entries = self.entries();
        entries.iter_mut().for_each(&mut change);
        fs::write(self.file(), serde_json::to_vec(&entries).expect("it is JSON")).expect("the lab is writable");
    }

    /// Damages the state's file, and gives its path as palisade knows it.
    pub fn damage(&self) -> &'static str {
        fs::write(self.file(), "[{}]\n").expect("the lab is writable");
        "/var/lib/palisade/temporary.json"
    }

    /// Removes it.
    pub fn remove(&self) {
        fs::remove_file(self.file()).expect("it is there");
    }

    /// Has so much time pass for one address: in the state, and in the kernel, which forgets it.
    pub fn pass(&self, address: &str, time: Duration) {
        self.change(|entry| {
            if entry["address"] == address {
                let less = |field: &Value, by: u64| Value::from(field.as_u64().expect("a number").saturating_sub(by));
                entry["begin"] = less(&entry["begin"], time.as_secs());
                entry["end"] = less(&entry["end"], time.as_secs());
                entry["begin_ms"] = less(&entry["begin_ms"], u64::try_from(time.as_millis()).expect("it fits"));
            }
        });
        let family = if address.contains(':') { "v6" } else { "v4" };
        let element = format!("owner.temporary-{family} {{ {address} }}");
        // It may wait, and not be there.
        output(self.lab.host.command("nft").args(["delete", "element", "inet", "palisade", &element]));
    }

    /// Makes all entries of before a reboot, at which these began so many seconds before now, for so many seconds; takes the
    /// rules away.
    pub fn reboot<'a>(&self, entries: impl IntoIterator<Item = (&'a str, i64, i64)>) {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("it is after 1970");
        let now = i64::try_from(now.as_secs()).expect("it fits");
        for (address, began, time) in entries {
            self.change(|entry| {
                if entry["address"] == address {
                    entry["boot"] = "an-older-boot".into();
                    entry["begin"] = (now - began).into();
                    entry["end"] = (now - began + time).into();
                }
            });
        }
        fs::remove_dir_all(self.folder("run")).expect("it is there");
        fs::create_dir(self.folder("run")).expect("the lab is writable");
        self.lab.host.nft_load("flush ruleset");
    }

    /// The addresses that the kernel holds in `owner` for a time, by stock nft's listing, IPv4 first.
    pub fn addresses(&self) -> Vec<String> {
        self.addresses_of("owner")
    }

    /// The same of any group.
    pub fn addresses_of(&self, group: &str) -> Vec<String> {
        let mut found: Vec<IpAddr> = Vec::new();
        for family in ["v4", "v6"] {
            let set = format!("{group}.temporary-{family}");
            let listed = output(self.lab.host.command("nft").args(["-j", "list", "set", "inet", "palisade", &set]));
            let Ok(json) = serde_json::from_str::<Value>(&listed.stdout) else { continue };
            let sets = json["nftables"].as_array().into_iter().flatten().filter_map(|one| one.get("set"));
            let elements = sets.filter_map(|set| set["elem"].as_array()).flatten();
            let address =
                |element: &Value| element["elem"]["val"].as_str().or(element.as_str())?.parse::<IpAddr>().ok();
            found.extend(elements.filter_map(address));
        }
        found.sort_unstable();
        found.iter().map(ToString::to_string).collect()
    }

    /// Fills the state with so many addresses of a group, from 10.1.0.0 on, for an hour.
    pub fn fill(&self, group: &str, many: u32) {
        let now = palisade::state::moment();
        let hour = Duration::from_secs(3600);
        let entry = |number| {
            let address = IpAddr::V4(Ipv4Addr::from_bits(0x0a01_0000 + number));
            palisade::temporary::Entry::new(group, address, hour, &now, None)
        };
        let entries = (0..many).map(entry).collect();
        self.inside(|state| state.keep_temporary(&entries)).expect("the lab is writable");
    }
}

/// What was said, without the times.
pub fn untimed(said: &str) -> String {
    let mut out = String::new();
    let mut rest = said;
    while let Some((before, after)) = rest.split_once("until ") {
        out.push_str(before);
        out.push_str("until TIME");
        rest = after.split_once(" left)").map_or("", |(_, rest)| rest);
    }
    out + rest
}
