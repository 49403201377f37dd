//! What `disable`, `metrics` and the imports advise, copied as it is printed and run. Needs root, and iptables.

mod support;

use std::fs;
use support::lab::Lab;
use support::namespace::{Output, output};
use support::planted::Planted;
use support::program::palisade;

/// Somebody types a script on the host. A `palisade` in it is this one, with the lab's policy.
fn typed(lab: &Lab, script: &str) -> Output {
    let script = format!("palisade() {{ {} --policy \"$0\" \"$@\"; }}\n{script}", palisade());
    output(lab.in_its_own_state("/bin/sh").args(["-e", "-c", &script]).arg(lab.policy("policy.yaml")))
}

/// What stands in backquotes, in order.
fn quoted(text: &str) -> Vec<&str> {
    text.split('`').skip(1).step_by(2).collect()
}

/// The lines of a policy's first comment that are to be typed.
fn steps(policy: &str) -> Vec<&str> {
    policy.lines().take_while(|line| line.starts_with('#')).filter_map(|line| line.strip_prefix("#   ")).collect()
}

/// Keeps a policy as it says itself, and types what it says.
#[track_caller]
fn is_kept_as_it_says(policy: &str) {
    let lab = Lab::new();
    lab.write_policy("policy.yaml", policy);

    let steps = steps(policy);
    let done = typed(&lab, &steps.join("\n"));
    let confirmed = typed(&lab, quoted(steps[1])[0]);

    assert_eq!((steps.len(), steps[0]), (2, "palisade check"));
    assert_eq!((done.status, confirmed.status), (Some(0), Some(0)), "{}{}", done.stderr, confirmed.stderr);
    assert_eq!(lab.palisade("policy.yaml", &["diff"]).success(), "");
}

#[test]
fn the_policy_of_a_firewall_that_was_imported_is_checked_applied_and_kept_by_the_lines_at_its_head() {
    let lab = Lab::new();
    let here = env!("CARGO_MANIFEST_DIR");
    for (firewall, root) in [("ufw", "web-server.d"), ("firewalld", "firewalld/default-drop.d")] {
        // Others could write a file of the repository.
        let copy = lab.policy(firewall).display().to_string();
        let root = format!("cp -r {here}/tests/migrate/{root} {copy}; chown -R root: {copy}; chmod -R go-w {copy}");
        let imported = typed(&lab, &format!("{root}; palisade import {firewall} --root {copy} || [ $? -eq 2 ]"));

        assert_eq!(imported.status, Some(0), "{}", imported.stderr);
        is_kept_as_it_says(&imported.stdout);
    }
}

/// Docker's chain as guides fill it, and two published ports.
const DOCKER_USER: &str = "NAME -t nat -N DOCKER
NAME -t nat -A PREROUTING -m addrtype --dst-type LOCAL -j DOCKER
NAME -t nat -A DOCKER ! -i docker0 -p tcp --dport 8080 -j DNAT --to-destination 172.17.0.2:80
NAME -N DOCKER-USER
NAME -A FORWARD -j DOCKER-USER
NAME -A DOCKER-USER -i eth0 ! -s 203.0.113.66 -j DROP
";

#[test]
fn services_of_docker_user_are_put_into_the_policy_of_init_and_kept_as_their_head_says() {
    let lab = Lab::new();
    let rules = DOCKER_USER.replace("NAME", "iptables-nft");

    let live = typed(&lab, &format!("{rules}palisade import docker-user || [ $? -eq 2 ]"));
    let init = typed(&lab, "palisade init");

    assert_eq!((live.status, init.status), (Some(0), Some(0)), "{}{}", live.stderr, init.stderr);
    let services = live.stdout.split("\nservices:\n").nth(1).and_then(|rest| rest.split("\n#").next());
    let services = format!("\nservices:\n{}\n", services.expect("it has services"));
    assert!(live.stdout.contains("stands in the policy that `palisade init` prints. Put these services into it"));
    let both = init.stdout.replacen("\nservices:\n", &services, 1);
    assert!(both.contains("8080/tcp"), "{both}");
    is_kept_as_it_says(&both);
}

#[test]
fn what_docker_user_needs_of_another_machine_and_of_iptables_legacy_is_given_as_advised() {
    let lab = Lab::new();
    let (folder, file) = (lab.policy("elsewhere"), lab.policy("saved").display().to_string());
    fs::create_dir(&folder).expect("scratch is writable");
    let elsewhere = typed(&lab, &format!("palisade import docker-user --root {}", folder.display()));
    let rules = DOCKER_USER.replace("NAME", "iptables-nft");
    let [save, import] = quoted(&elsewhere.stderr)[..] else { panic!("{}", elsewhere.stderr) };
    let import = import.replace("FILE", &file);
    let saved = typed(&lab, &format!("{rules}{save} >{file}; {import} || [ $? -eq 2 ]"));

    let legacy = Lab::new();
    let rules = DOCKER_USER.replace("NAME", "iptables-legacy");
    let refused = typed(&legacy, &format!("{rules}palisade import docker-user"));
    let [both] = quoted(&refused.stderr)[..] else { panic!("{}", refused.stderr) };
    let piped = typed(&legacy, &format!("{both} || [ $? -eq 2 ]"));

    assert_eq!([elsewhere.status, refused.status], [Some(1); 2]);
    for done in [saved, piped] {
        assert_eq!(done.status, Some(0), "{}", done.stderr);
        assert!(done.stdout.contains("ports: 8080/tcp\n    from: 203.0.113.66\n"), "{}{}", done.stdout, done.stderr);
    }
}

#[test]
fn a_folder_for_metrics_is_made_as_advised_whatever_its_name() {
    let lab = Lab::new();
    lab.palisade("web-server.yaml", &["apply"]).success();
    for name in ["textfiles", "node exporter's", "a;b"] {
        let folder = lab.policy(name);
        let write = |folder: &str| lab.palisade("web-server.yaml", &["metrics", "--textfile", folder]);
        let refused = write(&folder.display().to_string());
        let commands = quoted(&refused.stderr);
        assert_eq!((refused.status, commands.len()), (Some(1), 3), "{}", refused.stderr);

        let option = commands[2].strip_prefix("--collector.textfile.directory=").expect("the option");
        let made = typed(&lab, &format!("umask 077; {}; printf %s {option}", commands[1])).success();

        assert_eq!(made, folder.display().to_string());
        write(&made).success();
        assert!(fs::read_to_string(folder.join("palisade.prom")).is_ok_and(|text| text.contains("palisade_")));
    }
}

#[test]
fn after_the_command_that_disable_advises_no_boot_loads_the_policy() {
    let lab = Lab::new();
    let planted = Planted::new(&lab);
    let unit = "[Unit]\nDescription=x\n[Service]\nExecStart=/bin/true\n[Install]\nWantedBy=multi-user.target\n";
    planted.write("/usr/lib/systemd/system/palisade.service", unit);
    planted.link(
        "/etc/systemd/system/multi-user.target.wants/palisade.service",
        "/usr/lib/systemd/system/palisade.service",
    );
    planted.write("/run/systemd/system/.keep", "");

    let disabled = planted.palisade(&["disable", "--yes"]).success();
    let advised = disabled.trim_end().rsplit("so that it does not: ").next().expect("what is advised").to_owned();
    planted.palisade(&["apply"]).success();
    let again = planted.after(&advised, &["disable", "--yes"]).success();

    assert_eq!(advised, "systemctl disable palisade.service");
    let gone = "table inet palisade is gone: palisade restricts nothing now\n";
    let at_boot = format!("the next boot loads the policy again; so that it does not: {advised}\n");
    assert_eq!((disabled, again), (format!("{gone}{at_boot}"), gone.to_owned()));
}
