//! What the process that looks names up says: one line of JSON for each answer.

use super::model::Failure;
use crate::net::Version;
use serde::{Deserialize, Serialize};
use std::net::IpAddr;

/// The outcome of a look-up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answered {
    /// The name.
    pub name: String,
    /// The version of IP that was asked for.
    pub version: Version,
    /// Its addresses, or why there are none.
    pub outcome: Result<Vec<IpAddr>, Failure>,
}

#[derive(Serialize, Deserialize)]
struct Line {
    name: String,
    v6: bool,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    addresses: Vec<IpAddr>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    failure: Option<Failure>,
}

impl Answered {
    /// Its line, without an end.
    pub(super) fn line(self) -> String {
        let (addresses, failure) = match self.outcome {
            Ok(addresses) => (addresses, None),
            Err(failure) => (Vec::new(), Some(failure)),
        };
        let line = Line { name: self.name, v6: self.version == Version::V6, addresses, failure };
        serde_json::to_string(&line).unwrap_or_default()
    }

    /// Reads a line; `None` if it is not one.
    pub(super) fn read(line: &str) -> Option<Self> {
        let Line { name, v6, addresses, failure } = serde_json::from_str(line).ok()?;
        let version = if v6 { Version::V6 } else { Version::V4 };
        Some(Self { name, version, outcome: failure.map_or(Ok(addresses), Err) })
    }
}
