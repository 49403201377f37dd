//! Where in a header a field lies: one row a field. RFC 791, RFC 8200, RFC 9293, RFC 768, RFC 792, RFC 4443.

use super::Version;

/// The place of a field: bytes from the start of its header, and how many it has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Bytes from the start of the header.
    pub offset: u32,
    /// How many bytes.
    pub len: u32,
}

impl Place {
    /// The first byte behind it.
    #[must_use]
    pub const fn end(self) -> u32 {
        self.offset + self.len
    }

    /// Whether it shares a byte with `len` bytes from `offset` on.
    #[must_use]
    pub const fn overlaps(self, offset: u32, len: u32) -> bool {
        offset < self.end() && self.offset < offset.saturating_add(len)
    }

    /// Whether these bytes are the field, or its first.
    #[must_use]
    pub const fn begins(self, offset: u32, len: u32) -> bool {
        offset == self.offset && len > 0 && len <= self.len
    }
}

macro_rules! header {
    ($(#[$doc:meta])* $module:ident: $($(#[$of_field:meta])* $field:ident = $offset:literal, $len:literal;)*) => {
        $(#[$doc])*
        pub mod $module {
            use super::Place;
            $($(#[$of_field])* pub const $field: Place = Place { offset: $offset, len: $len };)*
        }
    };
}

header! {
    /// IPv4, without options.
    ipv4:
    /// The packet's length.
    LENGTH = 2, 2;
    /// The identification.
    ID = 4, 2;
    /// The hop limit, called time to live.
    HOP_LIMIT = 8, 1;
    /// The protocol of what follows.
    PROTOCOL = 9, 1;
    /// The source address.
    SOURCE = 12, 4;
    /// The destination address.
    DESTINATION = 16, 4;
}

header! {
    /// IPv6, without extension headers.
    ipv6:
    /// The length of what follows.
    LENGTH = 4, 2;
    /// The protocol of what follows, or the first extension header.
    PROTOCOL = 6, 1;
    /// The hop limit.
    HOP_LIMIT = 7, 1;
    /// The source address.
    SOURCE = 8, 16;
    /// The destination address.
    DESTINATION = 24, 16;
}

header! {
    /// The protocols whose header begins with ports: TCP, UDP, SCTP, DCCP, UDP-Lite.
    ports:
    /// The source port.
    SOURCE = 0, 2;
    /// The destination port.
    DESTINATION = 2, 2;
    /// Both.
    BOTH = 0, 4;
}

header! {
    /// TCP.
    tcp:
    /// The flags.
    FLAGS = 13, 1;
}

header! {
    /// SCTP.
    sctp:
    /// The type of the first chunk.
    CHUNK_TYPE = 12, 1;
}

header! {
    /// ICMP and ICMPv6.
    icmp:
    /// The type.
    TYPE = 0, 1;
    /// The code.
    CODE = 1, 1;
}

impl Version {
    /// Where the source address lies in the network header.
    #[must_use]
    pub const fn source(self) -> Place {
        match self {
            Self::V4 => ipv4::SOURCE,
            Self::V6 => ipv6::SOURCE,
        }
    }

    /// Where the destination address lies in the network header.
    #[must_use]
    pub const fn destination(self) -> Place {
        match self {
            Self::V4 => ipv4::DESTINATION,
            Self::V6 => ipv6::DESTINATION,
        }
    }

    /// Where the number of the transport protocol lies in the network header.
    #[must_use]
    pub const fn protocol(self) -> Place {
        match self {
            Self::V4 => ipv4::PROTOCOL,
            Self::V6 => ipv6::PROTOCOL,
        }
    }

    /// Where the hop limit lies in the network header.
    #[must_use]
    pub const fn hop_limit(self) -> Place {
        match self {
            Self::V4 => ipv4::HOP_LIMIT,
            Self::V6 => ipv6::HOP_LIMIT,
        }
    }
}
