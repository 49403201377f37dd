//! Rules that iptables-nft has in DOCKER-USER, packets to published ports, and the policy that palisade makes of them, from the
//! kernel and from what `iptables-save` prints: who gets in by the one gets in by the other. Needs root, and iptables.

mod support;

use palisade::migrate::docker_user::import;
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::thread;
use support::lab::Lab;
use support::namespace::{Namespace, output};
use support::probe::{Outcome, SILENCE, Target};

const PEERS: [&str; 6] = ["203.0.113.66", "203.0.113.67", "10.77.0.2", "2001:db8::66", "2001:db8::67", "fd77::2"];
/// The ports of the host, and of the container behind them.
const PUBLISHED: [(u16, u16); 3] = [(8080, 80), (5432, 5432), (6379, 6380)];
const CONTAINER: [&str; 2] = ["172.17.0.2", "fd17::2"];

/// What the guides say, each a list of rules for DOCKER-USER: of IPv4, and of IPv6.
const LISTS: [[&[&str]; 2]; 5] = [
    [&["-i eth0 ! -s 203.0.113.66 -j DROP"], &["-i eth0 ! -s 2001:db8::66 -j DROP"]],
    [
        &[
            "-m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT",
            "-i eth0 -p tcp -m conntrack --ctorigdstport 6379 --ctdir ORIGINAL -s 203.0.113.66/31 -j ACCEPT",
            "-i eth0 -j DROP",
        ],
        &["-i eth0 -p tcp -m conntrack --ctorigdstport 8080 -j RETURN", "-i eth0 -j REJECT"],
    ],
    [
        &["-s 203.0.113.66 -j RETURN", "-p tcp -m multiport --dports 80,6380 -j DROP"],
        &["-p tcp --dport 80 -s 2001:db8::/64 -j DROP"],
    ],
    [
        &[
            "-p tcp --dport 5432 -s 127.0.0.1 -j ACCEPT",
            "-p tcp --dport 5432 -j DROP",
            "-i eth+ -p tcp --dport 79:81 -j own",
        ],
        &[],
    ],
    [
        &[
            "-i eth0 -s 10.77.0.0/24 -j ACCEPT",
            "-i eth1 -p tcp --dport 6380 -j REJECT",
            "-d 172.17.0.2 -p udp -j DROP",
        ],
        &["-j DROP"],
    ],
];

/// A host with a container whose ports are published as Docker publishes them.
struct Stage {
    lab: Lab,
    container: Namespace,
}

impl Stage {
    fn new() -> Self {
        let (lab, container) = (Lab::new(), Namespace::new());
        lab.add_addresses(PEERS.iter().map(|peer| peer.parse().expect("an address")));
        lab.forward();
        let host = &lab.host;
        host.ip("link add docker0 type bridge");
        host.ip(&format!("link add box type veth peer name eth0 netns {}", container.path()));
        host.ip("link set box master docker0 up");
        for address in ["172.17.0.1/16", "fd17::1/64 nodad"] {
            host.ip(&format!("address add dev docker0 {address}"));
        }
        host.ip("link set docker0 up");
        for address in ["172.17.0.2/16", "fd17::2/64 nodad"] {
            container.ip(&format!("address add dev eth0 {address}"));
        }
        container.ip("link set eth0 up");
        container.ip("-4 route add default via 172.17.0.1");
        container.ip("-6 route add default via fd17::1");
        let stage = Self { lab, container };
        for (program, address) in
            [("iptables-nft", CONTAINER[0].to_owned()), ("ip6tables-nft", format!("[{}]", CONTAINER[1]))]
        {
            let run = |arguments: &str| stage.iptables(program, arguments);
            run("-t nat -N DOCKER");
            run("-t nat -A PREROUTING -m addrtype --dst-type LOCAL -j DOCKER");
            for (asked, port) in PUBLISHED {
                run(&format!(
                    "-t nat -A DOCKER ! -i docker0 -p tcp --dport {asked} -j DNAT --to-destination {address}:{port}"
                ));
            }
            run("-N DOCKER-USER");
            run("-N own");
            run("-A own -j DROP");
            run("-A FORWARD -j DOCKER-USER");
        }
        stage
    }

    #[track_caller]
    fn iptables(&self, program: &str, arguments: &str) -> String {
        output(self.lab.host.command(program).args(arguments.split(' '))).success()
    }

    /// What each peer sees of each published port.
    fn seen(&self) -> BTreeMap<(&'static str, u16), bool> {
        thread::scope(|scope| {
            let ask = |peer: &'static str, port: u16| {
                let from: IpAddr = peer.parse().expect("an address");
                let (inside, to) = self.lab.peer(from);
                let connects = |wait| inside.probe(Target::Tcp(port), from, to, wait) == Outcome::Connected;
                ((peer, port), connects(SILENCE) || connects(SILENCE * 4))
            };
            let each = PEERS.iter().flat_map(|peer| PUBLISHED.map(|(port, _)| (*peer, port)));
            let asked: Vec<_> = each.map(|(peer, port)| scope.spawn(move || ask(peer, port))).collect();
            asked.into_iter().map(|one| one.join().expect("a probe ends")).collect()
        })
    }
}

/// The rules that decide stand in both imports, from the kernel and from the text.
fn services(policy: &str) -> String {
    let text =
        policy.split("\nservices:\n").nth(1).and_then(|text| text.split("\n# Made from").next()).unwrap_or_default();
    text.lines().map(|line| line.split("  #").next().unwrap_or_default()).collect::<Vec<_>>().join("\n")
}

#[test]
fn who_reaches_a_published_port_past_docker_user_reaches_it_by_the_imported_policy() {
    for [four, six] in LISTS {
        let stage = Stage::new();
        let heard: Vec<SocketAddr> = CONTAINER
            .iter()
            .flat_map(|address| {
                PUBLISHED.map(|(_, port)| SocketAddr::new(address.parse().expect("an address"), port))
            })
            .collect();
        let _echo = stage.container.listen(&heard, &[]);
        assert!(stage.seen().into_values().all(|gets_in| gets_in), "without rules everyone gets in");
        for (program, rules) in [("iptables-nft", four), ("ip6tables-nft", six)] {
            for rule in rules {
                stage.iptables(program, &format!("-A DOCKER-USER {rule}"));
            }
        }
        let theirs = stage.seen();
        let saved: String = ["iptables-nft-save", "ip6tables-nft-save"]
            .iter()
            .flat_map(|program| ["-t nat", "-t filter"].map(|table| stage.iptables(program, table)))
            .collect();
        let by_text = import(&saved, None).expect("it has the chain");
        let live = stage.lab.palisade("policy.yaml", &["import", "docker-user"]);
        let context = format!("{four:?} {six:?}\n{}\n{}", by_text.policy, by_text.report.text().as_str());
        assert_eq!(services(&live.stdout), services(&by_text.policy), "{}\n{context}", live.stderr);
        for program in ["iptables-nft", "ip6tables-nft"] {
            stage.iptables(program, "-F DOCKER-USER");
        }
        stage.lab.write_policy("policy.yaml", &by_text.policy);
        stage.lab.palisade("policy.yaml", &["apply", "--force", "--yes"]).success();

        assert_eq!(stage.seen(), theirs, "{context}");
    }
}
