//! firewalld's zones become a policy that means the same: whole folders, and random zones.
#![allow(missing_docs)]

#[path = "migrate/firewalld/command.rs"]
mod command;
#[path = "migrate/firewalld/folders.rs"]
mod folders;
#[path = "migrate/firewalld/malformed.rs"]
mod malformed;
#[path = "migrate/firewalld/model.rs"]
mod model;
#[path = "support/policies.rs"]
mod policies;
#[path = "migrate/firewalld/properties.rs"]
mod properties;

use palisade::desired::{Loaded, compile_bytes};
use palisade::names::Names;
use std::path::Path;

/// The policy's table, if it is valid and is what it expects to be.
fn loaded(policy: &str) -> Result<Loaded, String> {
    let compiled = compile_bytes(policy.as_bytes(), Path::new("policy.yaml"), &Names::default());
    let loaded = Loaded::from(compiled.map_err(|problems| problems.render(false))?);
    match &loaded.unmet {
        Some(problems) => Err(problems.render(false)),
        None => Ok(loaded),
    }
}
