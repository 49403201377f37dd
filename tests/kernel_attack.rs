//! Attacks with real packets, each with its control in which it gets in. Needs root.

mod support;

use support::attack::Stage;
use support::attack::craft::{Speech, send, send_to};
use support::attack::who::{C1, C2, HOST, Place, STRANGER};

const POLICY: &str = "version: 1
services:
  ssh: { ports: 22/tcp, from: any }
  dashboard: { ports: 9000/tcp, from: [203.0.113.9, \"2001:db8::9\"] }
";

#[test]
fn a_container_that_forges_the_address_of_the_host_opens_no_port_of_it() {
    let stage = Stage::new();
    stage.apply(POLICY);
    for six in [false, true] {
        for speech in Speech::ALL {
            let forged = speech.first((HOST.address(six), 9000), (STRANGER.address(six), 4444));
            let answer = send(STRANGER, speech.answer(&forged));
            println!("{six} {} without {:?}", speech.name(), stage.play(&[answer.clone()]));
            let to = if six { Place::C1.host().mac } else { C2.mac };
            println!("{six} {} forged {:?}", speech.name(), stage.play(&[send_to(C1, to, forged), answer]));
        }
    }
}
