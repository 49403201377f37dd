//! What can't be encoded for netlink, and the checks for it.

use crate::netlink::wire::uapi;
use crate::netlink::wire::write::put_udata;
use crate::ruleset::{Family, MAX_COMMENT, Set};
use std::ffi::CString;

/// The longest name, without its closing zero (`NFT_NAME_MAXLEN`).
const MAX_NAME: usize = 255;
/// `NFT_RULE_MAXEXPRS`. It also bounds a rule's message: 128 expressions of at most 350 bytes take less than
/// [`nftnl::nft_nlmsg_maxsize`] bytes.
pub(in crate::netlink) const MAX_EXPRS: usize = 128;

/// Why an operation can't be encoded.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("operation {op} can't be written to netlink: {problem}")]
pub struct EncodeError {
    /// The operation's index in the transaction.
    pub op: usize,
    /// What is wrong with it.
    pub problem: Problem,
}

/// What is wrong with an operation.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// It holds something that was read but not understood.
    #[error("{0} of a form that this version does not know")]
    Unknown(String),
    /// A name is empty, has a zero byte, or is longer than 255 bytes.
    #[error("`{0}` is not a valid name: 1 to {MAX_NAME} bytes, none of them zero")]
    Name(String),
    /// A comment has a zero byte or is longer than 125 bytes.
    #[error("`{0}` is not a valid comment: at most {MAX_COMMENT} bytes, none of them zero")]
    Comment(String),
    /// A log prefix is longer than 127 bytes.
    #[error("a log prefix of {0} bytes, where 127 are the most")]
    LogPrefix(usize),
    /// Data is empty, longer than a register, or of two lengths that should be equal.
    #[error("data of {0} bytes does not fit a register")]
    DataLength(usize),
    /// An element does not fit the type of its set.
    #[error("an element does not fit the type of its set")]
    Element,
    /// A rule has more expressions than the kernel takes.
    #[error("a rule of {0} expressions, where {MAX_EXPRS} are the most")]
    TooManyExpressions(usize),
    /// The rule is not in the snapshot of the handles.
    #[error("chain `{chain}` has no rule {index}")]
    NoSuchRule {
        /// The chain.
        chain: String,
        /// The requested index.
        index: usize,
    },
    /// This version can't write a base chain of that type or hook, or with those devices.
    #[error("base chains of that {0} are not written by this version")]
    BaseChain(&'static str),
    /// This version can't write tables of that family.
    #[error("this version can't write the family {0}")]
    Family(Family),
}

/// The name that an anonymous set is sent with; the kernel replaces it with the first free number.
pub(in crate::netlink) fn anonymous_name(set: &Set) -> &'static str {
    if set.spec.value.is_some() { "__map%d" } else { "__set%d" }
}

/// Whether the kernel accepts it as a name.
pub(in crate::netlink) fn is_name(name: &str) -> bool {
    (1..=MAX_NAME).contains(&name.len()) && !name.contains('\0')
}

/// A name in libnftnl's form.
pub(in crate::netlink) fn c_string(name: &str) -> Result<CString, Problem> {
    if is_name(name) {
        CString::new(name).map_err(|_| Problem::Name(name.to_owned()))
    } else {
        Err(Problem::Name(name.to_owned()))
    }
}

pub(in crate::netlink) fn check_comment(comment: &str) -> Result<(), Problem> {
    if comment.len() > MAX_COMMENT || comment.contains('\0') {
        return Err(Problem::Comment(comment.to_owned()));
    }
    Ok(())
}

/// A comment with its closing zero.
pub(in crate::netlink) fn comment_bytes(comment: &str) -> Result<Vec<u8>, Problem> {
    check_comment(comment)?;
    Ok([comment.as_bytes(), &[0]].concat())
}

/// The userdata of a table or chain that has a comment.
pub(in crate::netlink) fn comment_userdata(comment: &str) -> Result<Vec<u8>, Problem> {
    let mut userdata = Vec::with_capacity(comment.len() + 3);
    put_udata(&mut userdata, uapi::udata::COMMENT, &comment_bytes(comment)?);
    Ok(userdata)
}
