//! The JSON Schema of the language, generated from the table of keys.

use super::findings::FINDING_IDS;
use super::keys::{EXPECTATION, FORWARD, Holds, IGNORED, Key, NAT, OUTGOING, PEER, POLICY, SERVICE, Section};
use serde::ser::{Serialize, Serializer};

/// A JSON value whose objects keep the order of their members.
enum Json {
    Text(String),
    Flag(bool),
    Number(u32),
    List(Vec<Self>),
    Object(Vec<(&'static str, Self)>),
}

impl Serialize for Json {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Text(text) => serializer.serialize_str(text),
            Self::Flag(flag) => serializer.serialize_bool(*flag),
            Self::Number(number) => serializer.serialize_u32(*number),
            Self::List(items) => serializer.collect_seq(items),
            Self::Object(members) => serializer.collect_map(members.iter().map(|(name, value)| (name, value))),
        }
    }
}

/// The JSON Schema (draft 2020-12) of the whole language, for editors.
#[must_use]
pub fn schema() -> String {
    let mut members = vec![
        ("$schema", text("https://json-schema.org/draft/2020-12/schema")),
        ("$id", text("urn:palisade:policy:1")),
        ("title", text("A palisade policy, version 1")),
    ];
    members.extend(section(&POLICY));
    members.push(("$defs", Json::Object(definitions())));
    // Serializing this type can't fail.
    serde_json::to_string_pretty(&Json::Object(members)).unwrap_or_default() + "\n"
}

fn text(text: impl Into<String>) -> Json {
    Json::Text(text.into())
}

fn words(words: &[&str]) -> Json {
    Json::List(words.iter().copied().map(text).collect())
}

fn reference(name: &str) -> Json {
    Json::Object(vec![("$ref", text(format!("#/$defs/{name}")))])
}

fn pattern(pattern: &str) -> Vec<(&'static str, Json)> {
    vec![("type", text("string")), ("pattern", text(pattern))]
}

/// One of several.
fn any_of(several: Vec<Json>) -> (&'static str, Json) {
    ("anyOf", Json::List(several))
}

fn nothing() -> Json {
    Json::Object(vec![("type", text("null"))])
}

/// One value of the named definition, or a list of them.
fn one_or_more(name: &str, at_least_one: bool) -> (&'static str, Json) {
    let mut list = vec![("type", text("array")), ("items", reference(name))];
    if at_least_one {
        list.insert(1, ("minItems", Json::Number(1)));
    }
    any_of(vec![reference(name), Json::Object(list)])
}

/// A mapping with the keys of a section.
fn section(section: &'static Section) -> Vec<(&'static str, Json)> {
    let kind = if section.may_be_empty { words(&["object", "null"]) } else { text("object") };
    let required: Vec<&str> = section.keys.iter().filter(|key| key.required).map(|key| key.name).collect();
    let properties = section.keys.iter().map(|key| (key.name, Json::Object(property(key))));
    let mut members = vec![("description", text(section.about)), ("type", kind)];
    if !required.is_empty() {
        members.push(("required", words(&required)));
    }
    members.push(("additionalProperties", Json::Flag(false)));
    members.push(("properties", Json::Object(properties.collect())));
    members
}

fn property(key: &'static Key) -> Vec<(&'static str, Json)> {
    if let Holds::Section(of) = key.holds {
        return section(of);
    }
    let mut members = vec![("description", text(key.sentences()))];
    members.extend(value(key.holds));
    match (key.holds, key.default) {
        (Holds::Flag, Some(default)) => members.push(("default", Json::Flag(default == "true"))),
        (Holds::Interfaces, Some(list)) => {
            let names: Vec<&str> = list.trim_matches(['[', ']']).split(", ").collect();
            members.push(("default", words(&names)));
        }
        (_, Some(default)) => members.push(("default", text(default))),
        (_, None) => {}
    }
    members
}

fn value(holds: Holds) -> Vec<(&'static str, Json)> {
    match holds {
        Holds::Version => vec![("const", Json::Number(1))],
        Holds::Word(several) => vec![("enum", words(several))],
        Holds::Flag => vec![("type", text("boolean"))],
        Holds::Rate => vec![("$ref", text("#/$defs/rate"))],
        Holds::RateOrOff => {
            // YAML 1.1 readers take `off` for false.
            let off = Json::Object(vec![("enum", Json::List(vec![text("off"), Json::Flag(false)]))]);
            vec![any_of(vec![off, reference("rate")])]
        }
        Holds::Comment => {
            let mut members = pattern("^[^\"\\\\\\u0000-\\u001f\\u007f]*$");
            members.insert(1, ("maxLength", Json::Number(100)));
            members
        }
        Holds::Reason => {
            let mut members = pattern("\\S");
            members.insert(1, ("maxLength", Json::Number(300)));
            members
        }
        Holds::Finding => vec![("enum", words(FINDING_IDS))],
        Holds::Ports => vec![one_or_more("port", true)],
        Holds::Sources => vec![one_or_more("peer", true)],
        Holds::Peers => vec![("$ref", text("#/$defs/peers"))],
        Holds::PeersOrNothing => vec![any_of(vec![reference("peers"), nothing()])],
        Holds::Addresses => vec![one_or_more("address", true)],
        Holds::Address => vec![("$ref", text("#/$defs/address"))],
        Holds::Targets => vec![one_or_more("target", true)],
        Holds::HostName => vec![("type", text("string")), ("minLength", Json::Number(1))],
        Holds::Time => pattern("^[0-9]+ ?(m|min|minutes?|h|hr|hours?|d|days?)$"),
        Holds::User => vec![("type", words(&["string", "integer"]))],
        Holds::Interface => vec![("$ref", text("#/$defs/interface"))],
        Holds::Interfaces => vec![("$ref", text("#/$defs/interfaces"))],
        Holds::Path => vec![("type", text("string")), ("minLength", Json::Number(1))],
        Holds::Section(of) => section(of),
        Holds::Groups => {
            let built_in = Json::Object(vec![("enum", words(&["any", "containers", "private"]))]);
            let reserved = Json::Object(vec![("pattern", text("-(v4|v6|if)$"))]);
            let not = Json::Object(vec![any_of(vec![built_in, reserved])]);
            named(vec![("$ref", text("#/$defs/name")), ("not", not)], "peers")
        }
        Holds::Named(of) => named(vec![("$ref", text("#/$defs/name"))], definition(of)),
        Holds::ListOf(of) => {
            let (_, Json::List(mut several)) = one_or_more(definition(of), false) else { return Vec::new() };
            several.push(nothing());
            vec![any_of(several)]
        }
    }
}

/// A mapping from names that the author chooses to values of the definition `each`.
fn named(names: Vec<(&'static str, Json)>, each: &str) -> Vec<(&'static str, Json)> {
    vec![
        ("type", words(&["object", "null"])),
        ("propertyNames", Json::Object(names)),
        ("additionalProperties", reference(each)),
    ]
}

/// The name under which a section is defined: its `what` without the article.
fn definition(section: &'static Section) -> &'static str {
    section.what.split(' ').next_back().unwrap_or(section.what).trim_matches('`')
}

fn definitions() -> Vec<(&'static str, Json)> {
    let described = |about: &str, members: Vec<(&'static str, Json)>| {
        Json::Object([("description", text(about))].into_iter().chain(members).collect())
    };
    vec![
        (
            "name",
            described(
                "Up to 32 letters, digits, `-` and `_`; a letter comes first.",
                pattern("^[A-Za-z][A-Za-z0-9_-]{0,31}$"),
            ),
        ),
        (definition(&SERVICE), Json::Object(section(&SERVICE))),
        (definition(&OUTGOING), Json::Object(section(&OUTGOING))),
        (definition(&FORWARD), Json::Object(section(&FORWARD))),
        (definition(&NAT), Json::Object(section(&NAT))),
        ("target", described("The address of a machine, and a port of it.", pattern("^[0-9A-Fa-f.:\\[\\]]+$"))),
        (
            "port",
            Json::Object(pattern(
                "^([0-9]{1,5}(-[0-9]{1,5})?/(tcp|udp|sctp)|[A-Za-z0-9][A-Za-z0-9+._-]*/proto|[A-Za-z][A-Za-z0-9+._-]*)$",
            )),
        ),
        ("peers", described("One peer, or a list of them.", vec![one_or_more("peer", false)])),
        ("peer", peer()),
        ("address", described("An address, a network or a range.", pattern("^[0-9A-Fa-f.:/-]+$"))),
        (
            "interface",
            described(
                "An interface's name as `ip link` shows it. A trailing `*` is allowed.",
                pattern("^[^\\s/:\"'`\\\\*]{1,15}\\*?$"),
            ),
        ),
        ("interfaces", interfaces()),
        ("named-interface", named_interface()),
        (
            "rate",
            described(
                "A count in a unit of time, such as `6/minute`.",
                pattern("^[0-9]{1,7}/(second|minute|hour|day|week)$"),
            ),
        ),
        (definition(&EXPECTATION), expectation()),
        (definition(&IGNORED), Json::Object(section(&IGNORED))),
    ]
}

/// A word, or a mapping of one key; `odd` stands beside `file`.
fn peer() -> Json {
    let word = Json::Object(vec![
        ("description", text("An address, a network, a range, or a group's name.")),
        ("type", text("string")),
        ("minLength", Json::Number(1)),
    ]);
    let mapping = |key: &'static Key| {
        let of_one = [("required", words(&[key.name])), ("additionalProperties", Json::Flag(false))];
        let beside = PEER.key("odd").filter(|_| key.name == "file");
        let properties = [key].into_iter().chain(beside).map(|key| (key.name, Json::Object(property(key))));
        let properties = ("properties", Json::Object(properties.collect()));
        Json::Object([("type", text("object"))].into_iter().chain(of_one).chain([properties]).collect())
    };
    let keys = PEER.keys.iter().filter(|key| key.name != "odd");
    Json::Object(vec![any_of([word].into_iter().chain(keys.map(mapping)).collect())])
}

fn expectation() -> Json {
    let mut expectation = section(&EXPECTATION);
    let one_of = ["allow", "deny"].map(|name| Json::Object(vec![("required", words(&[name]))]));
    expectation.insert(3, ("oneOf", Json::List(one_of.into())));
    Json::Object(expectation)
}

fn named_interface() -> Json {
    Json::Object(vec![
        ("type", text("object")),
        ("required", words(&["interface"])),
        ("additionalProperties", Json::Flag(false)),
        ("properties", Json::Object(vec![("interface", reference("interface"))])),
    ])
}

fn interfaces() -> Json {
    let one = || vec![reference("interface"), reference("named-interface")];
    let list = Json::Object(vec![
        ("type", text("array")),
        ("minItems", Json::Number(1)),
        ("items", Json::Object(vec![any_of(one())])),
    ]);
    Json::Object(vec![any_of(one().into_iter().chain([list]).collect())])
}
