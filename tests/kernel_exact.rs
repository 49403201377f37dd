//! Whatever the policy, the kernel holds what was compiled, no more and no less: as `apply` loads it, and as stock nft
//! loads what `show` prints.
//!
//! `PROPTEST_CASES` and `PROPTEST_RNG_SEED` choose the cases; `PALISADE_NFT` names further nft commands to try, separated
//! by colons.

mod support;

use palisade::compile::compile;
use palisade::delta::{changes, delta};
use palisade::desired::load;
use palisade::enforce::enforce;
use palisade::names::Names;
use palisade::netlink::{Reading, Socket};
use palisade::render;
use palisade::ruleset::{Table, TableId};
use proptest::test_runner::{Config, TestCaseError, TestRunner};
use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::Stdio;
use support::lab::Lab;
use support::namespace::Namespace;
use support::policies::{Written, config, policy};
use tempfile::TempDir;

/// The nft commands to try.
fn nfts() -> Vec<String> {
    let more = std::env::var("PALISADE_NFT").unwrap_or_default();
    let all = ["nft"].into_iter().chain(more.split(':')).filter(|nft| !nft.is_empty());
    all.map(str::to_owned).collect()
}

/// A folder in which palisade accepts policies, since only root may write there and above.
fn folder() -> TempDir {
    tempfile::Builder::new().prefix("palisade-exact-").tempdir_in("/run").expect("/run is writable")
}

/// What a policy in that folder compiles to.
fn compiled(folder: &Path, written: &Written) -> Result<Table, TestCaseError> {
    let path = folder.join("policy.yaml");
    fs::write(&path, &written.text).expect("the folder is writable");
    for (name, text) in &written.files {
        fs::write(folder.join(name), text).expect("the folder is writable");
    }
    let resolved = load(&path, &Names::default()).map_err(|problems| TestCaseError::fail(problems.render(false)))?;
    Ok(compile(&resolved))
}

/// A namespace and a socket in it. The namespace lasts as long as either.
struct Kernel {
    inside: Namespace,
    socket: Socket,
}

impl Kernel {
    fn new() -> Self {
        let inside = Namespace::new();
        let socket = inside.run(Socket::open).expect("a socket");
        Self { inside, socket }
    }

    fn enforce(&self, table: Option<&Table>) -> Result<usize, TestCaseError> {
        let done = enforce(&self.socket, &TableId::palisade(), table, Reading::ByDigest(&()));
        done.map(|done| done.operations).map_err(|error| TestCaseError::fail(error.to_string()))
    }

    /// Has nft load a text, on top of what there is.
    fn load(&self, nft: &str, text: &str) -> Result<(), TestCaseError> {
        let mut command = self.inside.command(nft);
        command.args(["-f", "-"]).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("nsenter is installed");
        child.stdin.take().expect("it was piped").write_all(text.as_bytes()).ok();
        let done = child.wait_with_output().expect("nft was started");
        let said = String::from_utf8_lossy(&done.stderr);
        if done.status.success() { Ok(()) } else { Err(TestCaseError::fail(format!("{nft} refused:\n{said}{text}"))) }
    }

    /// Fails unless the table is there, and equal in every field that counts.
    fn assert_holds(&self, table: &Table, loaded: &str) -> Result<(), TestCaseError> {
        let id = TableId::palisade();
        let live = self.socket.snapshot(&id).map_err(|error| TestCaseError::fail(error.to_string()))?.table;
        let found = changes(&id, live.as_ref(), Some(table));
        if live.as_ref().map(Table::canonical) == Some(table.canonical()) && found.is_empty() {
            let ops = delta(&id, live.as_ref(), Some(table)).ops;
            return if ops.is_empty() { Ok(()) } else { Err(TestCaseError::fail(format!("{loaded}: {ops:#?}"))) };
        }
        Err(TestCaseError::fail(format!("{loaded}: the kernel holds something else: {found:#?}")))
    }
}

/// Runs a property over policies in a kernel and a folder of its own.
#[track_caller]
fn for_policies<S: proptest::strategy::Strategy>(
    cases: u32,
    policies: S,
    property: impl Fn(&Kernel, &Path, S::Value) -> Result<(), TestCaseError>,
) {
    let (kernel, folder) = (Kernel::new(), folder());
    let outcome = TestRunner::new(config(cases)).run(&policies, |written| {
        kernel.enforce(None)?;
        property(&kernel, folder.path(), written)
    });
    if let Err(error) = outcome {
        panic!("{error}");
    }
}

#[test]
fn the_kernel_gives_back_what_apply_sent() {
    for_policies(40, policy(), |kernel, folder, written| {
        let table = compiled(folder, &written)?;
        kernel.enforce(Some(&table))?;
        kernel.assert_holds(&table, "enforced")
    });
}

#[test]
fn what_show_prints_builds_in_stock_nft_what_apply_sends() {
    for_policies(40, policy(), |kernel, folder, written| {
        let table = compiled(folder, &written)?;
        for nft in nfts() {
            kernel.enforce(None)?;
            kernel.load(&nft, &render::table(&TableId::palisade(), &table))?;
            kernel.assert_holds(&table, &nft)?;
        }
        Ok(())
    });
}

#[test]
fn any_policy_can_follow_any_other() {
    for_policies(40, (policy(), policy()), |kernel, folder, (first, second)| {
        let (first, second) = (compiled(folder, &first)?, compiled(folder, &second)?);
        kernel.enforce(Some(&first))?;
        kernel.enforce(Some(&second))?;
        kernel.assert_holds(&second, "over an enforced one")?;
        kernel.enforce(None)?;
        kernel.load("nft", &render::table(&TableId::palisade(), &first))?;
        kernel.enforce(Some(&second))?;
        kernel.assert_holds(&second, "over one that nft loaded")
    });
}

/// Has palisade itself show, diff, apply and diff a policy of the lab: each must agree with the others.
#[track_caller]
fn assert_commands_agree(lab: &Lab, policy: &str, apply: &[&str]) {
    let out_of_sync = lab.palisade(policy, &["diff"]);
    assert_eq!(out_of_sync.status, Some(2), "{policy}: {}{}", out_of_sync.stdout, out_of_sync.stderr);
    let shown = lab.palisade(policy, &["show", "--format", "nft"]).success();
    let kernel = Kernel { inside: lab.host.clone(), socket: lab.host.run(Socket::open).expect("a socket") };
    for nft in nfts() {
        kernel.load(&nft, &shown).unwrap_or_else(|error| panic!("{policy}: {error}"));
        assert_eq!(lab.palisade(policy, &["diff"]).success(), "", "{policy}, {nft}");
        lab.palisade(policy, &["disable", "--yes"]).success();
    }
    lab.palisade(policy, apply).success();
    assert_eq!(lab.palisade(policy, &["diff"]).success(), "", "{policy}");
    lab.palisade(policy, &["disable", "--yes"]).success();
    assert_eq!(lab.host.nft_list(), "", "{policy}");
}

#[test]
fn show_diff_apply_and_disable_agree_on_the_example_policies() {
    let lab = Lab::new();
    let policies = fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("policies")).expect("policies/ is there");
    let names = policies.map(|entry| entry.expect("it can be read").file_name().to_string_lossy().into_owned());
    let names: Vec<String> = names.filter(|name| name.ends_with(".yaml")).collect();
    assert!(!names.is_empty());
    for name in names {
        assert_commands_agree(&lab, &name, &["apply"]);
    }
}

#[test]
fn show_diff_apply_and_disable_agree_on_generated_policies() {
    let lab = Lab::new();
    // Each is some ten programs, and the other tests shrink what fails.
    let config = Config { max_shrink_iters: 0, ..config(8) };
    let outcome = TestRunner::new(config).run(&policy(), |written| {
        lab.write_policy("policy.yaml", &written.text);
        for (name, text) in &written.files {
            lab.write_policy(name, text);
        }
        // Nobody would write it: it may block the gateway, or let nobody in by SSH.
        assert_commands_agree(&lab, "policy.yaml", &["apply", "--force"]);
        Ok(())
    });
    if let Err(error) = outcome {
        panic!("{error}");
    }
}
