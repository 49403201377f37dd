//! Flags of tables.

/// `NFT_TABLE_F_*` flags.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TableFlags(pub u32);

impl TableFlags {
    /// Its chains are attached to no hook. The one flag that can be changed in place.
    pub const DORMANT: Self = Self(0x1);
    /// Only the socket that made the table may change it.
    pub const OWNER: Self = Self(0x2);
    /// A table of an owner that stays when the owner goes.
    pub const PERSIST: Self = Self(0x4);

    /// Each with nft's name for it.
    const NAMED: [(Self, &str); 3] = [(Self::DORMANT, "dormant"), (Self::OWNER, "owner"), (Self::PERSIST, "persist")];

    /// Whether none is set.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Whether all of `other` are set.
    #[must_use]
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Without those of `other`.
    #[must_use]
    pub const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }
}

impl std::fmt::Display for TableFlags {
    /// As nft writes them: `dormant,owner`.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let names = Self::NAMED.iter().filter(|(flag, _)| self.contains(*flag)).map(|(_, name)| (*name).to_owned());
        let unknown = Self::NAMED.iter().fold(*self, |rest, (flag, _)| rest.without(*flag));
        let unknown = (!unknown.is_empty()).then(|| format!("<unknown flags {:#x}>", unknown.0));
        f.write_str(&names.chain(unknown).collect::<Vec<_>>().join(","))
    }
}
