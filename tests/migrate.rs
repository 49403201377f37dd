//! ufw's rules become a policy that means the same: line by line, over random lists of rules, and for whole folders.
#![allow(missing_docs)]

#[path = "migrate/command.rs"]
mod command;
#[path = "migrate/folders.rs"]
mod folders;
#[path = "migrate/model.rs"]
mod model;
#[path = "migrate/mutations.rs"]
mod mutations;
#[path = "support/policies.rs"]
mod policies;
#[path = "migrate/properties.rs"]
mod properties;
#[path = "migrate/tuples.rs"]
mod tuples;
#[path = "support/ufw.rs"]
mod ufw;

use palisade::desired::{Loaded, compile_bytes};
use palisade::migrate::Imported;
use palisade::migrate::ufw::{Installation, import};
use palisade::names::Names;
use std::path::Path;

/// The translation of two files of rules.
fn imported(four: &[&str], six: &[&str], defaults: String) -> Imported {
    let files = [
        ("etc/default/ufw", defaults),
        ("etc/ufw/ufw.conf", ufw::CONF.to_owned()),
        ("etc/ufw/user.rules", ufw::rules_file(four, false)),
        ("etc/ufw/user6.rules", ufw::rules_file(six, true)),
    ];
    let before = ufw::BEFORE.map(|(path, text)| (path.to_owned(), text.to_owned()));
    let files = files.map(|(path, text)| (path.to_owned(), text)).into_iter().chain(before).collect();
    import(&Installation { files, ..Installation::default() }).expect("ufw could use it")
}

/// The policy's table, if it is valid and is what it expects to be.
fn loaded(policy: &str) -> Result<Loaded, String> {
    let compiled = compile_bytes(policy.as_bytes(), Path::new("policy.yaml"), &Names::default());
    let loaded = Loaded::from(compiled.map_err(|problems| problems.render(false))?);
    match &loaded.unmet {
        Some(problems) => Err(problems.render(false)),
        None => Ok(loaded),
    }
}
