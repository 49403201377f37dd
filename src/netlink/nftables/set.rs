//! Sets and maps without their elements.

use super::problem::{Problem, comment_bytes};
use crate::netlink::wire::attr::{self, Attributes, Fields};
use crate::netlink::wire::uapi::{data, set, udata};
use crate::netlink::wire::write::{Writer, put_udata};
use crate::ruleset::{DYNAMIC_SIZE, KeyType, MapValue, Set, SetFlags, SetSpec};

/// All flags of a set as the kernel stores them: those of the specification, and those implied by its form.
fn kernel_flags(spec: &SetSpec) -> SetFlags {
    match spec.value {
        None => spec.flags,
        Some(MapValue::Object(_)) => spec.flags.with(SetFlags::OBJECT),
        Some(_) => spec.flags.with(SetFlags::MAP),
    }
}

/// Writes the attributes of `NFT_MSG_NEWSET` that follow the table and the name.
///
/// `anonymous` is the number of kernel elements of an anonymous set; the kernel allocates room for them at once.
pub(super) fn write(writer: &mut Writer<'_>, spec: &SetSpec, id: u32, anonymous: Option<u32>) -> Result<(), Problem> {
    if !spec.unknown.is_empty() || spec.flags.contains(SetFlags::CONCAT) {
        return Err(Problem::Unknown("set".to_owned()));
    }
    let flags = kernel_flags(spec);
    let flags = if anonymous.is_some() { flags.with(SetFlags::ANONYMOUS) } else { flags };
    writer.u32(set::FLAGS, flags.0);
    writer.u32(set::KEY_TYPE, spec.key.number);
    writer.u32(set::KEY_LEN, spec.key.len);
    match spec.value {
        None => {}
        Some(MapValue::Verdict) => writer.u32(set::DATA_TYPE, data::TYPE_VERDICT),
        Some(MapValue::Data(value)) => {
            writer.u32(set::DATA_TYPE, value.number);
            writer.u32(set::DATA_LEN, value.len);
        }
        Some(MapValue::Object(kind)) => writer.u32(set::OBJ_TYPE, kind),
    }
    writer.u32(set::ID, id);
    // A set that rules add to gets this default size from its first such rule. Declaring the size would make the
    // kernel allocate and clear half a megabyte of hash for each set.
    let declared = spec.size.filter(|&size| !(spec.flags.contains(SetFlags::DYNAMIC) && size == DYNAMIC_SIZE));
    if let Some(size) = anonymous.or(declared) {
        let nest = writer.open(set::DESC);
        writer.u32(set::DESC_SIZE, size);
        writer.close(&nest);
    }
    if let Some(timeout) = spec.timeout_ms {
        writer.u64(set::TIMEOUT, timeout);
    }
    writer.bytes(set::USERDATA, &userdata(spec)?);
    Ok(())
}

/// The data that stock nft uses to print keys and values, and the comment.
fn userdata(spec: &SetSpec) -> Result<Vec<u8>, Problem> {
    let order = |kind: KeyType| if kind.is_host_order() { udata::ORDER_HOST } else { udata::ORDER_BIG };
    let mut bytes = Vec::with_capacity(16);
    put_udata(&mut bytes, udata::SET_KEY_BYTEORDER, &order(spec.key).to_ne_bytes());
    match spec.value {
        Some(MapValue::Verdict) => {
            put_udata(&mut bytes, udata::SET_DATA_BYTEORDER, &udata::ORDER_NONE.to_ne_bytes());
        }
        Some(MapValue::Data(value)) => {
            put_udata(&mut bytes, udata::SET_DATA_BYTEORDER, &order(value).to_ne_bytes());
        }
        Some(MapValue::Object(_)) | None => {}
    }
    if let Some(comment) = &spec.comment {
        put_udata(&mut bytes, udata::SET_COMMENT, &comment_bytes(comment)?);
    }
    Ok(bytes)
}

/// Decodes the attributes of a set; `None` if they are malformed.
///
/// Keeps the flag [`SetFlags::ANONYMOUS`], so that the caller can recognize such sets. Attributes newer than
/// `NFTA_SET_EXPRESSIONS` are ignored: those that kernels have added since (the backend's name, the element count)
/// describe the set and do not change it.
pub(super) fn decode(bytes: &[u8]) -> Option<SetSpec> {
    let fields = Fields::<{ set::END }>::read(bytes)?;
    let flags = SetFlags(fields.get(set::FLAGS).map_or(Some(0), |_| fields.u32(set::FLAGS))?);
    let value = if flags.contains(SetFlags::OBJECT) {
        Some(MapValue::Object(fields.u32(set::OBJ_TYPE)?))
    } else if flags.contains(SetFlags::MAP) {
        Some(match fields.u32(set::DATA_TYPE)? {
            data::TYPE_VERDICT => MapValue::Verdict,
            number => MapValue::Data(KeyType { number, len: fields.u32(set::DATA_LEN)? }),
        })
    } else {
        None
    };
    let mut unknown = Vec::new();
    for (kind, payload) in Attributes::new(bytes).map_while(Result::ok) {
        let matters = match kind {
            set::POLICY => !fields.is_default(set::POLICY, 0),
            set::GC_INTERVAL => !fields.is_default(set::GC_INTERVAL, 0),
            set::EXPR | set::EXPRESSIONS => true,
            _ => false,
        };
        if matters {
            Writer::reopen(&mut unknown, 0).bytes(kind, payload);
        }
    }
    let key = KeyType { number: fields.u32(set::KEY_TYPE).unwrap_or_default(), len: fields.u32(set::KEY_LEN)? };
    let mut size = None;
    if let Some(description) = fields.get(set::DESC) {
        let description = Fields::<{ set::DESC_CONCAT as usize + 1 }>::read(description)?;
        size = description.u32(set::DESC_SIZE);
        // The lengths of the fields, which follow from their types.
        if let Some(concat) = description.get(set::DESC_CONCAT)
            && lengths(concat) != key.fields().map(|fields| fields.iter().map(|field| field.len).collect())
        {
            Writer::reopen(&mut unknown, 0).bytes(set::DESC, concat);
        }
    }
    Some(SetSpec {
        key,
        value,
        flags: flags.without(SetFlags::MAP).without(SetFlags::OBJECT),
        size,
        timeout_ms: fields.u64(set::TIMEOUT),
        comment: fields.get(set::USERDATA).and_then(|userdata| attr::comment(userdata, udata::SET_COMMENT)),
        unknown,
    })
}

/// The lengths of a concatenation's fields in bytes.
fn lengths(concat: &[u8]) -> Option<Vec<u32>> {
    let fields = Attributes::new(concat)
        .map(|field| Fields::<{ set::FIELD_LEN as usize + 1 }>::read(field.ok()?.1)?.u32(set::FIELD_LEN));
    fields.collect()
}

/// The kernel's element count of a set; `None` before 6.16, which does not report it.
pub(super) fn count(bytes: &[u8]) -> Option<u32> {
    Fields::<{ set::COUNT as usize + 1 }>::read(bytes)?.u32(set::COUNT)
}

/// The anonymous set as a rule holds it: without the parts implied by its being anonymous.
pub(super) fn anonymous(set: Set) -> Set {
    let flags = set.spec.flags.without(SetFlags::ANONYMOUS);
    Set { spec: SetSpec { flags, size: None, comment: None, ..set.spec }, ..set }
}
