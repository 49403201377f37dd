mod support;
use support::engine::{Engine, setting::Setting};
use support::lab::Lab;
#[test]
fn smoke() {
    for s in [Setting::docker("bookworm", true), Setting::docker("sid", true), Setting::docker("trixie", true).legacy(), Setting::podman()] {
        let t = std::time::Instant::now();
        let lab = Lab::new(); lab.forward();
        let mut e = Engine::start(&lab, s);
        println!("{s} {} {:?}", e.version(), t.elapsed());
        e.run_container("w1", "-p 9000:9000", "9000");
        println!("{:?} {:?} {:?}", e.addresses("w1"), e.gateways("w1"), e.name_server("w1"));
        println!("{:?}", e.container("w1").ip("-br a"));
        println!("{}", e.rules_of_others().lines().count());
        e.stop_daemon(); e.start_daemon(&["--live-restore"]);
        drop(e);
        println!("{:?}", t.elapsed());
    }
}
