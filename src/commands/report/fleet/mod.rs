//! One page about many hosts, from what each of them has answered.
//!
//! ```text
//! DIR/web1.json ─ hosts ─► what is known of web1 ─ sections ─► the page
//! ```

mod drift;
mod hosts;
mod sections;

use crate::error::Error;
use crate::picture::Page;
use hosts::{Host, hosts};
use std::path::Path;
use std::time::SystemTime;

/// The page about the hosts whose answers are in a folder, and how many they are.
///
/// # Errors
/// The folder can't be read, or holds no answers.
pub(super) fn page(folder: &Path) -> Result<(Page, usize), Error> {
    let hosts = hosts(folder)?;
    let now = humantime::format_rfc3339_seconds(SystemTime::now());
    let about = format!("Made by palisade {} at {now}, of what the hosts have answered.", env!("CARGO_PKG_VERSION"));
    let page = Page { title: title(&hosts), about, sections: sections::sections(&hosts) };
    Ok((page, hosts.len()))
}

fn title(hosts: &[Host]) -> String {
    match hosts {
        [one] => format!("palisade on {}", one.name),
        all => format!("palisade on {} hosts", all.len()),
    }
}
