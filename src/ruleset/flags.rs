//! Flags of tables.

/// `NFT_TABLE_F_*` flags.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TableFlags(pub u32);

impl TableFlags {
    /// The table's chains are attached to no hook. The only flag that can be changed in place.
    pub const DORMANT: Self = Self(0x1);
    /// Only the socket that created the table may change it.
    pub const OWNER: Self = Self(0x2);
    /// The table has an owner, and stays when the owner goes.
    pub const PERSIST: Self = Self(0x4);

    /// The flags and their names in nft.
    const NAMED: [(Self, &str); 3] = [(Self::DORMANT, "dormant"), (Self::OWNER, "owner"), (Self::PERSIST, "persist")];

    /// Whether no flag is set.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Whether all flags of `other` are set.
    #[must_use]
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// These flags without those of `other`.
    #[must_use]
    pub const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }
}

impl std::fmt::Display for TableFlags {
    /// The flags as nft writes them: `dormant,owner`.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let names = Self::NAMED.iter().filter(|(flag, _)| self.contains(*flag)).map(|(_, name)| (*name).to_owned());
        let unknown = Self::NAMED.iter().fold(*self, |rest, (flag, _)| rest.without(*flag));
        let unknown = (!unknown.is_empty()).then(|| format!("<unknown flags {:#x}>", unknown.0));
        f.write_str(&names.chain(unknown).collect::<Vec<_>>().join(","))
    }
}
