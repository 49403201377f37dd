use super::model::{Failure, Known, Names, Span, Trouble};
use super::{Answered, Stamp};
use crate::net::Version;
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::net::IpAddr;

const NAME: &str = "home.example.org";
const HOUR: u64 = 60 * 60;
const DAY: u64 = 24 * HOUR;

fn address(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

fn addresses(texts: &[&str]) -> Vec<IpAddr> {
    texts.iter().map(|text| address(text)).collect()
}

fn only(span: Span) -> Names {
    Names::default().only(&BTreeMap::from([(NAME.to_owned(), span)]))
}

/// A name about which look-ups say something every five minutes.
struct Told(Names);

impl Told {
    fn new(span: Span) -> Self {
        Self(only(span))
    }

    fn after(self, seconds: u64) -> Self {
        Self(self.0.after(seconds))
    }

    fn v4(self, outcome: Result<&[&str], Failure>) -> Self {
        self.learns(Version::V4, outcome)
    }

    fn v6(self, outcome: Result<&[&str], Failure>) -> Self {
        self.learns(Version::V6, outcome)
    }

    fn learns(mut self, version: Version, outcome: Result<&[&str], Failure>) -> Self {
        self.0.learn(NAME, version, outcome.map(addresses));
        self
    }

    fn says(&self) -> Vec<String> {
        self.0.addresses(NAME).map(|address| address.to_string()).collect()
    }

    fn trouble(&self) -> Option<Trouble> {
        self.0.get(NAME).expect("it is known").trouble()
    }
}

#[test]
fn an_address_counts_until_no_answer_has_named_it_for_an_hour_and_in_to_for_a_day() {
    for (span, length) in [(Span::Hour, HOUR), (Span::Day, DAY)] {
        let told = Told::new(span).v4(Ok(&["192.0.2.1"])).after(length - 1).v4(Ok(&["192.0.2.2"]));
        assert_eq!(told.says(), ["192.0.2.1", "192.0.2.2"]);
        let told = told.after(1).v4(Ok(&["192.0.2.2"]));
        assert_eq!(told.says(), ["192.0.2.2"]);
    }
}

#[test]
fn failures_change_nothing_for_seven_days_and_then_the_name_means_nobody() {
    for failure in [Failure::NoServer, Failure::NoSuchName, Failure::NoAddress, Failure::TooLate, Failure::Resolver] {
        let told = Told::new(Span::Hour).v4(Ok(&["192.0.2.1"])).v6(Err(Failure::NoAddress));
        let told = told.after(HOUR - 1).v4(Err(failure));
        assert_eq!((told.says(), told.trouble()), (vec!["192.0.2.1".to_owned()], None));
        let told = told.after(1).v4(Err(failure));
        assert_eq!(told.trouble(), Some(Trouble::Stale(failure, HOUR)));
        let told = told.after(7 * DAY - HOUR - 1).v4(Err(failure));
        assert_eq!(told.says(), ["192.0.2.1"]);
        let told = told.after(1).v4(Err(failure));
        assert_eq!((told.says(), told.trouble()), (vec![], Some(Trouble::Over(Some(failure)))));
        let told = told.v4(Ok(&["192.0.2.1"]));
        assert_eq!((told.says(), told.trouble()), (vec!["192.0.2.1".to_owned()], None));
    }
}

#[test]
fn a_name_that_nothing_looks_up_any_more_means_nobody_after_seven_days() {
    let told = Told::new(Span::Day).v4(Ok(&["192.0.2.1"]));
    let rules = told.0.clone();
    let told = told.after(7 * DAY - 1);
    assert_eq!((told.says(), told.trouble()), (vec!["192.0.2.1".to_owned()], None));
    assert!(told.0.has_addresses_of(&rules));
    let told = told.after(1);
    assert_eq!((told.says(), told.trouble()), (vec![], Some(Trouble::Over(None))));
    assert!(!told.0.has_addresses_of(&rules) && !told.0.has_addresses_of(&told.0), "rules of then have it");
}

#[test]
fn a_failure_over_one_version_of_ip_leaves_its_addresses_alone_and_those_of_the_other_go_on() {
    let told = Told::new(Span::Hour).v4(Ok(&["192.0.2.1"])).v6(Ok(&["2001:db8::1"])).after(2 * HOUR);
    let told = told.v4(Ok(&["192.0.2.2"])).v6(Err(Failure::NoServer));
    assert_eq!(told.says(), ["192.0.2.2", "2001:db8::1"]);
    assert_eq!(told.trouble(), Some(Trouble::Stale(Failure::NoServer, 2 * HOUR)));
    let told = told.v6(Ok(&["2001:db8::2"]));
    assert_eq!((told.says(), told.trouble()), (vec!["192.0.2.2".to_owned(), "2001:db8::2".to_owned()], None));
    let told = told.after(7 * DAY).v4(Ok(&["192.0.2.2"])).v6(Err(Failure::NoAddress));
    assert_eq!((told.says(), told.trouble()), (vec!["192.0.2.2".to_owned()], None));
}

#[test]
fn a_name_that_never_had_an_address_of_one_version_is_in_no_trouble() {
    let told = Told::new(Span::Hour).v4(Ok(&["192.0.2.1"])).v6(Err(Failure::NoAddress));
    let told = told.after(30 * DAY).v4(Ok(&["192.0.2.1"])).v6(Err(Failure::NoServer));
    assert_eq!((told.trouble(), told.after(60).0.due()), (None, vec![]));
}

#[test]
fn a_name_that_was_never_answered_means_nobody_and_the_reason_is_that_over_ipv4() {
    let told = Told::new(Span::Hour);
    assert_eq!((told.says(), told.trouble()), (vec![], Some(Trouble::Unknown(None))));
    let told = told.v6(Err(Failure::NoAddress)).v4(Err(Failure::NoSuchName));
    assert_eq!(told.trouble(), Some(Trouble::Unknown(Some(Failure::NoSuchName))));
}

#[test]
fn what_is_no_address_of_somebody_else_is_ignored_and_an_answer_with_nothing_else_is_a_failure() {
    let useless = ["0.0.0.0", "0.1.2.3", "127.0.0.1", "127.9.9.9", "169.254.1.1", "224.0.0.1", "255.255.255.255"];
    let told = Told::new(Span::Hour).v4(Ok(&[&["192.0.2.1"], &useless[..]].concat()));
    assert_eq!(told.says(), ["192.0.2.1"]);
    assert_eq!(
        told.0.get(NAME).map(|known| known.v4.ignored.clone()),
        Some(addresses(&useless).into_iter().collect())
    );
    let told = told.after(2 * HOUR).v4(Ok(&["127.0.0.1"]));
    assert_eq!(
        (told.says(), told.trouble()),
        (vec!["192.0.2.1".to_owned()], Some(Trouble::Stale(Failure::Useless, 2 * HOUR)))
    );

    let useless = ["::", "::1", "fe80::1", "febf::1", "ff02::1", "::ffff:192.0.2.1", "192.0.2.9"];
    let told = Told::new(Span::Hour).v6(Ok(&[&["2001:db8::1"], &useless[..]].concat()));
    assert_eq!(told.says(), ["2001:db8::1"]);
    assert_eq!(Told::new(Span::Hour).v4(Ok(&[])).trouble(), Some(Trouble::Unknown(Some(Failure::NoAddress))));
}

#[test]
fn private_addresses_are_addresses_of_somebody() {
    let told = Told::new(Span::Hour).v4(Ok(&["10.0.0.1", "192.168.1.1", "100.64.0.1"])).v6(Ok(&["fd00::1"]));
    assert_eq!(told.says(), ["10.0.0.1", "100.64.0.1", "192.168.1.1", "fd00::1"]);
}

#[test]
fn of_more_than_64_addresses_those_that_are_known_are_taken_and_then_those_that_were_named_last() {
    let many = |from: usize, to: usize| (from..to).map(|last| format!("192.0.2.{last}")).collect::<Vec<_>>();
    let texts = |of: &[String]| of.iter().map(|text| address(text)).collect::<Vec<_>>();
    let mut names = only(Span::Day);
    names.learn(NAME, Version::V4, Ok(texts(&many(100, 200))));
    let known = |names: &Names| {
        let answers = &names.get(NAME).expect("it is known").v4;
        (answers.seen.keys().map(ToString::to_string).collect::<Vec<_>>(), answers.surplus)
    };
    assert_eq!(known(&names), (many(100, 164), 36));
    let mut names = names.after(60);
    names.learn(NAME, Version::V4, Ok(texts(&many(0, 200))));
    assert_eq!(known(&names), (many(100, 164), 136));
    let mut names = names.after(60);
    names.learn(NAME, Version::V4, Ok(texts(&many(0, 10))));
    assert_eq!(known(&names), ([many(0, 10), many(100, 154)].concat(), 10));
}

#[test]
fn four_of_twenty_addresses_in_turn_are_all_known_soon_and_the_name_rotates_in_nobodys_eyes() {
    let mut told = Told::new(Span::Day);
    for round in 0..40_u8 {
        let answer: Vec<String> = (0..4).map(|at| format!("192.0.2.{}", (round * 4 + at) % 20)).collect();
        let answer: Vec<&str> = answer.iter().map(String::as_str).collect();
        told = told.after(300).v4(Ok(&answer));
        assert_eq!(told.trouble(), None, "{round}");
    }
    assert_eq!(told.says().len(), 20);
}

#[test]
fn a_name_whose_every_answer_names_another_address_rotates() {
    let mut told = Told::new(Span::Day).v4(Ok(&["198.51.100.1"]));
    for round in 0..12_u8 {
        assert_eq!(told.trouble(), None, "{round}");
        told = told.after(300).v4(Ok(&[&format!("192.0.2.{round}")]));
    }
    assert_eq!(told.trouble(), Some(Trouble::Rotates));
    assert_eq!(told.after(300).v4(Ok(&["192.0.2.11"])).trouble(), None);
}

#[test]
fn names_are_asked_every_five_minutes_and_for_an_hour_after_a_failure_each_minute_those_that_answer_first() {
    let wanted = ["a.example", "b.example", "c.example", "d.example"].map(|name| (name.to_owned(), Span::Hour));
    let mut names = Names::default().only(&wanted.into());
    assert_eq!(names.due(), ["a.example", "b.example", "c.example", "d.example"]);
    assert_eq!(names.never_asked(), names.due());
    let here = || Ok(addresses(&["192.0.2.1"]));
    let fails = || Err(Failure::NoServer);
    for (name, outcome) in
        [("a.example", here()), ("c.example", here()), ("d.example", fails()), ("a.example", fails())]
    {
        Version::ALL.into_iter().for_each(|version| names.learn(name, version, outcome.clone()));
    }
    assert_eq!((names.due(), names.never_asked()), (vec!["b.example".to_owned()], vec!["b.example".to_owned()]));
    assert_eq!(names.clone().after(60).due(), ["b.example", "a.example"]);
    assert_eq!(names.clone().after(300).due(), ["b.example", "c.example", "a.example", "d.example"]);
    let mut names = names.after(3600);
    Version::ALL.into_iter().for_each(|version| names.learn("a.example", version, fails()));
    assert_eq!(names.after(60).due(), ["b.example", "c.example", "d.example"]);
}

#[test]
fn what_is_known_of_a_name_outlives_a_policy_without_it_by_a_week() {
    let told = Told::new(Span::Hour).v4(Ok(&["192.0.2.1"]));
    let other = BTreeMap::from([("other.example".to_owned(), Span::Day)]);
    let without = |names: &Names| names.only(&other).beside(names);
    let kept = without(&told.0).after(7 * DAY - 1);
    let said = |names: &Names| names.iter().map(|(name, _)| name.to_owned()).collect::<Vec<_>>();
    assert_eq!(said(&without(&kept)), [NAME, "other.example"]);
    assert_eq!(said(&without(&kept.after(1))), ["other.example"]);
}

#[test]
fn an_address_says_which_names_have_it() {
    let wanted = ["a.example", "b.example", "c.example"].map(|name| (name.to_owned(), Span::Hour));
    let mut names = Names::default().only(&wanted.into());
    names.learn("a.example", Version::V4, Ok(addresses(&["192.0.2.1"])));
    names.learn("c.example", Version::V4, Ok(addresses(&["192.0.2.1", "192.0.2.2"])));
    assert_eq!(names.of(address("192.0.2.1")).collect::<Vec<_>>(), ["a.example", "c.example"]);
    assert_eq!(names.of(address("192.0.2.3")).count(), 0);
}

#[test]
fn no_clock_that_is_set_ahead_or_back_changes_how_long_it_was_within_a_boot() {
    let at = |boot: &str, up, clock| Stamp { boot: boot.to_owned(), up, clock };
    let earlier = at("a", 1_000, 50_000);
    assert_eq!(at("a", 1_060, 9_000_000).since(&earlier), 60);
    assert_eq!(at("a", 1_060, 0).since(&earlier), 60);
    assert_eq!(at("b", 30, 50_500).since(&earlier), 500);
    // The clock of the new boot is behind: it is as long as that boot has lasted, at least.
    assert_eq!(at("b", 30, 0).since(&earlier), 30);
    assert_eq!(at("", 30, 50_500).since(&at("", 10, 50_000)), 500);
}

fn outcome() -> impl Strategy<Value = Result<Vec<IpAddr>, Failure>> {
    let v4 = any::<u32>().prop_map(|bits| IpAddr::V4(bits.into()));
    let v6 = any::<u128>().prop_map(|bits| IpAddr::V6(bits.into()));
    prop_oneof![
        3 => prop::collection::vec(prop_oneof![v4, v6], 0..100).prop_map(Ok),
        1 => Just(Err(Failure::NoServer)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn a_line_says_what_was_answered_and_no_other_line_makes_it_panic(outcome in outcome(), v6 in any::<bool>(), other in ".*") {
        let version = if v6 { Version::V6 } else { Version::V4 };
        let answered = Answered { name: NAME.to_owned(), version, outcome };
        prop_assert_eq!(Answered::read(&answered.clone().line()), Some(answered));
        let _ = Answered::read(&other);
    }

    #[test]
    fn whatever_is_answered_no_name_has_more_than_64_addresses_or_one_that_nobody_can_have(
        answers in prop::collection::vec((outcome(), any::<bool>(), 0..8 * DAY), 1..8)
    ) {
        let mut names = only(Span::Day);
        for (outcome, v6, later) in answers {
            let version = if v6 { Version::V6 } else { Version::V4 };
            names.learn(NAME, version, outcome);
            let Known { v4, v6, .. } = names.get(NAME).expect("it is known");
            prop_assert!(v4.seen.len() <= 64 && v6.seen.len() <= 64);
            prop_assert!(names.addresses(NAME).all(|address| !address.is_loopback() && !address.is_multicast()));
            let text = serde_json::to_string(&names).expect("it can be written");
            prop_assert_eq!(serde_json::from_str::<Names>(&text).expect("it can be read"), names.clone());
            names = names.after(later);
        }
    }
}

#[test]
fn the_names_of_addresses_stand_behind_them_and_networks_and_ranges_have_none() {
    let mut names = only(Span::Hour);
    names.learn(NAME, Version::V4, Ok(addresses(&["192.0.2.1"])));
    names.learn(NAME, Version::V6, Ok(addresses(&["2001:db8::1"])));
    let told = [
        ("22/tcp: 192.0.2.1 gains", "22/tcp: 192.0.2.1 (home.example.org) gains"),
        ("2001:db8::1, 192.0.2.2 lose", "2001:db8::1 (home.example.org), 192.0.2.2 lose"),
        ("192.0.2.1: is it", "192.0.2.1 (home.example.org): is it"),
        ("192.0.2.1", "192.0.2.1 (home.example.org)"),
        (
            "192.0.2.1/32 192.0.2.1-192.0.2.9 192.0.2.1x v192.0.2.1 ü",
            "192.0.2.1/32 192.0.2.1-192.0.2.9 192.0.2.1x v192.0.2.1 ü",
        ),
        ("", ""),
    ];
    for (text, named) in told {
        assert_eq!(names.beside_addresses(text), named);
    }
}
