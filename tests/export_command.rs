//! `palisade export` as it is typed: what is printed where, and with which exit status. Where this machine has Terraform and
//! a mirror of the AWS provider, Terraform validates what is exported for it.
#![allow(missing_docs)]

use serde_json::{Value, json};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use tempfile::TempDir;

const WHOLE: &str = "version: 1\nservices:\n  ssh: { ports: 22/tcp, from: 203.0.113.9 }\n";
const NARROWED: &str = "version: 1
defaults: { ping: deny }
services:
  ssh: { ports: 22/tcp, from: [203.0.113.9, { interface: wg0 }], limit: 6/minute }
";
const BY_INTERFACE: &str = "version: 1\nservices:\n  ssh: { ports: 22/tcp, from: any, on: eth7 }\n";

/// A folder of this user's own, in which palisade accepts a policy.
fn folder() -> TempDir {
    let folder = TempDir::new().expect("there is a place for temporary files");
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).expect("the folder is this user's");
    for (name, text) in [("whole", WHOLE), ("narrowed", NARROWED), ("by-interface", BY_INTERFACE)] {
        let path = folder.path().join(format!("{name}.yaml"));
        fs::write(&path, text).expect("the folder is writable");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).expect("the file is this user's");
    }
    folder
}

/// The exit status, standard output, and standard error.
fn export(folder: &TempDir, policy: &str, arguments: &[&str]) -> (Option<i32>, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_palisade"));
    command.args(["--policy", policy, "export"]).args(arguments).current_dir(folder.path()).env("NO_COLOR", "1");
    let input = if policy == "-" { "whole.yaml" } else { "/dev/null" };
    command.stdin(fs::File::open(folder.path().join(input)).expect("it was written"));
    let done = command.output().expect("palisade was built");
    let text = |bytes| String::from_utf8(bytes).expect("palisade writes UTF-8");
    (done.status.code(), text(done.stdout), text(done.stderr))
}

#[test]
fn the_document_is_all_of_standard_output_and_the_status_says_whether_it_is_whole() {
    let folder = folder();
    let rule = json!({ "description": "ssh", "direction": "in", "protocol": "tcp", "port": "22",
        "source_ips": ["203.0.113.9/32"] });
    let ping = json!({ "description": "ping", "direction": "in", "protocol": "icmp",
        "source_ips": ["0.0.0.0/0", "::/0"] });
    let whole = json!([ping, rule]);
    for policy in ["whole.yaml", "-"] {
        let (status, stdout, stderr) = export(&folder, policy, &["hetzner"]);
        assert_eq!((status, stderr.as_str(), serde_json::from_str(&stdout).ok()), (Some(0), "", Some(whole.clone())));
    }

    let said = "\
left out: ping: the errors of ICMP that path discovery needs can't be told from echo requests: whether they pass depends on the provider (narrowed.yaml:2)
left out: ssh: from the interface wg0: a cloud firewall knows addresses only (narrowed.yaml:4)
note: ssh: the limit of 6/minute is this machine's; the cloud firewall lets all of it pass (narrowed.yaml:4)
";
    let (status, stdout, stderr) = export(&folder, "narrowed.yaml", &["hetzner"]);
    assert_eq!((status, stderr.as_str(), serde_json::from_str(&stdout).ok()), (Some(2), said, Some(json!([rule]))));
    // What it is run for stays.
    assert_eq!(export(&folder, "narrowed.yaml", &["hetzner", "-q"]), (Some(2), stdout.clone(), String::new()));

    let (status, json, stderr) = export(&folder, "narrowed.yaml", &["hetzner", "--json", "--name", "web"]);
    let document: Value = serde_json::from_str(&json).expect("one document");
    assert_eq!((status, stderr.as_str(), &document["firewalls"]), (Some(2), said, &json!(["web"])));
    assert_eq!(
        (document["document"].as_str(), &document["remarks"][0]["kind"]),
        (Some(stdout.as_str()), &json!("left out"))
    );
}

#[test]
fn what_cannot_be_exported_is_an_error_and_nothing_is_printed() {
    let folder = folder();
    let failed = |policy: &str, arguments: &[&str]| {
        let (status, stdout, stderr) = export(&folder, policy, arguments);
        assert_eq!((status, stdout.as_str()), (Some(1), ""), "{stderr}");
        stderr
    };
    let name = failed("whole.yaml", &["digitalocean", "--name", "a_b"]);
    assert!(name.starts_with("error: \"a_b\" can't be the name of a firewall: "), "{name}");
    let containers = failed("by-interface.yaml", &["hetzner", "--public", "docker0"]);
    let words =
        "error: docker0 is an interface of containers (`containers.interfaces`): name the public one with --public\n";
    assert_eq!(containers, words);
    assert!(failed("whole.yaml", &["azure"]).contains("[possible values: hetzner, digitalocean, aws, "));
}

#[test]
fn the_public_interface_is_the_one_that_is_named_and_else_is_said() {
    let folder = folder();
    let (status, stdout, stderr) = export(&folder, "by-interface.yaml", &["hetzner", "--public", "eth7"]);
    assert_eq!((status, stderr.as_str(), stdout.contains("\"22\"")), (Some(0), "", true));
    // Whatever routes this machine has.
    let (status, stdout, stderr) = export(&folder, "by-interface.yaml", &["hetzner"]);
    let guessed = stderr.contains("the public interface is taken to be ") && status == Some(2);
    let unknown = stderr.contains("say it with --public eth0") && (status, stdout.as_str()) == (Some(1), "");
    assert!(guessed || unknown, "{status:?}: {stderr}");
}

/// The program, and a folder with the provider, if this machine has both.
fn terraform() -> Option<PathBuf> {
    let named = std::env::var_os("PALISADE_TERRAFORM_PLUGINS").map(PathBuf::from);
    let plugins = named.unwrap_or_else(|| PathBuf::from("/opt/tf-plugins"));
    let has = Command::new("terraform").arg("version").stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok();
    let found = has && plugins.exists();
    if !found {
        eprintln!("left out: there is no terraform with a mirror of its AWS provider in {}", plugins.display());
    }
    found.then_some(plugins)
}

#[test]
fn terraform_validates_what_is_exported_for_aws() {
    let Some(plugins) = terraform() else { return };
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folder = folder();
    // As one module, since each start of the provider takes seconds.
    for (case, name) in [("names", "web.1"), ("protocols", "1st"), ("denials", "second"), ("split", "web-3")] {
        let text = fs::read_to_string(root.join(format!("tests/export/{case}.yaml"))).expect("it is there");
        fs::write(folder.path().join("whole.yaml"), text).expect("the folder is writable");
        let (_, stdout, _) = export(&folder, "whole.yaml", &["terraform-aws", "--name", name]);
        let path = folder.path().join("module").join(format!("{case}.tf.json"));
        fs::create_dir_all(path.parent().expect("it has one")).expect("the folder is writable");
        fs::write(path, stdout).expect("the folder is writable");
    }
    let run = |arguments: &[&str]| {
        let mut command = Command::new("terraform");
        command.args(arguments).current_dir(folder.path().join("module")).stdin(Stdio::null());
        command.env("CHECKPOINT_DISABLE", "1").env("TF_CLI_CONFIG_FILE", "/dev/null");
        let done = command.output().expect("it is there");
        [done.stdout, done.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
    };
    let init = run(&["init", "-backend=false", "-no-color", &format!("-plugin-dir={}", plugins.display())]);
    let [validated, errors] = run(&["validate", "-json"]);
    let validated: Value =
        serde_json::from_str(&validated).unwrap_or_else(|_| panic!("{init:?}\n{validated}{errors}"));
    assert_eq!((&validated["valid"], &validated["diagnostics"]), (&json!(true), &json!([])));
}
