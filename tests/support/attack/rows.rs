//! Tables of packets: a name, who sends what, and where it would arrive.

use super::Step;
use super::who::Place;

/// What a row is tried with: the policy of the table, and what differs from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Setting {
    Plain,
    /// `forward: allow`.
    Forwarding,
    /// Containers may open nothing to the outside.
    Closed,
    /// Sources are asked for the way back to them.
    Strict,
}

impl Setting {
    pub const ALL: [Self; 4] = [Self::Plain, Self::Forwarding, Self::Closed, Self::Strict];

    /// The policy, in which 22, 9500 and 9701 are open to everyone, 9000 and 9001 to two nodes, 7000 and 7001 to private
    /// networks.
    pub fn policy(self) -> String {
        let differs = match self {
            Self::Plain => "",
            Self::Forwarding => "defaults: { forward: allow }\n",
            Self::Closed => "containers: { outgoing: deny }\n",
            Self::Strict => "defaults: { reverse_path: strict }\n",
        };
        format!(
            "version: 1
{differs}groups:
  nodes: [203.0.113.1, 203.0.113.9, \"2001:db8::1\", \"2001:db8::9\"]
services:
  ssh: {{ ports: 22/tcp, from: any }}
  web: {{ ports: [9500/tcp, 9500/udp, 9701/tcp], from: any }}
  dashboard: {{ ports: [9001/tcp, 9001/udp, 9000/tcp, 9000/udp], from: nodes }}
  inner: {{ ports: [7000-7001/tcp, 7000-7001/udp], from: private }}
  multicast: {{ ports: [5353/udp, vrrp/proto, igmp/proto], from: any }}
"
        )
    }
}

/// One packet, or a packet and what prepares it.
#[derive(Clone, Debug)]
pub struct Row {
    pub name: String,
    pub setting: Setting,
    pub steps: Vec<Step>,
    pub at: Place,
    /// Whether a rule that the table of rules names is all that keeps it out.
    pub mended: bool,
}

/// Rows as they are added, with a port for each.
pub struct Rows {
    pub rows: Vec<Row>,
    pub setting: Setting,
    /// Whether the rows that are added are kept out by a rule that the test takes away once.
    pub mended: bool,
    port: u16,
}

impl Rows {
    pub fn new() -> Self {
        Self { rows: Vec::new(), setting: Setting::Plain, mended: false, port: 20_000 }
    }

    /// A port that no other row has.
    pub fn port(&mut self) -> u16 {
        self.port += 1;
        self.port
    }

    pub fn add(&mut self, name: impl Into<String>, at: Place, steps: impl Into<Vec<Step>>) {
        let (name, setting, mended) = (name.into(), self.setting, self.mended);
        self.rows.push(Row { name, setting, steps: steps.into(), at, mended });
    }
}

/// `IPv4` or `IPv6`.
pub fn version(six: bool) -> &'static str {
    if six { "IPv6" } else { "IPv4" }
}

/// Without IPv6, and with it.
pub fn both() -> [bool; 2] {
    [false, true]
}
