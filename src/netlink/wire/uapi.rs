//! Constants of the nf_tables netlink interface, from `include/uapi/linux/netfilter/nf_tables.h` and its neighbours.
#![expect(unreachable_pub, reason = "who may use them all is said once, where this module is declared")]

/// `NFNL_SUBSYS_NFTABLES`: the upper byte of each message type, and the `res_id` of a batch.
pub const SUBSYSTEM: u16 = 10;

/// Message types without the subsystem.
pub mod msg {
    pub const NEWTABLE: u8 = 0;
    pub const GETTABLE: u8 = 1;
    pub const NEWCHAIN: u8 = 3;
    pub const GETCHAIN: u8 = 4;
    pub const NEWRULE: u8 = 6;
    pub const GETRULE: u8 = 7;
    pub const NEWSET: u8 = 9;
    pub const GETSET: u8 = 10;
    pub const DELSET: u8 = 11;
    pub const NEWSETELEM: u8 = 12;
    pub const GETSETELEM: u8 = 13;
    pub const DELSETELEM: u8 = 14;
    pub const NEWGEN: u8 = 15;
    pub const GETGEN: u8 = 16;
    pub const NEWOBJ: u8 = 18;
    pub const GETOBJ: u8 = 19;
    pub const NEWFLOWTABLE: u8 = 22;
    pub const GETFLOWTABLE: u8 = 23;
}

/// Netlink's own message types, and the batch's.
pub mod control {
    pub const ERROR: u16 = 2;
    pub const DONE: u16 = 3;
    pub const BATCH_BEGIN: u16 = 16;
    pub const BATCH_END: u16 = 17;
}

/// Flags of a message (`NLM_F_*`).
pub mod flag {
    pub const REQUEST: u16 = 0x1;
    pub const ACK: u16 = 0x4;
    pub const DUMP_INTR: u16 = 0x10;
    pub const CAPPED: u16 = 0x100;
    pub const ACK_TLVS: u16 = 0x200;
    pub const DUMP: u16 = 0x300;
    pub const EXCL: u16 = 0x200;
    pub const CREATE: u16 = 0x400;
    pub const APPEND: u16 = 0x800;
}

/// `NLA_F_NESTED`: the attribute holds attributes.
pub const NESTED: u16 = 0x8000;
/// `NLA_TYPE_MASK`: an attribute's type without its flags.
pub const TYPE_MASK: u16 = 0x3fff;

pub const NFNL_BATCH_GENID: u16 = 1;
pub const NFTA_LIST_ELEM: u16 = 1;
pub const NFTA_GEN_ID: u16 = 1;

pub mod table {
    pub const NAME: u16 = 1;
    pub const FLAGS: u16 = 2;
    pub const USERDATA: u16 = 6;
    pub const END: usize = 8;
}

pub mod chain {
    pub const TABLE: u16 = 1;
    pub const NAME: u16 = 3;
    pub const HOOK: u16 = 4;
    pub const POLICY: u16 = 5;
    pub const TYPE: u16 = 7;
    pub const FLAGS: u16 = 10;
    pub const USERDATA: u16 = 12;
    pub const END: usize = 13;
    /// `NFT_CHAIN_HW_OFFLOAD`.
    pub const HW_OFFLOAD: u32 = 2;
}

pub mod hook {
    pub const HOOKNUM: u16 = 1;
    pub const PRIORITY: u16 = 2;
    pub const DEV: u16 = 3;
    pub const DEVS: u16 = 4;
    pub const END: usize = 5;
}

pub mod rule {
    pub const TABLE: u16 = 1;
    pub const CHAIN: u16 = 2;
    pub const HANDLE: u16 = 3;
    pub const EXPRESSIONS: u16 = 4;
    pub const USERDATA: u16 = 7;
    pub const END: usize = 12;
}

pub mod expr {
    pub const NAME: u16 = 1;
    pub const DATA: u16 = 2;
    pub const END: usize = 3;
}

pub mod set {
    pub const TABLE: u16 = 1;
    pub const NAME: u16 = 2;
    pub const FLAGS: u16 = 3;
    pub const KEY_TYPE: u16 = 4;
    pub const KEY_LEN: u16 = 5;
    pub const DATA_TYPE: u16 = 6;
    pub const DATA_LEN: u16 = 7;
    pub const POLICY: u16 = 8;
    pub const DESC: u16 = 9;
    pub const ID: u16 = 10;
    pub const TIMEOUT: u16 = 11;
    pub const GC_INTERVAL: u16 = 12;
    pub const USERDATA: u16 = 13;
    pub const OBJ_TYPE: u16 = 15;
    pub const EXPR: u16 = 17;
    pub const EXPRESSIONS: u16 = 18;
    pub const END: usize = 19;
    /// Since Linux 6.16.
    pub const COUNT: u16 = 20;
    pub const DESC_SIZE: u16 = 1;
    pub const DESC_CONCAT: u16 = 2;
    pub const FIELD_LEN: u16 = 1;
}

/// Attributes of an element list, and of one element.
pub mod elem {
    pub const LIST_TABLE: u16 = 1;
    pub const LIST_SET: u16 = 2;
    pub const LIST_ELEMENTS: u16 = 3;
    pub const LIST_SET_ID: u16 = 4;
    pub const LIST_END: usize = 5;
    pub const KEY: u16 = 1;
    pub const DATA: u16 = 2;
    pub const FLAGS: u16 = 3;
    /// In milliseconds, as the next one.
    pub const TIMEOUT: u16 = 4;
    pub const EXPIRATION: u16 = 5;
    pub const EXPR: u16 = 7;
    pub const OBJREF: u16 = 9;
    pub const KEY_END: u16 = 10;
    pub const EXPRESSIONS: u16 = 11;
    pub const END: usize = 12;
    /// `NFT_SET_ELEM_INTERVAL_END`.
    pub const INTERVAL_END: u32 = 1;
    /// `NFT_SET_ELEM_CATCHALL`.
    pub const CATCHALL: u32 = 2;
}

/// Attributes of data, and of a verdict.
pub mod data {
    pub const VALUE: u16 = 1;
    pub const VERDICT: u16 = 2;
    pub const END: usize = 3;
    pub const VERDICT_CODE: u16 = 1;
    pub const VERDICT_CHAIN: u16 = 2;
    pub const VERDICT_END: usize = 3;
    /// `NFT_DATA_VERDICT`: the type of a verdict map's values.
    pub const TYPE_VERDICT: u32 = 0xffff_ff00;
    /// `NFT_DATA_VALUE_MAXLEN`: the size of a register, and of libnftnl's buffer for one.
    pub const MAX_LEN: usize = 64;
}

pub mod object {
    pub const TABLE: u16 = 1;
    pub const NAME: u16 = 2;
    pub const TYPE: u16 = 3;
    pub const END: usize = 4;
}

/// Entries of nft's userdata in its objects (`NFTNL_UDATA_*`).
pub mod udata {
    /// For tables, chains and rules.
    pub const COMMENT: u8 = 0;
    pub const SET_KEY_BYTEORDER: u8 = 0;
    pub const SET_DATA_BYTEORDER: u8 = 1;
    pub const SET_COMMENT: u8 = 7;
    /// nft's `enum byteorder`.
    pub const ORDER_NONE: u32 = 0;
    pub const ORDER_HOST: u32 = 1;
    pub const ORDER_BIG: u32 = 2;
}

/// Connection tracking (`nfnetlink_conntrack.h`).
pub mod ct {
    /// `NFNL_SUBSYS_CTNETLINK`.
    pub const SUBSYSTEM: u16 = 1;
    pub const GET: u8 = 1;
    pub const DELETE: u8 = 2;
    pub const GET_STATS: u8 = 5;
    pub const STATS_ENTRIES: u16 = 1;

    pub const ORIGINAL: u16 = 1;
    pub const REPLY: u16 = 2;
    pub const STATUS: u16 = 3;
    pub const PROTOINFO: u16 = 4;
    pub const TIMEOUT: u16 = 7;
    pub const MARK: u16 = 8;
    pub const ID: u16 = 12;
    pub const ZONE: u16 = 18;
    pub const END: usize = 19;

    pub const TUPLE_IP: u16 = 1;
    pub const TUPLE_PROTO: u16 = 2;
    pub const TUPLE_ZONE: u16 = 3;
    pub const TUPLE_END: usize = 4;

    /// For IPv4 and IPv6.
    pub const IP_SOURCE: [u16; 2] = [1, 3];
    pub const IP_DESTINATION: [u16; 2] = [2, 4];
    pub const IP_END: usize = 5;

    pub const PROTO_NUM: u16 = 1;
    pub const PROTO_PORTS: [u16; 2] = [2, 3];
    /// Type, code and identifier.
    pub const PROTO_ICMP: [u16; 3] = [5, 6, 4];
    pub const PROTO_ICMPV6: [u16; 3] = [8, 9, 7];
    pub const PROTO_END: usize = 10;

    pub const PROTOINFO_TCP: u16 = 1;
    pub const PROTOINFO_END: usize = 2;
    pub const TCP_STATE: u16 = 1;
    /// `struct nf_ct_tcp_flags` of the originator: flags, and a mask of those that are meant.
    pub const TCP_FLAGS: u16 = 4;
    pub const TCP_END: usize = 5;
    /// `IP_CT_TCP_FLAG_BE_LIBERAL`.
    pub const TCP_LIBERAL: u8 = 0x08;
}

/// The hooks of all subsystems in the order in which the kernel runs them (`nfnetlink_hook.h`, since Linux 5.14).
pub mod hooks {
    /// `NFNL_SUBSYS_HOOK`.
    pub const SUBSYSTEM: u16 = 12;
    pub const GET: u16 = 0;
    pub const HOOKNUM: u16 = 1;
    pub const DEV: u16 = 3;
    pub const FUNCTION: u16 = 4;
    pub const CHAIN_INFO: u16 = 6;
    pub const END: usize = 7;
    pub const INFO_DESC: u16 = 1;
    pub const INFO_TYPE: u16 = 2;
    pub const INFO_END: usize = 3;
    /// `NFNL_HOOK_TYPE_NFTABLES`.
    pub const TYPE_NFTABLES: u32 = 1;
    pub const CHAIN_TABLE: u16 = 1;
    pub const CHAIN_FAMILY: u16 = 2;
    pub const CHAIN_NAME: u16 = 3;
    pub const CHAIN_END: usize = 4;
    /// Hooks of `NFPROTO_NETDEV`.
    pub const INGRESS: u32 = 0;
    pub const EGRESS: u32 = 1;
}

/// Routes and links (`rtnetlink.h`); their numbers are in host byte order.
pub mod rt {
    pub const NEWLINK: u16 = 16;
    pub const GETLINK: u16 = 18;
    pub const NEWROUTE: u16 = 24;
    pub const GETROUTE: u16 = 26;
    pub const NEWNETCONF: u16 = 80;
    pub const GETNETCONF: u16 = 82;
    /// Offset of `rtm_flags` in `struct rtmsg`.
    pub const ROUTE_FLAGS: usize = 8;
    /// Size of `struct rtmsg`, which a route's attributes follow.
    pub const ROUTE_HEAD: usize = 12;
    /// Offset of the type in it.
    pub const ROUTE_TYPE: usize = 7;
    pub const DST: u16 = 1;
    pub const SRC: u16 = 2;
    pub const IIF: u16 = 3;
    pub const OIF: u16 = 4;
    pub const GATEWAY: u16 = 5;
    pub const PREFSRC: u16 = 7;
    pub const VIA: u16 = 18;
    pub const MARK: u16 = 16;
    /// `RTA_VIA`: a gateway of the other IP version, after its two-byte family.
    pub const ROUTE_END: usize = 8;
    /// Size of `struct ifinfomsg`.
    pub const LINK_HEAD: usize = 16;
    /// Offset of the index in it.
    pub const LINK_INDEX: usize = 4;
    /// Offset of the type, `ARPHRD_*`.
    pub const LINK_HARDWARE: usize = 2;
    pub const IFNAME: u16 = 3;
    pub const LINK_END: usize = 4;
    /// `IFLA_LINK`: the index of the lower interface, or of a veth's other end.
    pub const LOWER: u16 = 5;
    pub const MASTER: u16 = 10;
    pub const LINKINFO: u16 = 18;
    pub const GROUP: u16 = 27;
    /// `IFLA_LINK_NETNSID`: the index in `LOWER` is of another network namespace.
    pub const LOWER_NAMESPACE: u16 = 37;
    /// `IFLA_PROP_LIST`, which holds `IFLA_ALT_IFNAME`s.
    pub const PROPERTIES: u16 = 52;
    pub const OTHER_NAME: u16 = 53;
    pub const LINK_DETAILS_END: usize = 53;
    pub const INFO_KIND: u16 = 1;
    pub const INFO_DATA: u16 = 2;
    pub const INFO_END: usize = 3;
    /// `IFLA_BR_NF_CALL_IPTABLES` and `IFLA_BR_NF_CALL_IP6TABLES`, of a bridge.
    pub const BRIDGE_CALLS: [u16; 2] = [36, 37];
    pub const BRIDGE_END: usize = 38;
    /// Size of `struct rtnexthop`; its first two bytes are the length including attributes.
    pub const NEXT_HOP_HEAD: usize = 8;
    pub const MULTIPATH: u16 = 9;
    pub const ROUTE_DETAILS_END: usize = 19;
    pub const NETCONF_IFINDEX: u16 = 1;
    pub const NETCONF_FORWARDING: u16 = 2;
    pub const NETCONF_END: usize = 3;
    pub const NEWADDR: u16 = 20;
    pub const GETADDR: u16 = 22;
    /// Size of `struct ifaddrmsg`, and the offsets of the prefix length and the index in it.
    pub const ADDRESS_HEAD: usize = 8;
    pub const ADDRESS_PREFIX: usize = 1;
    pub const ADDRESS_INDEX: usize = 4;
    pub const ADDRESS: u16 = 1;
    pub const LOCAL: u16 = 2;
    pub const ADDRESS_END: usize = 3;
}

/// Sockets (`sock_diag.h`, `inet_diag.h`); only their ports and addresses are in network order.
pub mod diag {
    /// `SOCK_DIAG_BY_FAMILY`: for requests and answers.
    pub const BY_FAMILY: u16 = 20;
    /// Size of `struct inet_diag_req_v2`.
    pub const REQUEST: usize = 56;
    /// `TCPDIAG_GETSOCK`, the request from before there was one per family; it covers both.
    pub const TCP_OF_BOTH: u16 = 18;
    /// Size of its `struct inet_diag_req`, and the offset of the states in it.
    pub const OLD_REQUEST: usize = 60;
    pub const OLD_STATES: usize = 52;
    /// Size of `struct inet_diag_msg`, and the offsets of its fields.
    pub const ANSWER: usize = 72;
    pub const PORT: usize = 4;
    pub const STATE: usize = 1;
    pub const REMOTE_PORT: usize = 6;
    pub const ADDRESS: usize = 8;
    pub const REMOTE_ADDRESS: usize = 24;
    pub const INTERFACE: usize = 40;
    pub const USER: usize = 64;
    pub const INODE: usize = 68;
    /// `TCP_ESTABLISHED` and further states.
    pub const ESTABLISHED: u32 = 1;
    pub const FIN_WAIT1: u32 = 4;
    pub const FIN_WAIT2: u32 = 5;
    pub const CLOSE: u32 = 7;
    pub const CLOSE_WAIT: u32 = 8;
    pub const LAST_ACK: u32 = 9;
    pub const LISTEN: u32 = 10;
    pub const CLOSING: u32 = 11;
    /// `INET_DIAG_SKV6ONLY`.
    pub const ONLY_SIX: u16 = 11;
    pub const END: usize = 12;
}
