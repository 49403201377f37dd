//! The places of header fields, one row per field. RFC 791, RFC 8200, RFC 9293, RFC 768, RFC 792, RFC 4443.

use super::Version;

/// The place of a field in its header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Bytes from the start of the header.
    pub offset: u32,
    /// The length in bytes.
    pub len: u32,
}

impl Place {
    /// The offset of the first byte after the field.
    #[must_use]
    pub const fn end(self) -> u32 {
        self.offset + self.len
    }

    /// Whether the field shares a byte with the `len` bytes from `offset` on.
    #[must_use]
    pub const fn overlaps(self, offset: u32, len: u32) -> bool {
        offset < self.end() && self.offset < offset.saturating_add(len)
    }

    /// Whether these bytes are the field or its leading bytes.
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
    /// The version, and the header's length in words of 4 bytes: four bits each.
    VERSION_AND_LENGTH = 0, 1;
    /// The packet's length.
    LENGTH = 2, 2;
    /// The identification.
    ID = 4, 2;
    /// Three flags, then the offset of the fragment.
    FRAGMENT = 6, 2;
    /// The hop limit, called time to live.
    HOP_LIMIT = 8, 1;
    /// The protocol of the payload.
    PROTOCOL = 9, 1;
    /// The source address.
    SOURCE = 12, 4;
    /// The destination address.
    DESTINATION = 16, 4;
}

header! {
    /// IPv6, without extension headers.
    ipv6:
    /// The version in the first four bits, then a part of the traffic class.
    VERSION = 0, 1;
    /// The length of everything after the header.
    LENGTH = 4, 2;
    /// The protocol of the payload, or the type of the first extension header.
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
    /// Both ports.
    BOTH = 0, 4;
}

header! {
    /// UDP.
    udp:
    /// The whole header.
    HEADER = 0, 8;
}

header! {
    /// TCP.
    tcp:
    /// The whole header, without options.
    HEADER = 0, 20;
    /// The flags.
    FLAGS = 13, 1;
}

header! {
    /// SCTP.
    sctp:
    /// The common header, before the chunks.
    HEADER = 0, 12;
    /// The type of the first chunk.
    CHUNK_TYPE = 12, 1;
}

header! {
    /// ICMP and ICMPv6.
    icmp:
    /// The header that all types have.
    HEADER = 0, 8;
    /// The type.
    TYPE = 0, 1;
    /// The code.
    CODE = 1, 1;
}

impl Version {
    /// The place of the source address in the network header.
    #[must_use]
    pub const fn source(self) -> Place {
        match self {
            Self::V4 => ipv4::SOURCE,
            Self::V6 => ipv6::SOURCE,
        }
    }

    /// The place of the destination address in the network header.
    #[must_use]
    pub const fn destination(self) -> Place {
        match self {
            Self::V4 => ipv4::DESTINATION,
            Self::V6 => ipv6::DESTINATION,
        }
    }

    /// The place of the transport protocol's number in the network header.
    #[must_use]
    pub const fn protocol(self) -> Place {
        match self {
            Self::V4 => ipv4::PROTOCOL,
            Self::V6 => ipv6::PROTOCOL,
        }
    }

    /// The place of the hop limit in the network header.
    #[must_use]
    pub const fn hop_limit(self) -> Place {
        match self {
            Self::V4 => ipv4::HOP_LIMIT,
            Self::V6 => ipv6::HOP_LIMIT,
        }
    }
}
