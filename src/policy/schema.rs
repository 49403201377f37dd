//! The JSON Schema of the language, generated from the table of keys.

use super::findings::{FINDING_IDS, NEVER_IGNORED};
use super::keys::{EXPECTATION, FORWARD, Holds, IGNORED, Key, NAT, OUTGOING, PEER, POLICY, SERVICE, Section};
use super::patterns;
use serde::ser::{Serialize, Serializer};
use serde_json::Value;

/// A JSON value whose objects keep the order of their members.
enum Json {
    Text(String),
    Flag(bool),
    Number(u32),
    List(Vec<Self>),
    /// Whatever an example says.
    Example(Value),
    Object(Vec<(&'static str, Self)>),
}

impl Serialize for Json {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Text(text) => serializer.serialize_str(text),
            Self::Flag(flag) => serializer.serialize_bool(*flag),
            Self::Number(number) => serializer.serialize_u32(*number),
            Self::List(items) => serializer.collect_seq(items),
            Self::Example(value) => value.serialize(serializer),
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

fn pattern(pattern: impl Into<String>) -> Vec<(&'static str, Json)> {
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

/// One value of the named definition, a list of them, or nothing.
fn several_or_nothing(name: &str) -> Vec<(&'static str, Json)> {
    vec![any_of(vec![Json::Object(vec![one_or_more(name, false)]), nothing()])]
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
    if section.what == POLICY.what {
        // For anchors: whatever stands there.
        members.push(("patternProperties", Json::Object(vec![("^x-", Json::Object(Vec::new()))])));
    }
    members.push(("properties", Json::Object(properties.collect())));
    members
}

fn property(key: &'static Key) -> Vec<(&'static str, Json)> {
    if let Holds::Section(of) = key.holds {
        return section(of);
    }
    let mut members = vec![("description", text(key.sentences()))];
    // No host name stands there: while it can't be looked up, it would except nobody.
    members.extend(match key.name {
        "except" => vec![one_or_more("excluded", false)],
        // A machine may have no containers.
        "interfaces" => interfaces(false),
        _ => value(key.holds),
    });
    match (key.holds, key.default) {
        (Holds::Flag, Some(default)) => members.push(("default", Json::Flag(default == "true"))),
        (Holds::Interfaces, Some(list)) => {
            let names: Vec<&str> = list.trim_matches(['[', ']']).split(", ").collect();
            members.push(("default", words(&names)));
        }
        (_, Some(default)) => members.push(("default", text(default))),
        (_, None) => {}
    }
    if let Ok(example) = serde_saphyr::from_str::<Value>(key.example) {
        members.push(("examples", Json::List(vec![Json::Example(example)])));
    }
    members
}

fn value(holds: Holds) -> Vec<(&'static str, Json)> {
    match holds {
        Holds::Version => vec![("const", Json::Number(1))],
        Holds::Word(several) => {
            // YAML 1.1 readers take `off` for false.
            let off = several.contains(&"off").then_some(Json::Flag(false));
            vec![("enum", Json::List(several.iter().map(|word| text(*word)).chain(off).collect()))]
        }
        Holds::Flag => vec![("type", text("boolean"))],
        Holds::Rate => vec![("$ref", text("#/$defs/rate"))],
        Holds::RateOrOff => {
            // YAML 1.1 readers take `off` for false.
            let off = Json::Object(vec![("enum", Json::List(vec![text("off"), Json::Flag(false)]))]);
            vec![any_of(vec![off, reference("rate")])]
        }
        Holds::Comment => {
            let mut members = pattern(patterns::COMMENT);
            members.insert(1, ("maxLength", Json::Number(100)));
            members
        }
        Holds::Reason => {
            let mut members = pattern("\\S");
            members.insert(1, ("maxLength", Json::Number(300)));
            members
        }
        Holds::Finding => {
            let may: Vec<&str> = FINDING_IDS.iter().filter(|id| !NEVER_IGNORED.contains(id)).copied().collect();
            vec![("enum", words(&may))]
        }
        Holds::Ports => ports(),
        Holds::Sources => vec![one_or_more("peer", true)],
        Holds::Peers => vec![("$ref", text("#/$defs/peers"))],
        Holds::PeersOrNothing => several_or_nothing("excluded"),
        Holds::Addresses => vec![one_or_more("addresses", true)],
        Holds::Address => vec![("$ref", text("#/$defs/address"))],
        Holds::Targets => vec![one_or_more("target", true)],
        Holds::HostName => pattern(patterns::HOST_NAME),
        Holds::Time => pattern(patterns::time()),
        Holds::User => {
            let number = ("maximum", Json::Number(u32::MAX - 1));
            vec![
                ("type", words(&["string", "integer"])),
                ("minLength", Json::Number(1)),
                ("minimum", Json::Number(0)),
                number,
            ]
        }
        Holds::Interface => vec![("$ref", text("#/$defs/interface"))],
        Holds::Interfaces => vec![("$ref", text("#/$defs/interfaces"))],
        Holds::Files => files(),
        Holds::Path => vec![("type", text("string")), ("minLength", Json::Number(1))],
        Holds::Section(of) => section(of),
        Holds::Groups => {
            let built_in = Json::Object(vec![("enum", words(&["any", "containers", "private"]))]);
            let reserved = Json::Object(vec![("pattern", text("-(v4|v6|if)$"))]);
            let not = Json::Object(vec![any_of(vec![built_in, reserved])]);
            named(vec![("$ref", text("#/$defs/name")), ("not", not)], "members")
        }
        Holds::Named(of) => named(vec![("$ref", text("#/$defs/name"))], definition(of)),
        Holds::ListOf(of) => several_or_nothing(definition(of)),
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
        ("name", described("Up to 32 letters, digits, `-` and `_`; a letter comes first.", pattern(patterns::NAME))),
        (definition(&SERVICE), Json::Object(section(&SERVICE))),
        (definition(&OUTGOING), Json::Object(section(&OUTGOING))),
        (definition(&FORWARD), Json::Object(section(&FORWARD))),
        (definition(&NAT), Json::Object(section(&NAT))),
        ("target", described("The address of a machine, and a port of it.", pattern(patterns::target()))),
        ("port", port()),
        ("peers", described("One peer, or a list of them.", vec![one_or_more("peer", false)])),
        ("peer", peer(&["any", "private", "containers"], &["temporary"])),
        ("members", described("One member of a group, or a list of them.", vec![one_or_more("member", false)])),
        ("member", peer(&["private", "containers"], &[])),
        ("excluded", peer(&["private", "containers"], &["temporary", "dns"])),
        ("address", described("An address.", pattern(patterns::address()))),
        ("addresses", described("An address, a network or a range.", pattern(patterns::addresses()))),
        (
            "interface",
            described(
                "An interface's name as `ip link` shows it. A trailing `*` is allowed.",
                pattern(patterns::INTERFACE),
            ),
        ),
        ("interfaces", Json::Object(interfaces(true))),
        ("named-interface", named_interface()),
        ("rate", described("A count in a unit of time, such as `6/minute`.", pattern(patterns::RATE))),
        (definition(&EXPECTATION), expectation()),
        (definition(&IGNORED), Json::Object(section(&IGNORED))),
    ]
}

/// The path of a file, a list of them, or nothing.
fn files() -> Vec<(&'static str, Json)> {
    let path = || {
        let mut path = pattern("^[^/]");
        path.push(("minLength", Json::Number(1)));
        Json::Object(path)
    };
    let list = Json::Object(vec![("type", text("array")), ("items", path())]);
    vec![any_of(vec![path(), list, nothing()])]
}

/// One port, or a list of them, in which `any` stands alone.
fn ports() -> Vec<(&'static str, Json)> {
    let has_any =
        Json::Object(vec![("type", text("array")), ("contains", Json::Object(vec![("const", text("any"))]))]);
    let alone = Json::Object(vec![("maxItems", Json::Number(1))]);
    vec![one_or_more("port", true), ("if", has_any), ("then", alone)]
}

/// Words that stand for themselves, which editors offer.
fn offered(about: &str, several: &[&str]) -> Json {
    Json::Object(vec![("description", text(about)), ("enum", words(several))])
}

fn port() -> Json {
    let written = vec![("description", text("`22/tcp`, `60000-61000/udp`, `esp/proto`, or a service's name."))];
    let written = written.into_iter().chain(pattern(patterns::port())).collect();
    let examples = ("examples", words(&["22/tcp", "443/tcp", "60000-61000/udp"]));
    Json::Object(vec![
        any_of(vec![offered("Every port and protocol, or echo requests.", &["any", "ping"]), Json::Object(written)]),
        examples,
    ])
}

/// A word, or a mapping of one key; `odd` stands beside `file`.
fn peer(built_in: &[&str], but: &[&str]) -> Json {
    let known = offered("What every policy may name.", built_in);
    let group = Json::Object(vec![
        ("description", text("A group's name, or `host`.")),
        ("$ref", text("#/$defs/name")),
        ("not", Json::Object(vec![("const", text("any"))])),
    ]);
    let mapping = |key: &'static Key| {
        let of_one = [("required", words(&[key.name])), ("additionalProperties", Json::Flag(false))];
        let beside = PEER.key("odd").filter(|_| key.name == "file");
        let properties = [key].into_iter().chain(beside).map(|key| (key.name, Json::Object(property(key))));
        let properties = ("properties", Json::Object(properties.collect()));
        Json::Object([("type", text("object"))].into_iter().chain(of_one).chain([properties]).collect())
    };
    let keys = PEER.keys.iter().filter(|key| key.name != "odd" && !but.contains(&key.name));
    let written = [known, group, reference("addresses")];
    Json::Object(vec![any_of(written.into_iter().chain(keys.map(mapping)).collect())])
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

fn interfaces(at_least_one: bool) -> Vec<(&'static str, Json)> {
    let one = || vec![reference("interface"), reference("named-interface")];
    let list = Json::Object(vec![
        ("type", text("array")),
        ("minItems", Json::Number(u32::from(at_least_one))),
        ("items", Json::Object(vec![any_of(one())])),
    ]);
    vec![any_of(one().into_iter().chain([list]).collect())]
}
