//! The keys of `meta` and `ct`, with their numbers and the number of bytes that each loads.
//!
//! Numbers are those of `include/uapi/linux/netfilter/nf_tables.h`, lengths those of `nft_meta_get_init` and
//! `nft_ct_get_init`.

/// An enum of keys: one row per key, with its number and its length in bytes.
macro_rules! keys {
    ($(#[$of_enum:meta])* $name:ident, $prefix:literal: $($(#[$of_key:meta])* $key:ident = $number:literal, $len:literal;)*) => {
        $(#[$of_enum])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name {
            $($(#[$of_key])* $key,)*
            /// A key that this version does not know, by number.
            Other(u32),
        }

        impl $name {
            #[doc = concat!("The `", $prefix, "` number.")]
            #[must_use]
            pub const fn number(self) -> u32 {
                match self {
                    $(Self::$key => $number,)*
                    Self::Other(number) => number,
                }
            }

            #[doc = concat!("The key of a `", $prefix, "` number.")]
            #[must_use]
            pub const fn from_number(number: u32) -> Self {
                match number {
                    $($number => Self::$key,)*
                    other => Self::Other(other),
                }
            }

            /// How many bytes the key fills in its register. For an unknown key, the most that any key fills.
            #[must_use]
            pub const fn width(self) -> u32 {
                match self {
                    $(Self::$key => $len,)*
                    Self::Other(_) => 16,
                }
            }
        }
    };
}

keys! {
    /// `NFT_META_*` keys.
    MetaKey, "NFT_META_*":
    /// The packet's length.
    Len = 0, 4;
    /// The Ethernet type, in network order.
    Protocol = 1, 2;
    /// The priority for traffic control.
    Priority = 2, 4;
    /// The packet's mark, in host order.
    Mark = 3, 4;
    /// Index of the incoming interface, in host order.
    Iif = 4, 4;
    /// Index of the outgoing interface, in host order.
    Oif = 5, 4;
    /// Name of the incoming interface, zero-padded.
    Iifname = 6, 16;
    /// Name of the outgoing interface, zero-padded.
    Oifname = 7, 16;
    /// `ARPHRD_*` of the incoming interface.
    IifType = 8, 2;
    /// `ARPHRD_*` of the outgoing interface.
    OifType = 9, 2;
    /// The user of the sending socket.
    SkUid = 10, 4;
    /// The group of the sending socket.
    SkGid = 11, 4;
    /// Whether the packet is traced.
    Trace = 12, 1;
    /// The realm of the route.
    RtClassId = 13, 4;
    /// The security mark, set by a security module.
    SecMark = 14, 4;
    /// `NFPROTO_*` of the packet.
    Nfproto = 15, 1;
    /// The IP protocol of the transport header.
    L4proto = 16, 1;
    /// Name of the bridge that the incoming interface is a port of.
    BridgeIifname = 17, 16;
    /// Name of the bridge that the outgoing interface is a port of.
    BridgeOifname = 18, 16;
    /// `PACKET_*`: to this machine, broadcast, multicast, or to another machine.
    PacketType = 19, 1;
    /// The processor that handles the packet.
    Cpu = 20, 4;
    /// The group of the incoming interface.
    IifGroup = 21, 4;
    /// The group of the outgoing interface.
    OifGroup = 22, 4;
    /// The control group of the sending socket.
    CGroup = 23, 4;
    /// A random number.
    Random = 24, 4;
    /// Whether IPsec handled the packet.
    SecPath = 25, 1;
    /// The kind of the incoming interface.
    IifKind = 26, 16;
    /// The kind of the outgoing interface.
    OifKind = 27, 16;
    /// The VLAN of a bridge's incoming port.
    BridgeIifVlan = 28, 2;
    /// The VLAN protocol of a bridge.
    BridgeIifVlanProtocol = 29, 2;
    /// The time in nanoseconds since 1970.
    TimeNs = 30, 8;
    /// The day of the week.
    TimeDay = 31, 1;
    /// The second of the day.
    TimeHour = 32, 4;
    /// Index of the VRF's member interface that the packet came in by.
    Sdif = 33, 4;
    /// Name of the VRF's member interface that the packet came in by.
    Sdifname = 34, 16;
    /// Whether a bridge routes the packet.
    BridgeRoute = 35, 1;
}

keys! {
    /// `NFT_CT_*` keys.
    CtKey, "NFT_CT_*":
    /// One bit of [`ct_state`](super::ct_state), in host order.
    State = 0, 4;
    /// 0 for the original direction, 1 for the reply's.
    Direction = 1, 1;
    /// `IPS_*` bits, in host order: 0x20 is destination NAT.
    Status = 2, 4;
    /// The connection's mark, in host order.
    Mark = 3, 4;
    /// The security mark, set by a security module.
    SecMark = 4, 4;
    /// Milliseconds until the entry expires.
    Expiration = 5, 4;
    /// The name of the connection's helper.
    Helper = 6, 16;
    /// `NFPROTO_*` of the tuple.
    L3proto = 7, 1;
    /// Source address of the tuple, as long as the address of the table's family.
    Src = 8, 16;
    /// Destination address of the tuple, as long as the address of the table's family.
    Dst = 9, 16;
    /// IP protocol of the tuple.
    Protocol = 10, 1;
    /// Source port of the tuple, in network order.
    ProtoSrc = 11, 2;
    /// Destination port of the tuple, in network order.
    ProtoDst = 12, 2;
    /// The connection's labels.
    Labels = 13, 16;
    /// Packets counted.
    Packets = 14, 8;
    /// Bytes counted.
    Bytes = 15, 8;
    /// Average bytes per packet.
    AveragePacket = 16, 8;
    /// The conntrack zone. Each zone has its own connections.
    Zone = 17, 2;
    /// The conntrack events that the entry reports.
    EventMask = 18, 4;
    /// IPv4 source of the tuple, in network order (kernel 4.17 and newer).
    SrcIp = 19, 4;
    /// IPv4 destination of the tuple, in network order (kernel 4.17 and newer).
    DstIp = 20, 4;
    /// IPv6 source of the tuple, in network order (kernel 4.17 and newer).
    SrcIp6 = 21, 16;
    /// IPv6 destination of the tuple, in network order (kernel 4.17 and newer).
    DstIp6 = 22, 16;
    /// The entry's identifier.
    Id = 23, 4;
}
