//! The JSON Schema says what the decoder says.

use palisade::policy::{
    CONTAINERS_KEYS, DEFAULTS_KEYS, EXPECT_KEYS, LOG_KEYS, PEER_KEYS, POLICY_KEYS, SCHEMA, SERVICE_KEYS,
};
use serde_json::Value;
use std::collections::BTreeSet;

fn schema() -> Value {
    serde_json::from_str(SCHEMA).expect("the schema is JSON")
}

fn keys<'a>(schema: &'a Value, pointers: &[&str]) -> BTreeSet<&'a str> {
    let objects = pointers.iter().map(|pointer| schema.pointer(pointer).and_then(Value::as_object));
    objects.flat_map(|object| object.expect("an object of properties").keys().map(String::as_str)).collect()
}

#[test]
fn the_schema_knows_the_keys_that_the_decoder_knows() {
    let schema = schema();
    let same = |pointers: &[&str], known: &[&str]| {
        assert_eq!(keys(&schema, pointers), known.iter().copied().collect(), "{pointers:?}");
    };
    same(&["/properties"], POLICY_KEYS);
    same(&["/properties/defaults/properties"], DEFAULTS_KEYS);
    same(&["/$defs/service/properties"], SERVICE_KEYS);
    same(&["/properties/log/properties"], LOG_KEYS);
    same(&["/$defs/peer/anyOf/1/properties", "/$defs/peer/anyOf/2/properties"], PEER_KEYS);
    same(&["/properties/containers/properties"], CONTAINERS_KEYS);
    same(&["/$defs/expectation/properties"], EXPECT_KEYS);
}

#[test]
fn the_schema_accepts_a_policy_that_uses_everything() {
    let policy: Value = serde_saphyr::from_str(include_str!("policies/everything.yaml")).expect("YAML");
    let validator = jsonschema::validator_for(&schema()).expect("a valid schema");
    let errors: Vec<String> = validator.iter_errors(&policy).map(|error| error.to_string()).collect();
    assert_eq!(errors, Vec::<String>::new());
}

#[test]
fn the_schema_refuses_what_the_decoder_refuses() {
    let validator = jsonschema::validator_for(&schema()).expect("a valid schema");
    let refused = |text: &str| {
        let policy: Value = serde_saphyr::from_str(text).expect("YAML");
        assert!(!validator.is_valid(&policy), "{text}");
    };
    refused("services: {}");
    refused("version: 2");
    refused("version: 1\nservcies: {}");
    refused("version: 1\nservices: { ssh: { ports: 22, from: any } }");
    refused("version: 1\nservices: { ssh: { ports: 22/tcp } }");
    refused("version: 1\nservices: { ssh: { ports: 22/tcp, from: [] } }");
    refused("version: 1\nservices: { ssh: { ports: 22/tpc, from: any } }");
    refused("version: 1\nservices: { ssh: { ports: 22/tcp, from: any, limit: 6/min } }");
    refused("version: 1\ngroups: { any: [192.0.2.1] }");
    refused("version: 1\ngroups: { office-v4: [192.0.2.1] }");
    refused("version: 1\ndefaults: { ping: reject }");
    refused("version: 1\nblock: [{ iface: eth0 }]");
}
