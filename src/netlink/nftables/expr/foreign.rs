//! Expressions, and forms of expressions, that palisade reads, and writes for translations alone.
//!
//! As everywhere, a form with any attribute that is not understood is left out.

use super::{Draft, Fields, register, value};
use crate::netlink::nftables::problem::Problem;
use crate::netlink::wire::attr::string;
use crate::ruleset::{CtKey, Direction, Extension, Foreign, MetaKey, Nat, Register};
use nftnl_sys as sys;

/// The description of a translation, or of the data that it loads, for libnftnl.
pub(super) fn draft(foreign: &Foreign) -> Result<Draft<'_>, Problem> {
    match foreign {
        Foreign::Immediate { dreg, data } => {
            Draft::new(c"immediate").register(sys::NFTNL_EXPR_IMM_DREG, *dreg).data(sys::NFTNL_EXPR_IMM_DATA, data)
        }
        Foreign::Nat(nat) => {
            let registers = [
                (sys::NFTNL_EXPR_NAT_REG_ADDR_MIN, nat.addresses[0]),
                (sys::NFTNL_EXPR_NAT_REG_ADDR_MAX, nat.addresses[1]),
                (sys::NFTNL_EXPR_NAT_REG_PROTO_MIN, nat.ports[0]),
                (sys::NFTNL_EXPR_NAT_REG_PROTO_MAX, nat.ports[1]),
            ];
            let draft = Draft::new(c"nat")
                .u32(sys::NFTNL_EXPR_NAT_TYPE, nat.destination.into())
                .u32(sys::NFTNL_EXPR_NAT_FAMILY, nat.family);
            let draft = registers.into_iter().fold(draft, |draft, (attribute, register)| match register {
                Some(register) => draft.register(attribute, register),
                None => draft,
            });
            Ok(if nat.flags == 0 { draft } else { draft.u32(sys::NFTNL_EXPR_NAT_FLAGS, nat.flags) })
        }
        Foreign::Masquerade { ports: [None, None], flags: 0 } => Ok(Draft::new(c"masq")),
        _ => Err(Problem::Unknown("expression that is not palisade's".to_owned())),
    }
}

/// Decodes an expression by its name and attributes.
pub(super) fn decode(name: &str, data: &[u8]) -> Option<Foreign> {
    match name {
        "immediate" => immediate(data),
        "meta" => set_meta(data),
        "ct" => set_ct(data),
        "range" => range(data),
        "nat" => nat(data),
        "masq" => masquerade(data),
        "redir" => redirect(data),
        "reject" => reject(data),
        "log" => log(data),
        "objref" => object(data),
        "notrack" => data.is_empty().then_some(Foreign::Notrack),
        "match" => extension(data).map(Foreign::Match),
        "target" => extension(data).map(Foreign::Target),
        _ => None,
    }
}

fn immediate(data: &[u8]) -> Option<Foreign> {
    let fields = Fields::<3>::exactly(data)?;
    let (dreg, data) = (register(&fields, 1)?, value(&fields, 2)?);
    matches!(dreg, Register::Data(_)).then(|| Foreign::Immediate { dreg, data: data.to_vec() })
}

fn set_meta(data: &[u8]) -> Option<Foreign> {
    let fields = Fields::<4>::exactly(data)?;
    fields.get(1).is_none().then_some(())?;
    Some(Foreign::SetMeta { key: MetaKey::from_number(fields.u32(2)?), sreg: register(&fields, 3)? })
}

fn set_ct(data: &[u8]) -> Option<Foreign> {
    let fields = Fields::<5>::exactly(data)?;
    fields.get(1).is_none().then_some(())?;
    let direction = match fields.get(3) {
        None => None,
        Some([0]) => Some(Direction::Original),
        Some([1]) => Some(Direction::Reply),
        Some(_) => return None,
    };
    Some(Foreign::SetCt { key: CtKey::from_number(fields.u32(2)?), direction, sreg: register(&fields, 4)? })
}

fn range(data: &[u8]) -> Option<Foreign> {
    let fields = Fields::<5>::exactly(data)?;
    let inverted = match fields.u32(2)? {
        0 => false,
        1 => true,
        _ => return None,
    };
    let (first, last) = (value(&fields, 3)?.to_vec(), value(&fields, 4)?.to_vec());
    (first.len() == last.len()).then_some(())?;
    Some(Foreign::Range { inverted, sreg: register(&fields, 1)?, first, last })
}

fn masquerade(data: &[u8]) -> Option<Foreign> {
    let fields = Fields::<4>::exactly(data)?;
    Some(Foreign::Masquerade { flags: number(&fields, 1)?, ports: [maybe(&fields, 2)?, maybe(&fields, 3)?] })
}

fn redirect(data: &[u8]) -> Option<Foreign> {
    let fields = Fields::<4>::exactly(data)?;
    Some(Foreign::Redirect { ports: [maybe(&fields, 1)?, maybe(&fields, 2)?], flags: number(&fields, 3)? })
}

fn reject(data: &[u8]) -> Option<Foreign> {
    let fields = Fields::<3>::exactly(data)?;
    Some(Foreign::Reject { kind: fields.u32(1)?, code: fields.get(2).map_or(Some(0), |_| fields.u8(2))? })
}

fn log(data: &[u8]) -> Option<Foreign> {
    let fields = Fields::<7>::exactly(data)?;
    [1, 3, 4].into_iter().all(|kind| fields.get(kind).is_none()).then_some(())?;
    let optional = |kind| fields.get(kind).map(|_| fields.u32(kind));
    let (level, flags) = (optional(5), optional(6));
    let prefix = fields.string(2).unwrap_or_default();
    Some(Foreign::Log {
        prefix,
        level: level.map_or(Some(None), |l| l.map(Some))?,
        flags: flags.map_or(Some(None), |f| f.map(Some))?,
    })
}

fn object(data: &[u8]) -> Option<Foreign> {
    let fields = Fields::<3>::exactly(data)?;
    Some(Foreign::Object { kind: fields.u32(1)?, name: fields.string(2)? })
}

fn nat(data: &[u8]) -> Option<Foreign> {
    let fields = Fields::<8>::exactly(data)?;
    let destination = match fields.u32(1)? {
        0 => false,
        1 => true,
        _ => return None,
    };
    Some(Foreign::Nat(Nat {
        destination,
        family: fields.u32(2)?,
        addresses: [maybe(&fields, 3)?, maybe(&fields, 4)?],
        ports: [maybe(&fields, 5)?, maybe(&fields, 6)?],
        flags: number(&fields, 7)?,
    }))
}

fn extension(data: &[u8]) -> Option<Extension> {
    let fields = Fields::<4>::exactly(data)?;
    Some(Extension {
        name: fields.get(1).map(string)?,
        revision: fields.u32(2)?,
        info: fields.get(3).unwrap_or_default().to_vec(),
    })
}

/// A number; 0 if absent.
fn number<const N: usize>(fields: &Fields<'_, N>, kind: u16) -> Option<u32> {
    fields.get(kind).map_or(Some(0), |_| fields.u32(kind))
}

/// An optional register; the outer `None` stands for a malformed one.
fn maybe<const N: usize>(fields: &Fields<'_, N>, kind: u16) -> Option<Option<Register>> {
    match fields.get(kind) {
        None => Some(None),
        Some(_) => register(fields, kind).map(Some),
    }
}
