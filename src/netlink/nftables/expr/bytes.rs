//! For the tests beside each expression: its bytes as the kernel takes and dumps them, on little-endian machines.
//!
//! Numbers are those of `include/uapi/linux/netfilter/nf_tables.h` and `nf_tables_compat.h`. The first line is
//! `NFTA_EXPR_NAME`, the second the header of `NFTA_EXPR_DATA`; then each line is one attribute, which begins with its
//! length and its number.

use super::decode;
use crate::netlink::encode;
use crate::netlink::nftables::handles::Handles;
use crate::netlink::wire::attr::{Attributes, Fields, Messages};
use crate::netlink::wire::uapi::{self, msg};
use crate::ruleset::{Expr, Foreign, Op, Rule, TableId, Transaction};

/// Checks that palisade writes an expression as these bytes, and reads them as this expression.
#[track_caller]
pub(super) fn both_ways(expr: &Expr, bytes: &str) {
    let rule = Rule { exprs: vec![expr.clone()], comment: None };
    let ops = vec![Op::AddRule { chain: "c".to_owned(), rule, before: None }];
    let batch = encode(&Transaction { table: TableId::palisade(), ops }, &Handles::default(), 7).unwrap();
    let rule = Messages::new(batch.as_bytes()).find(|message| message.kind.to_le_bytes()[0] == msg::NEWRULE).unwrap();
    let fields = Fields::<{ uapi::rule::END }>::read(rule.attributes().unwrap()).unwrap();
    let list = fields.get(uapi::rule::EXPRESSIONS).unwrap();
    let (_, written) = Attributes::new(list).next().unwrap().unwrap();
    assert_eq!(spelled(written), spelled(&parsed(bytes)));
    assert_eq!(decode(&parsed(bytes)), *expr);
}

/// Checks that palisade reads these bytes as an expression that it never writes.
#[track_caller]
pub(super) fn read_as(bytes: &str, expected: Foreign) {
    assert_eq!(decode(&parsed(bytes)), Expr::Foreign(expected));
}

fn parsed(text: &str) -> Vec<u8> {
    let digits: Vec<u32> = text.chars().filter_map(|digit| digit.to_digit(16)).collect();
    digits.chunks(2).map(|pair| u8::try_from(pair[0] << 4 | pair[1]).unwrap()).collect()
}

/// One line per attribute, in groups of four bytes.
fn spelled(bytes: &[u8]) -> String {
    let line = |bytes: &[u8]| {
        let words: Vec<String> =
            bytes.chunks(4).map(|word| word.iter().map(|b| format!("{b:02x}")).collect()).collect();
        words.join(" ")
    };
    let mut lines = Vec::new();
    let mut rest = bytes;
    while let Some(&[low, high, kind, ..]) = rest.first_chunk::<4>() {
        let len = usize::from(u16::from_le_bytes([low, high])).next_multiple_of(4).clamp(4, rest.len());
        let is_data = lines.len() == 1 && u16::from(kind) == uapi::expr::DATA;
        let (attribute, behind) = rest.split_at(if is_data { 4 } else { len });
        lines.push(line(attribute));
        rest = behind;
    }
    lines.join("\n")
}
