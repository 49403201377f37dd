//! Which connections the kernel tracks, which of them palisade ended, and what is remembered of those.
#![allow(unreachable_pub)]

use crate::support::lab::Lab;
use crate::support::namespace::{Output, output};
use crate::support::stream::Download;

/// The tracked connections of the host to and from that address, by the kernel's ids.
pub fn tracked(lab: &Lab, address: &str) -> Vec<String> {
    let family = if address.contains(':') { "ipv6" } else { "ipv4" };
    let mut conntrack = lab.host.command("conntrack");
    conntrack.args(["--dump", "--family", family, "--output", "id,extended"]);
    let listing = output(&mut conntrack).success();
    let lines = listing.lines().filter(|line| line.split([' ', '=']).any(|word| word == address));
    let mut ids: Vec<_> =
        lines.filter_map(|line| line.rsplit_once("id=").map(|(_, id)| id.trim().to_owned())).collect();
    ids.sort();
    ids
}

/// What `apply` says of the connections that it ended.
#[track_caller]
pub fn ended(said: Output) -> String {
    assert_eq!(said.stderr, "");
    let said = said.success();
    said.split_once(", verified\n").expect("it was applied and verified").1.to_owned()
}

/// Has the kernel forget what it remembers of ended connections, as if nothing had been remembered.
pub fn forget_ended(lab: &Lab) {
    for set in ["revoked-v4", "revoked-v6", "revoked-udp-v4", "revoked-udp-v6"] {
        output(lab.host.command("nft").args(["flush", "set", "inet", "palisade", &format!("policy.{set}")]))
            .success();
    }
}

/// Whether what was held back comes after all: a server that was not heard tries again, later each time.
pub fn comes_back(download: &mut Download) -> bool {
    (0..6).any(|_| download.goes_on())
}

/// What a set of ended connections holds, each with the seconds that are left, by `nft --json`.
pub fn remembered(lab: &Lab, set: &str) -> Vec<(String, u64)> {
    let mut nft = lab.host.command("nft");
    let listing = output(nft.args(["--json", "list", "set", "inet", "palisade", set])).success();
    let listing: serde_json::Value = serde_json::from_str(&listing).expect("nft writes JSON");
    let objects = listing["nftables"].as_array().expect("a list of objects");
    let elements = objects.iter().find_map(|object| object["set"]["elem"].as_array());
    let mut found: Vec<_> = elements
        .into_iter()
        .flatten()
        .map(|element| {
            let fields = element["elem"]["val"]["concat"].as_array().expect("a flow has fields");
            let text = |field: &serde_json::Value| field.as_str().map_or_else(|| field.to_string(), str::to_owned);
            let flow = fields.iter().map(text).collect::<Vec<_>>().join(" . ");
            (flow, element["elem"]["expires"].as_u64().expect("it expires"))
        })
        .collect();
    found.sort();
    found
}
