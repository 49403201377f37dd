use super::*;
use crate::ruleset::{Chain, KeyType, Policy, Register, Rule, Set, SetFlags, SetSpec};
use proptest::prelude::*;

const HOUR: Duration = Duration::from_secs(3600);
/// 2026-11-27, 10:00 UTC.
const TEN: Duration = Duration::from_secs(1_795_773_600);

fn at(wall: Duration, since_start: Duration, boot: &str) -> Moment {
    Moment { wall, since_start, boot: boot.to_owned() }
}

fn begun() -> Moment {
    at(TEN, HOUR, "one")
}

fn entry(address: &str, time: Duration) -> Entry {
    Entry::new("owner", address.parse().unwrap(), time, &begun(), Some("alice".to_owned()))
}

#[test]
fn while_the_machine_runs_the_wall_clock_may_say_what_it_likes() {
    let entry = entry("198.51.100.20", 8 * HOUR);
    let day = 24 * HOUR;
    for wall in [TEN, TEN - day, TEN + day] {
        assert_eq!(entry.left(&at(wall, 2 * HOUR, "one")), Left::Time(7 * HOUR));
        assert_eq!(entry.left(&at(wall, 9 * HOUR, "one")), Left::Over);
    }
}

#[test]
fn after_a_reboot_the_wall_clock_counts_unless_it_is_before_the_begin() {
    let entry = entry("198.51.100.20", 8 * HOUR);
    let of = |wall| entry.left(&at(wall, Duration::from_secs(5), "two"));
    assert_eq!(of(TEN + HOUR), Left::Time(7 * HOUR));
    assert_eq!(of(TEN + 8 * HOUR), Left::Over);
    assert_eq!(of(TEN + 24 * HOUR), Left::Over);
    let unknown = Left::Unknown(8 * HOUR - Duration::from_secs(5));
    assert_eq!([of(TEN - Duration::from_secs(1)), of(Duration::ZERO)], [unknown, unknown]);
    // A clock of the day before does not let anybody in for longer than that.
    let late = |since_start| entry.left(&at(Duration::ZERO, since_start, "two"));
    assert_eq!([late(7 * HOUR), late(8 * HOUR)], [Left::Unknown(HOUR), Left::Over]);
    // Without /proc no boot is told from another.
    let unnamed = Entry { boot: String::new(), ..entry.clone() };
    assert_eq!(unnamed.left(&at(TEN + HOUR, Duration::ZERO, "")), Left::Time(7 * HOUR));
}

#[test]
fn a_lower_limit_cuts_and_a_group_that_takes_nobody_ends() {
    let entries: Entries = [entry("198.51.100.20", 8 * HOUR), entry("198.51.100.21", HOUR)].into_iter().collect();
    let limit = |hours| Limits::from([("owner".to_owned(), hours * HOUR)]);
    let times = |entries: &Entries| entries.iter().map(Entry::time).collect::<Vec<_>>();

    assert_eq!(entries.under(&limit(12)), entries);
    assert_eq!(times(&entries.under(&limit(2))), [2 * HOUR, HOUR]);
    assert_eq!(entries.under(&Limits::new()), Entries::default());
}

#[test]
fn a_table_holds_whoever_has_time_left_and_nobody_else() {
    let spec = |key| SetSpec::new(key, SetFlags::TIMEOUT);
    let filled = |key, elements: Vec<Element>| Set { spec: spec(key), elements: elements.into() };
    let plain = Set {
        spec: SetSpec::new(KeyType::IPV4_ADDR, SetFlags::INTERVAL),
        elements: vec![Element::single(&[192, 0, 2, 1])].into(),
    };
    let table = |v4, v6| Table {
        sets: [
            ("owner-v4".to_owned(), plain.clone()),
            ("owner.temporary-v4".to_owned(), filled(KeyType::IPV4_ADDR, v4)),
            ("owner.temporary-v6".to_owned(), filled(KeyType::IPV6_ADDR, v6)),
        ]
        .into(),
        ..Table::default()
    };
    let other = Entry { group: "elsewhere".to_owned(), ..entry("198.51.100.22", 8 * HOUR) };
    let entries = [
        entry("198.51.100.20", 8 * HOUR),
        entry("198.51.100.3", 2 * HOUR),
        entry("198.51.100.21", HOUR),
        entry("2001:db8::7", 2 * HOUR),
        other,
    ];
    let stranger = Element::single(&[203, 0, 113, 66]);

    let now = at(TEN, 2 * HOUR, "one");
    let with = with_entries(&table(vec![stranger], Vec::new()), &entries.into_iter().collect(), &now);

    let v4 =
        vec![Element::expiring(&[198, 51, 100, 3], 3_600_000), Element::expiring(&[198, 51, 100, 20], 7 * 3_600_000)];
    let v6 = "2001:db8::7".parse::<std::net::Ipv6Addr>().unwrap().octets();
    assert_eq!(with, table(v4, vec![Element::expiring(&v6, 3_600_000)]));
    let over = [entry("198.51.100.21", HOUR), entry("198.51.100.3", HOUR)];
    let before = with_those_of_before(&with, &over);
    let keys =
        |table: &Table| table.sets["owner.temporary-v4"].elements.bounds().map(|(key, _)| key[3]).collect::<Vec<_>>();
    assert_eq!((keys(&with), keys(&before)), (vec![3, 20], vec![3, 20, 21]));
    assert_eq!(with_those_of(&with.without_timed(), &with), with);
    assert_eq!(with_those_of(&with, &Table::default()), with.without_timed());
    assert_eq!(with.without_timed(), table(Vec::new(), Vec::new()));
    assert_eq!(with_entries(&with, &Entries::default(), &now).sets["owner.temporary-v4"].elements, Elements::none());
}

#[test]
fn whoever_is_blocked_stays_so_while_the_clock_is_wrong_and_whoever_is_let_in_waits() {
    let asks = Rule {
        exprs: vec![Expr::Lookup {
            set: SetRef::Named("attackers.temporary-v4".to_owned()),
            sreg: Register::ONE,
            dreg: None,
            inverted: false,
        }],
        comment: None,
    };
    let early = |hook| BaseChain {
        kind: "filter".to_owned(),
        hook,
        priority: -300,
        policy: Policy::Accept,
        devices: BTreeSet::new(),
    };
    let table = |hook| {
        let chain = Chain { base: Some(early(hook)), comment: None, rules: vec![asks.clone()] };
        let spec = SetSpec::new(KeyType::IPV4_ADDR, SetFlags::TIMEOUT);
        let sets = ["attackers", "owner"]
            .map(|group| (set_name(group, Version::V4), Set { spec: spec.clone(), elements: Elements::none() }));
        Table { chains: [("first".to_owned(), chain)].into(), sets: sets.into(), ..Table::default() }
    };
    let blocked = Entry { group: "attackers".to_owned(), ..entry("198.51.100.20", 8 * HOUR) };
    let entries: Entries = [blocked, entry("198.51.100.20", 8 * HOUR)].into_iter().collect();
    let wrong = at(TEN - HOUR, HOUR, "two");
    let held = |hook| {
        let with = with_entries(&table(hook), &entries, &wrong);
        ["attackers", "owner"].map(|group| with.sets[&set_name(group, Version::V4)].elements.clone())
    };

    let hours = 7 * 3_600_000;
    let for_seven: Elements = vec![Element::expiring(&[198, 51, 100, 20], hours)].into();
    assert_eq!(held(Hook::Prerouting), [for_seven, Elements::none()]);
    assert_eq!(held(Hook::Input), [Elements::none(), Elements::none()]);
}

#[test]
fn an_end_is_told_by_the_hour_and_on_another_day_with_the_date() {
    let of = |time| until(&entry("198.51.100.20", time), &begun(), false);
    assert_eq!(of(8 * HOUR + Duration::from_secs(1200)), "until 18:20 UTC (8h 20m left)");
    assert_eq!(of(30 * HOUR), "until 2026-11-28 16:00 UTC (1day 6h left)");
    assert_eq!(of(Duration::from_secs(90)), "until 10:01 UTC (1m 30s left)");
    let a_moment_later = at(TEN + Duration::from_millis(1), Duration::from_millis(1), "one");
    assert_eq!(until(&entry("198.51.100.20", 8 * HOUR), &a_moment_later, false), "until 18:00 UTC (8h left)");
    assert_eq!(until(&entry("198.51.100.20", HOUR), &at(TEN, 3 * HOUR, "one"), false), "over");
    let wrong = at(Duration::ZERO, Duration::ZERO, "two");
    assert_eq!(until(&entry("198.51.100.20", HOUR), &wrong, false), "waits for a clock that is right");
    assert_eq!(until(&entry("198.51.100.20", HOUR), &wrong, true), "for 1h at most, as the clock is wrong");
}

#[test]
fn an_entry_takes_the_place_of_the_one_of_its_address_and_a_full_group_takes_no_more() {
    let mut entries = Entries::default();
    for last in 0..MOST {
        let address = IpAddr::from(std::net::Ipv4Addr::from(0x0a00_0000 + last));
        assert!(entries.has_room("owner", Version::V4));
        entries.add(Entry::new("owner", address, HOUR, &begun(), None));
    }
    assert!(!entries.has_room("owner", Version::V4));
    assert!(entries.has_room("owner", Version::V6) && entries.has_room("other", Version::V4));
    entries.add(Entry::new("owner", "::ffff:10.0.0.7".parse().unwrap(), 2 * HOUR, &begun(), None));
    assert_eq!(entries.iter().count(), 1024);
    assert_eq!(entries.get("owner", "10.0.0.7".parse().unwrap()).map(Entry::time), Some(2 * HOUR));
    assert_eq!(entries.take(|entry| entry.time() == HOUR).len(), 1023);
    assert_eq!(entries.iter().count(), 1);
}

fn any_entry() -> impl Strategy<Value = Entry> {
    let address = prop_oneof![
        any::<u32>().prop_map(|bits| IpAddr::from(std::net::Ipv4Addr::from(bits))),
        any::<u128>().prop_map(|bits| IpAddr::from(std::net::Ipv6Addr::from(bits)).to_canonical()),
    ];
    ("[a-z]{1,3}", address, 0..u64::MAX / 2, 0..u64::MAX / 2, any::<u64>(), proptest::option::of(".*")).prop_map(
        |(group, address, begin, time, begin_ms, by)| Entry {
            group,
            address,
            begin,
            end: begin + time,
            boot: "one".to_owned(),
            begin_ms,
            by,
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn what_is_written_is_read_and_no_bytes_make_it_panic(
        entries in proptest::collection::vec(any_entry(), 0..20),
        bytes in any::<Vec<u8>>(),
        wall in any::<u64>(),
        since_start in any::<u64>(),
    ) {
        let entries: Entries = entries.into_iter().collect();
        let written = entries.to_json().unwrap();
        prop_assert_eq!(Entries::from_json(&written), Some(entries.clone()));
        let _ = Entries::from_json(&bytes);
        for boot in ["one", "two"] {
            let now = at(Duration::from_secs(wall), Duration::from_millis(since_start), boot);
            for entry in entries.iter() {
                let _ = (until(entry, &now, false), until(entry, &now, true));
            }
        }
    }
}
