//! `/etc/default/ufw` and `ufw.conf`.

use crate::migrate::tuple::Action;

/// What the two files say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Settings {
    pub(super) enabled: bool,
    pub(super) six: bool,
    pub(super) incoming: Action,
    pub(super) outgoing: Action,
    pub(super) forward: Action,
    pub(super) level: String,
    pub(super) manages_builtins: bool,
    /// Modules that it loads, by name.
    pub(super) modules: Vec<String>,
}

/// Reads both files, in this order. A policy that is missing or unknown is an error, as it is for ufw.
pub(super) fn read(defaults: &str, conf: &str) -> Result<Settings, String> {
    let all: Vec<(String, String)> = defaults.lines().chain(conf.lines()).filter_map(assignment).collect();
    let value = |key: &str| all.iter().rev().find(|(name, _)| name == key).map(|(_, value)| value.as_str());
    let policy = |key: &str| {
        let name = key.to_uppercase();
        match value(key) {
            Some("accept") => Ok(Action::Allow),
            Some("drop") => Ok(Action::Deny),
            Some("reject") => Ok(Action::Reject),
            Some(_) => Err(format!("etc/default/ufw has no valid {name}: ufw knows ACCEPT, DROP and REJECT")),
            None => Err(format!("etc/default/ufw does not say {name}, without which ufw does not start")),
        }
    };
    let is_yes = |key: &str| value(key) == Some("yes");
    // Several words, which ufw's own reader of assignments passes over.
    let modules = defaults.lines().filter_map(|line| line.trim().strip_prefix("IPT_MODULES=")).next_back();
    let modules = modules.unwrap_or_default().trim_matches(['"', '\'']).split_whitespace().map(str::to_owned);
    Ok(Settings {
        enabled: is_yes("enabled"),
        six: is_yes("ipv6"),
        incoming: policy("default_input_policy")?,
        outgoing: policy("default_output_policy")?,
        forward: policy("default_forward_policy")?,
        level: value("loglevel").unwrap_or("low").to_owned(),
        manages_builtins: is_yes("manage_builtins"),
        modules: modules.collect(),
    })
}

/// `KEY="value"` of word characters, in lower case; nothing else is an assignment to ufw.
fn assignment(line: &str) -> Option<(String, String)> {
    let (key, rest) = line.split_once('=')?;
    let value: String = rest.trim_start_matches('"').chars().take_while(|c| is_word(*c)).collect();
    let is_one = !key.is_empty() && key.chars().all(is_word) && !value.is_empty();
    is_one.then(|| (key.to_lowercase(), value.to_lowercase()))
}

fn is_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}
