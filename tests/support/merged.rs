//! A policy with a line that was advised, written into it as a person would: into the section that is there.

use serde_json::{Map, Value};

/// The policy with a line such as `services: { web: { ports: 80/tcp, from: any } }`. What it names it replaces.
#[track_caller]
pub fn with_line(policy: &str, line: &str) -> String {
    let (mut whole, part) = (read(policy), read(line));
    merge(&mut whole, part);
    written(&whole)
}

/// The policy without what stands at a path of keys; a section that is left empty goes, too.
#[track_caller]
pub fn without(policy: &str, path: &[&str]) -> String {
    let mut whole = read(policy);
    take_out(&mut whole, path);
    written(&whole)
}

#[track_caller]
fn read(yaml: &str) -> Value {
    serde_saphyr::from_str(yaml).unwrap_or_else(|error| panic!("{yaml}\n{error}"))
}

/// JSON is YAML.
fn written(policy: &Value) -> String {
    format!("{policy:#}\n")
}

fn merge(whole: &mut Value, part: Value) {
    match (whole, part) {
        (Value::Object(whole), Value::Object(part)) => {
            for (key, value) in part {
                merge(whole.entry(key).or_insert(Value::Null), value);
            }
        }
        (whole, part) => *whole = part,
    }
}

#[track_caller]
fn take_out(whole: &mut Value, path: &[&str]) {
    let (key, rest) = path.split_first().expect("a key");
    let map: &mut Map<String, Value> = whole.as_object_mut().expect("a mapping");
    if rest.is_empty() {
        assert!(map.remove(*key).is_some(), "no {key}");
        return;
    }
    let section = map.get_mut(*key).expect("the section");
    take_out(section, rest);
    if section.as_object().is_some_and(Map::is_empty) {
        map.remove(*key);
    }
}
