//! The vendors: what their firewalls can say, and how much of it.

use super::allowed::What;
use ipnet::IpNet;

/// A vendor of cloud firewalls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Vendor {
    /// Hetzner Cloud.
    Hetzner,
    /// DigitalOcean.
    DigitalOcean,
    /// Security groups of Amazon EC2.
    Aws,
}

/// GRE and ESP.
const TUNNELS: [u8; 2] = [47, 50];

/// How many firewalls may stand before one server. DigitalOcean documents no number; five are enough to load by hand.
pub(super) const MOST_FIREWALLS: usize = 5;

/// What one firewall holds of each kind that is counted.
pub(super) struct Limits {
    /// The most of each.
    pub(super) most: [usize; 2],
    /// What is counted, in words.
    pub(super) of: [&'static str; 2],
    /// How many networks one rule may name.
    pub(super) networks_of_a_rule: usize,
}

impl Vendor {
    /// Its name in messages.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Hetzner => "Hetzner Cloud",
            Self::DigitalOcean => "DigitalOcean",
            Self::Aws => "AWS",
        }
    }

    /// Whether it has a rule for exactly this, and nothing else besides: but for `icmp`, which is all of ICMP, also where
    /// echo requests are meant.
    pub(super) fn supports(self, what: &What) -> bool {
        match (self, what) {
            (_, What::Ping | What::Icmp) | (Self::Aws, What::Everything | What::Error(..)) => true,
            // By a number other than those of TCP, UDP and ICMP, AWS opens all ports.
            (_, What::Ports(ports)) => match ports.transport {
                crate::net::Transport::Tcp | crate::net::Transport::Udp => true,
                crate::net::Transport::Sctp => self == Self::Aws && ports.first <= 1 && ports.last == u16::MAX,
            },
            (Self::Hetzner, What::Protocol(number)) => TUNNELS.contains(number),
            (Self::Aws, What::Protocol(_)) => true,
            (Self::DigitalOcean, What::Protocol(_))
            | (Self::Hetzner | Self::DigitalOcean, What::Everything | What::Error(..)) => false,
        }
    }

    /// Whether its rules tell the types of ICMP apart.
    pub(super) const fn tells_icmp_types(self) -> bool {
        matches!(self, Self::Aws)
    }

    /// Whether private networks pass it unfiltered.
    pub(super) const fn passes_private(self) -> bool {
        matches!(self, Self::Hetzner)
    }

    pub(super) const fn limits(self) -> Limits {
        match self {
            Self::Hetzner => {
                // One of the 50, with one of 500 networks, is for what goes out.
                Limits { most: [49, 499], of: ["rules", "networks of all rules"], networks_of_a_rule: 100 }
            }
            Self::DigitalOcean => {
                // Three of the 50 are for what goes out.
                Limits { most: [47, usize::MAX], of: ["rules", "networks of all rules"], networks_of_a_rule: 1_000 }
            }
            // One rule for each network, and as many of each family.
            Self::Aws => Limits { most: [60, 60], of: ["IPv4 rules", "IPv6 rules"], networks_of_a_rule: 1 },
        }
    }

    /// How much of what is counted a rule takes.
    pub(super) fn cost(self, networks: &[IpNet]) -> [usize; 2] {
        match self {
            Self::Hetzner | Self::DigitalOcean => [1, networks.len()],
            Self::Aws => {
                let v4 = networks.iter().filter(|network| matches!(network, IpNet::V4(_))).count();
                [v4, networks.len() - v4]
            }
        }
    }
}
