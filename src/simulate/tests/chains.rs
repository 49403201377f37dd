//! Verdicts, chains, tables and recorded steps.

use super::*;

#[test]
fn a_refusal_is_final_and_a_reset_of_what_is_not_tcp_is_silence() {
    let with = |reject| {
        let chains = vec![
            ("first", base(Hook::Input, 0, Policy::Accept, &[rule(&[Expr::Reject(reject)])])),
            ("second", base(Hook::Input, 1, Policy::Accept, &[rule(&[says(Says::Drop)])])),
        ];
        table(chains)
    };
    let udp = Packet { transport: Transport::udp(22), ..ssh() };

    assert_eq!(verdict(&with(Reject::TcpReset), &ssh()), Verdict::Reject);
    assert_eq!(verdict(&with(Reject::TcpReset), &udp), Verdict::Deny);
    assert_eq!(verdict(&with(Reject::Icmpx(IcmpxCode::AdminProhibited)), &udp), Verdict::Reject);
}

#[test]
fn a_jump_comes_back_and_a_goto_does_not() {
    let all = |first: Expr| {
        let rules = [rule(&[first]), rule(&[says(Says::Drop)])];
        let inner = [rule(&[goto("empty")]), rule(&[says(Says::Drop)])];
        table(vec![
            ("base", base(Hook::Input, 0, Policy::Accept, &[rule(&[jump("calls")])])),
            ("calls", chain(&rules)),
            ("empty", chain(&[])),
            ("goes", chain(&inner)),
            ("returns", chain(&[rule(&[says(Says::Return)]), rule(&[says(Says::Accept)])])),
        ])
    };

    assert_eq!(verdict(&all(jump("empty")), &ssh()), Verdict::Deny);
    assert_eq!(verdict(&all(goto("empty")), &ssh()), Verdict::Allow);
    assert_eq!(verdict(&all(jump("goes")), &ssh()), Verdict::Deny);
    assert_eq!(verdict(&all(goto("goes")), &ssh()), Verdict::Allow);
    assert_eq!(verdict(&all(jump("returns")), &ssh()), Verdict::Deny);
    assert_eq!(verdict(&all(says(Says::Return)), &ssh()), Verdict::Allow);
}

#[test]
fn an_accept_ends_its_base_chain_and_a_drop_the_packet() {
    let two = |first: Says, second: Policy| {
        table(vec![
            ("z-first", base(Hook::Input, -1, Policy::Accept, &[rule(&[says(first)])])),
            ("a-second", base(Hook::Input, 0, second, &[])),
        ])
    };

    assert_eq!(verdict(&two(Says::Accept, Policy::Accept), &ssh()), Verdict::Allow);
    assert_eq!(verdict(&two(Says::Accept, Policy::Drop), &ssh()), Verdict::Deny);
    assert_eq!(verdict(&two(Says::Drop, Policy::Accept), &ssh()), Verdict::Deny);
    let refused = table(vec![
        ("z-first", base(Hook::Input, -1, Policy::Drop, &[])),
        ("a-second", base(Hook::Input, 0, Policy::Accept, &[rule(&[Expr::Reject(Reject::TcpReset)])])),
    ]);
    assert_eq!(verdict(&refused, &ssh()), Verdict::Deny);
    assert_eq!(verdict(&Table { flags: crate::ruleset::TableFlags::DORMANT, ..refused }, &ssh()), Verdict::Allow);
}

#[test]
fn tables_of_another_family_do_not_see_the_packet() {
    let drops = table(vec![("base", base(Hook::Input, 0, Policy::Drop, &[]))]);
    let of = |family| {
        let id = TableId { family, name: "t".to_owned() };
        simulate_ruleset(&Ruleset { tables: BTreeMap::from([(id, drops.clone())]) }, &ssh()).verdict
    };

    assert_eq!(of(Family::Ip), Verdict::Deny);
    assert_eq!(of(Family::Ip6), Verdict::Allow);
    assert_eq!(of(Family::Bridge), Verdict::Allow);
}

#[test]
fn what_is_not_understood_is_never_guessed() {
    let with = |first: &[Expr], then: &[Rule], policy| {
        table(vec![("base", base(Hook::Input, 0, policy, &[&[rule(first)], then].concat()))])
    };
    let drops = [rule(&[says(Says::Drop)])];
    let quota = |verdict| [unknown("quota"), says(verdict)];

    assert_eq!(verdict(&with(&quota(Says::Accept), &drops, Policy::Accept), &ssh()), Verdict::Unknown);
    // Both ways lead to the same verdict.
    assert_eq!(verdict(&with(&quota(Says::Drop), &drops, Policy::Accept), &ssh()), Verdict::Deny);
    assert_eq!(verdict(&with(&quota(Says::Accept), &[], Policy::Accept), &ssh()), Verdict::Allow);
    // A rule with a test that surely fails does not match, whatever else it tests.
    let never = [unknown("quota"), dport(), is(&[0, 23]), says(Says::Accept)];
    assert_eq!(verdict(&with(&never, &drops, Policy::Accept), &ssh()), Verdict::Deny);
    // This one may have any verdict.
    assert_eq!(verdict(&with(&[unknown("target")], &drops, Policy::Drop), &ssh()), Verdict::Unknown);
    assert_eq!(verdict(&with(&[says(Says::Other(3))], &drops, Policy::Drop), &ssh()), Verdict::Unknown);
    assert_eq!(verdict(&with(&[jump("nowhere")], &drops, Policy::Drop), &ssh()), Verdict::Unknown);
    // It reads a register that no expression has loaded.
    assert_eq!(verdict(&with(&[is(&[0, 22]), says(Says::Accept)], &drops, Policy::Drop), &ssh()), Verdict::Unknown);
}

#[test]
fn chains_that_call_each_other_in_a_circle_or_too_deep_come_to_no_verdict() {
    let circle = table(vec![
        ("a", chain(&[rule(&[jump("b")])])),
        ("b", chain(&[rule(&[goto("a")])])),
        ("base", base(Hook::Input, 0, Policy::Drop, &[rule(&[jump("a")])])),
    ]);
    let deep = |depth: usize| {
        let names: Vec<String> = (0..=depth).map(|number| format!("c{number:02}")).collect();
        let mut chains: Vec<(&str, Chain)> = names
            .iter()
            .zip(names.iter().skip(1))
            .map(|(name, next)| (name.as_str(), chain(&[rule(&[jump(next)])])))
            .collect();
        chains.push((&names[depth], chain(&[rule(&[says(Says::Accept)])])));
        chains.push(("base", base(Hook::Input, 0, Policy::Drop, &[rule(&[jump("c00")])])));
        verdict(&table(chains), &ssh())
    };

    assert_eq!(verdict(&circle, &ssh()), Verdict::Unknown);
    assert_eq!(deep(14), Verdict::Allow);
    assert_eq!(deep(15), Verdict::Unknown);
    assert_eq!(deep(5_000), Verdict::Unknown);
}

#[test]
fn chains_that_call_each_other_twice_cost_no_more_than_their_rules() {
    let names: Vec<String> = (0..15).map(|number| format!("c{number:02}")).collect();
    let mut chains: Vec<(&str, Chain)> = names
        .iter()
        .zip(names.iter().skip(1))
        .map(|(name, next)| (name.as_str(), chain(&vec![rule(&[jump(next)]); 100])))
        .collect();
    chains.push((&names[14], chain(&[])));
    chains.push(("base", base(Hook::Input, 0, Policy::Drop, &[rule(&[jump("c00")])])));

    // Following every call would take 100 to the power of 14 steps.
    assert_eq!(verdict(&table(chains), &ssh()), Verdict::Deny);
}

#[test]
fn the_steps_are_the_rules_that_match_with_what_they_do() {
    let mut accepts = rule(&[meta(MetaKey::L4proto), is(&[6]), dport(), is(&[0, 22]), says(Says::Accept)]);
    accepts.comment = Some("ssh (policy.yaml:3)".to_owned());
    let table = table(vec![
        (
            "base",
            base(
                Hook::Input,
                0,
                Policy::Drop,
                &[rule(&[meta(MetaKey::Iifname), is_not_lo()]), rule(&[jump("service")])],
            ),
        ),
        ("service", chain(&[rule(&[says(Says::Continue), dport(), is(&[0, 23]), says(Says::Drop)]), accepts])),
    ]);
    let id = TableId::palisade();

    let lines = |packet: &Packet| -> Vec<String> {
        let trace = simulate_table(&id, &table, packet);
        let line = |step: &Step<'_>| {
            let index = step.rule.map(|(index, _)| index);
            format!("{} {} {index:?} `{}` {:?} {:?}", step.hook, step.chain, step.text(), step.effect, step.comment())
        };
        trace.steps.iter().map(line).collect()
    };

    assert_eq!(
        lines(&ssh()),
        [
            "input base Some(0) `iifname != \"lo\"` Continue None",
            "input base Some(1) `jump service` Jump(\"service\") None",
            "input service Some(1) `tcp dport 22 accept` Accept Some(\"ssh (policy.yaml:3)\")",
        ]
    );
    assert_eq!(
        lines(&Packet { transport: Transport::tcp(24), ..ssh() })[1..],
        ["input base Some(1) `jump service` Jump(\"service\") None", "input base None `policy drop` Drop None"]
    );
    let somewhere = Packet { incoming: Interface::Unknown, ..ssh() };
    let trace = simulate_table(&id, &table, &somewhere);
    assert_eq!(trace.steps[0].doubt.as_deref(), Some("the incoming interface is not known"));
    assert!(trace.steps.iter().all(|step| step.certain));
    assert_eq!((trace.verdict, trace.doubt()), (Verdict::Allow, None));
}

#[test]
fn of_a_set_that_the_packet_has_changed_itself_its_own_key_is_known_and_nothing_else() {
    let add = Expr::Dynset { set: "seen".to_owned(), op: DynsetOp::Add, sreg_key: R, timeout_ms: 0, exprs: vec![] };
    let asks = Expr::Lookup { set: SetRef::Named("seen".to_owned()), sreg: R, dreg: None, inverted: false };
    let spec = SetSpec::new(KeyType::INET_SERVICE, SetFlags::DYNAMIC);
    let with = |rules: &[Rule]| Table {
        sets: BTreeMap::from([("seen".to_owned(), Set { spec: spec.clone(), elements: Vec::new().into() })]),
        ..table(vec![
            ("base", base(Hook::Input, 0, Policy::Accept, rules)),
            ("asks", chain(&[rule(&[dport(), asks.clone(), says(Says::Drop)])])),
        ])
    };
    let (asks, adds) = (rule(&[jump("asks")]), rule(&[dport(), add.clone()]));
    let sport = Expr::Payload { base: PayloadBase::Transport, offset: 0, len: 2, dreg: R };
    let adds_another = rule(&[sport, add]);

    assert_eq!(verdict(&with(&[asks.clone(), adds.clone()]), &ssh()), Verdict::Allow);
    assert_eq!(verdict(&with(&[adds.clone(), asks.clone()]), &ssh()), Verdict::Deny);
    assert_eq!(verdict(&with(&[asks.clone(), adds.clone(), asks.clone()]), &ssh()), Verdict::Deny);
    assert_eq!(verdict(&with(&[adds_another.clone(), asks.clone()]), &ssh()), Verdict::Unknown);
    assert_eq!(verdict(&with(&[adds, adds_another, asks]), &ssh()), Verdict::Unknown);
}
