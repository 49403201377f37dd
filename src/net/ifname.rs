//! Names of interfaces.

/// How many bytes the kernel keeps of a name (`IFNAMSIZ`), including the terminating zero.
const SIZE: usize = 16;

/// An interface's name as in registers: 16 bytes, zero-padded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct IfName([u8; SIZE]);

impl IfName {
    /// The longest name in bytes.
    pub const MAX_LEN: usize = SIZE - 1;
    /// The loopback interface.
    pub const LOOPBACK: Self = Self(*b"lo\0\0\0\0\0\0\0\0\0\0\0\0\0\0");

    /// Makes a name; cuts it off after 16 bytes.
    #[must_use]
    pub fn new(name: &str) -> Self {
        Self::filled(name, 0)
    }

    /// The last name, in byte order, with this beginning.
    #[must_use]
    pub fn last_beginning_with(begin: &str) -> Self {
        Self::filled(begin, u8::MAX)
    }

    /// The bytes.
    #[must_use]
    pub const fn bytes(&self) -> &[u8; SIZE] {
        &self.0
    }

    /// The text of a name's leading bytes, up to the first zero.
    #[must_use]
    pub fn text(bytes: &[u8]) -> String {
        let name = bytes.split(|byte| *byte == 0).next().unwrap_or_default();
        String::from_utf8_lossy(name).into_owned()
    }

    fn filled(name: &str, fill: u8) -> Self {
        let mut bytes = [fill; SIZE];
        for (to, from) in bytes.iter_mut().zip(name.bytes()) {
            *to = from;
        }
        Self(bytes)
    }
}

/// An interface by name, or all interfaces whose names have the same beginning.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct IfPattern {
    /// The name, or the beginning of the names: 1 to 15 bytes.
    pub name: String,
    /// Whether a `*` follows.
    pub wildcard: bool,
}

impl IfPattern {
    /// Whether the pattern matches an interface with that name.
    #[must_use]
    pub fn covers(&self, name: &str) -> bool {
        if self.wildcard { name.starts_with(&self.name) } else { name == self.name }
    }

    /// Whether this pattern matches every interface that the other one matches.
    #[must_use]
    pub fn covers_all_of(&self, other: &Self) -> bool {
        self.covers(&other.name) && (self.wildcard || !other.wildcard)
    }

    /// Whether an interface may match both patterns.
    #[must_use]
    pub fn meets(&self, other: &Self) -> bool {
        self.covers(&other.name) || other.covers(&self.name)
    }
}

impl std::fmt::Display for IfPattern {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}{}", self.name, if self.wildcard { "*" } else { "" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_fills_sixteen_bytes_and_is_read_up_to_its_zero() {
        assert_eq!(IfName::new("lo"), IfName::LOOPBACK);
        assert_eq!(
            IfName::last_beginning_with("br-").bytes(),
            b"br-\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"
        );
        assert_eq!(IfName::text(IfName::new("wg0").bytes()), "wg0");
        assert_eq!(IfName::text(b"br-"), "br-");
        assert_eq!(IfName::new("a-name-longer-than-any").bytes(), b"a-name-longer-th");
    }

    #[test]
    fn a_pattern_covers_its_name_or_all_that_begin_so() {
        let covers = |wildcard| {
            let pattern = IfPattern { name: "br-".to_owned(), wildcard };
            ["br-", "br-1", "br", "eth0"].map(|name| pattern.covers(name))
        };
        assert_eq!(covers(true), [true, true, false, false]);
        assert_eq!(covers(false), [true, false, false, false]);
    }

    #[test]
    fn two_patterns_meet_if_an_interface_may_match_both() {
        let pattern = |name: &str, wildcard| IfPattern { name: name.to_owned(), wildcard };
        let (bridges, one, eth) = (pattern("br-", true), pattern("br-app", false), pattern("eth0", false));
        assert_eq!([bridges.meets(&one), one.meets(&bridges), one.meets(&eth)], [true, true, false]);
        assert_eq!([bridges.covers_all_of(&one), one.covers_all_of(&bridges)], [true, false]);
        assert!(!pattern("br-app", false).covers_all_of(&pattern("br-app", true)));
    }
}
