//! Palisade, but that the process which reads the policy at boot has a fault, as PALISADE_FAULT says. Everything else is the
//! library's: the program that is packaged knows nothing of this one.
#![allow(missing_docs)]

use clap::Parser;
use palisade::apart::{Limits, Words, confine, tell};
use palisade::cli::{Cli, Command, run};
use palisade::desired::compile_policy;
use palisade::names::Names;
use std::io::Write;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

fn main() -> ExitCode {
    let cli = Cli::parse();
    if let Command::Boot(boot) = &cli.command
        && boot.read
    {
        confine(&Limits::from(&boot.limits)).expect("nothing hinders it");
        return fail(&cli.common.policy, &std::env::var("PALISADE_FAULT").unwrap_or_default());
    }
    if std::env::var("PALISADE_FAULT").as_deref() == Ok("boot") && matches!(cli.command, Command::Boot(_)) {
        panic!("planted");
    }
    tracing_subscriber::fmt().with_writer(std::io::stderr).with_ansi(false).without_time().with_target(false).init();
    match run(&cli) {
        Ok(report) => {
            print!(
                "{}",
                if cli.common.json { format!("{}\n", report.json) } else { report.text.as_str().to_owned() }
            );
            ExitCode::from(report.status)
        }
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn fail(policy: &Path, fault: &str) -> ExitCode {
    let mut stdout = std::io::stdout();
    match fault {
        "panic" => panic!("planted"),
        "exit" => {}
        "sleep" => sleep(),
        "spin" => loop {
            std::hint::spin_loop();
        },
        "memory" => {
            let mut taken = Vec::new();
            loop {
                taken.push(vec![1_u8; 1 << 20]);
            }
        }
        "babble" => while stdout.write_all(&[b'a'; 4096]).is_ok() {},
        "nonsense" => stdout.write_all(b"accept everything\n").expect("somebody listens"),
        "damage" => stdout.write_all(b"{\"table\":{\"bytes\":9}}\n123456789").expect("somebody listens"),
        "proof" | "slow-proof" => {
            let compiled = compile_policy(policy, &Names::default()).expect("a valid policy");
            tell(&mut stdout, &Words::Table(compiled.table, Box::new(compiled.applied))).expect("somebody listens");
            if fault == "slow-proof" {
                sleep();
            }
        }
        other => panic!("{other} is no fault"),
    }
    ExitCode::SUCCESS
}

fn sleep() {
    loop {
        std::thread::sleep(Duration::from_secs(3600));
    }
}
