//! Packets after those that open a connection.

use super::traversal::Table as Routing;
use super::*;
use crate::ruleset::{Foreign, TableId};

/// `ct mark set ct mark map { ... }`
fn steps(map: &[(u32, u32)]) -> Rule {
    let element = |(from, to): &(u32, u32)| Element {
        value: Some(Box::new(ElementValue::Data(Key::from_slice(&to.to_ne_bytes())))),
        ..Element::single(&from.to_ne_bytes())
    };
    let mut elements: Vec<Element> = map.iter().map(element).collect();
    elements.sort_by(|one, other| one.key.cmp(&other.key));
    let mut map = Set { spec: SetSpec::new(KeyType::UID, SetFlags::default()), elements: elements.into() };
    map.spec.value = Some(MapValue::Data(KeyType::UID));
    let set = Expr::Foreign(Foreign::SetCt { key: CtKey::Mark, direction: None, sreg: R });
    rule(&[ct(CtKey::Mark, None), lookup(map, Some(R), false), set])
}

/// What becomes of a connection whose mark takes such steps with each packet that comes in, and with each that leaves,
/// and whose packets are dropped as they come in with the mark 99.
fn told(sent: &[(u32, u32)], returned: &[(u32, u32)]) -> (Stage, Verdict, Option<String>) {
    let drops = rule(&[ct(CtKey::Mark, None), is(&99_u32.to_ne_bytes()), says(Says::Drop)]);
    let table = table(vec![
        ("again", base(Hook::Prerouting, -150, Policy::Accept, &[drops])),
        ("in", base(Hook::Input, 0, Policy::Accept, &[steps(sent)])),
        ("out", base(Hook::Output, 0, Policy::Accept, &[steps(returned)])),
    ]);
    let id = TableId::palisade();
    let connection = follow_connection([(&id, &table)], &JustLoaded, &Routing, &ssh());
    (connection.decisive().0, connection.verdict(), connection.doubt().map(ToString::to_string))
}

/// Each packet counts, up to that number, and the one after it is dropped.
fn counted(last: u32) -> Vec<(u32, u32)> {
    (0..last).map(|count| (count, if count + 1 == last { 99 } else { count + 1 })).collect()
}

#[test]
fn what_counts_packets_is_followed_to_its_end_unless_that_is_too_far() {
    let far = "each packet leaves something else behind in its connection, and not all that may follow is looked at";

    assert_eq!(told(&[], &[]), (Stage::First, Verdict::Allow, None));
    assert_eq!(told(&counted(1), &[]), (Stage::Third, Verdict::Deny, None));
    assert_eq!(told(&counted(2), &[]), (Stage::Sent, Verdict::Deny, None));
    assert_eq!(told(&counted(60), &[]), (Stage::Sent, Verdict::Deny, None));
    assert_eq!(told(&[], &counted(60)), (Stage::Sent, Verdict::Deny, None));
    assert_eq!(told(&counted(80), &[]), (Stage::Sent, Verdict::Unknown, Some(far.to_owned())));
}

#[test]
fn what_turns_in_a_circle_stops_nothing() {
    assert_eq!(told(&[(0, 1), (1, 2), (2, 1)], &[(1, 0), (2, 5), (5, 2)]), (Stage::First, Verdict::Allow, None));
}

#[test]
fn where_only_one_side_may_send_first_and_where_nobody_may_send_twice_nobody_can_tell() {
    let who = "a packet leaves behind what stops later ones, and which side sends first is not known";
    let unknown = (Stage::Sent, Verdict::Unknown, Some(who.to_owned()));

    // The third packet sets it, and the next takes it away if it comes from the other side.
    assert_eq!(told(&[(0, 1), (1, 99)], &[(99, 1)]), unknown);
    assert_eq!(told(&[(0, 1), (1, 2), (2, 99)], &[(99, 2)]), unknown);
}
