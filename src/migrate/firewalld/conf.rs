//! `firewalld.conf`.

/// What matters of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Conf {
    pub(super) default_zone: String,
    /// Whether denied packets were logged.
    pub(super) logs_denied: bool,
    /// Whether published ports had to pass the zones, too.
    pub(super) strict_forward_ports: bool,
}

/// Reads `KEY=value` lines; what is missing or unknown is as firewalld has it by itself.
pub(super) fn read(text: &str) -> Conf {
    let value = |key: &str| {
        let lines = text.lines().map(str::trim).filter(|line| !line.starts_with(['#', ';']));
        let of_key = |line: &str| {
            let (name, value) = line.split_once('=')?;
            (name.trim() == key).then(|| value.trim().to_owned())
        };
        lines.filter_map(of_key).next_back().filter(|value| !value.is_empty())
    };
    let logs =
        value("LogDenied").is_some_and(|word| ["all", "unicast", "broadcast", "multicast"].contains(&word.as_str()));
    let is_yes = |key: &str| value(key).is_some_and(|word| ["yes", "true"].contains(&word.to_lowercase().as_str()));
    Conf {
        default_zone: value("DefaultZone").unwrap_or_else(|| "public".to_owned()),
        logs_denied: logs,
        strict_forward_ports: is_yes("StrictForwardPorts"),
    }
}
