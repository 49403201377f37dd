//! What firewalld has beside zones: policies between them, and rules for iptables.

use super::xml::{Fault, elements, read, words};
use super::zone::{Act, Subject, rich};
use crate::migrate::report::{Entry, Fate, Report};
use crate::printable::printable;

/// Reports a policy. `Err` is what firewalld could not read.
pub(super) fn policy(name: &str, file: &str, is_shipped: bool, text: &str, report: &mut Report) -> Result<(), Fault> {
    let entry = read(text, "policy", |root, lines| {
        let target = root.attribute("target").unwrap_or("CONTINUE");
        let named = |wanted: &str| {
            let zones = elements(root).filter(|node| node.has_tag_name(wanted));
            zones.filter_map(|node| node.attribute("name")).collect::<Vec<&str>>()
        };
        let (ingress, egress) = (named("ingress-zone"), named("egress-zone"));
        let (mut denies, mut only_icmp) = (["REJECT", "DROP"].contains(&target), target == "CONTINUE");
        for node in elements(root) {
            match node.tag_name().name() {
                "rule" => match rich(node, lines)? {
                    Ok(rule) => {
                        denies |= matches!(rule.act, Some(Act::Reject | Act::Drop));
                        only_icmp &= rule.act == Some(Act::Accept) && matches!(rule.subject, Subject::IcmpType(_));
                    }
                    Err(_) => only_icmp = false,
                },
                "short" | "description" | "ingress-zone" | "egress-zone" => {}
                _ => only_icmp = false,
            }
        }
        let is_off = elements(root).any(|node| node.has_tag_name("disable"));
        let rule =
            format!("policy {}: from {} to {}, target {}", name, ingress.join(", "), egress.join(", "), target);
        let (fate, mut why) = if is_off {
            (Fate::NoEffect, vec!["it is disabled".to_owned()])
        } else if only_icmp {
            (Fate::NoEffect, vec!["neighbour discovery is always let in".to_owned()])
        } else if name == "docker-forwarding" && !denies {
            let why = "who may reach a published port stands in `services`; containers reach each other as Docker lets them";
            (Fate::Tighter, vec![why.to_owned()])
        } else {
            let section = match (ingress.contains(&"HOST"), egress.contains(&"HOST")) {
                (true, _) => "`outgoing`",
                (_, true) => "`services`",
                (false, false) => "`forward`",
            };
            (Fate::NotTranslated, vec![format!("write what it is for into {section}")])
        };
        if fate == Fate::NotTranslated && denies && !ingress.is_empty() {
            why.push("the policy is more open by it, where it denies what is let in otherwise".to_owned());
        }
        let is_silent = is_shipped && fate == Fate::NoEffect;
        let places = vec![format!("{file}:{}", lines.of_node(root))];
        Ok((!is_silent).then(|| Entry { fate, rule: printable(&rule).to_string(), places, why }))
    })?;
    report.rules.extend(entry);
    Ok(())
}

/// Reports the rules of `direct.xml`.
pub(super) fn direct(file: &str, text: &str, report: &mut Report) -> Result<(), Fault> {
    let entries = read(text, "direct", |root, lines| {
        let mut entries = Vec::new();
        for node in elements(root) {
            let text = node.text().unwrap_or_default().split_whitespace().collect::<Vec<_>>().join(" ");
            let rule = format!("{} {}", words(node), printable(&text));
            let mut why = vec!["a rule for iptables: it goes on only while something else loads it".to_owned()];
            if ["-j DROP", "-j REJECT", "--jump DROP", "--jump REJECT"].iter().any(|verdict| text.contains(verdict)) {
                why.push("the policy is more open by it: it does not deny what this line denies".to_owned());
            }
            let places = vec![format!("{file}:{}", lines.of_node(node))];
            entries.push(Entry { fate: Fate::NotTranslated, rule: rule.trim_end().to_owned(), places, why });
        }
        Ok(entries)
    })?;
    report.rules.extend(entries);
    Ok(())
}
