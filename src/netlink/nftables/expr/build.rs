//! Builds libnftnl's object for an expression from a description of it.
#![allow(unsafe_code)]

use super::super::problem::{Problem, c_string};
use crate::netlink::wire::uapi;
use crate::ruleset::Register;
use nftnl::expr::Expression;
use nftnl_sys as sys;
use smallvec::SmallVec;
use std::ffi::{CStr, CString};
use std::ptr::NonNull;

/// The value of one libnftnl attribute, in the size that libnftnl stores.
#[derive(Debug)]
enum Value<'a> {
    U8(u8),
    U16(u16),
    U32(u32),
    U64(u64),
    Data(&'a [u8]),
    Text(CString),
}

/// The description of an expression for libnftnl: its name and its `NFTNL_EXPR_*` attributes.
#[derive(Debug)]
pub(crate) struct Draft<'a> {
    name: &'static CStr,
    values: SmallVec<[(u32, Value<'a>); 6]>,
    nested: Vec<Draft<'a>>,
}

impl<'a> Draft<'a> {
    /// An expression of that name, without attributes.
    pub(crate) fn new(name: &'static CStr) -> Self {
        Self { name, values: SmallVec::new(), nested: Vec::new() }
    }

    fn with(mut self, attribute: u32, value: Value<'a>) -> Self {
        self.values.push((attribute, value));
        self
    }

    /// Adds a number of one byte.
    pub(crate) fn u8(self, attribute: u32, number: u8) -> Self {
        self.with(attribute, Value::U8(number))
    }

    /// Adds a number of two bytes.
    pub(crate) fn u16(self, attribute: u32, number: u16) -> Self {
        self.with(attribute, Value::U16(number))
    }

    /// Adds a number of four bytes.
    pub(crate) fn u32(self, attribute: u32, number: u32) -> Self {
        self.with(attribute, Value::U32(number))
    }

    /// Adds a number of eight bytes.
    pub(crate) fn u64(self, attribute: u32, number: u64) -> Self {
        self.with(attribute, Value::U64(number))
    }

    /// Adds a register.
    pub(crate) fn register(self, attribute: u32, register: Register) -> Self {
        self.u32(attribute, register.number())
    }

    /// Adds the contents of a register: 1 to 64 bytes, libnftnl's limit.
    pub(crate) fn data(self, attribute: u32, data: &'a [u8]) -> Result<Self, Problem> {
        if data.is_empty() || data.len() > uapi::data::MAX_LEN {
            return Err(Problem::DataLength(data.len()));
        }
        Ok(self.with(attribute, Value::Data(data)))
    }

    /// Adds a string.
    pub(crate) fn text(self, attribute: u32, text: &str) -> Result<Self, Problem> {
        Ok(self.with(attribute, Value::Text(c_string(text)?)))
    }

    /// Adds a nested expression.
    pub(crate) fn nest(mut self, nested: Draft<'a>) -> Self {
        self.nested.push(nested);
        self
    }

    /// The number of expressions, including nested ones.
    pub(crate) fn count(&self) -> usize {
        1 + self.nested.iter().map(Draft::count).sum::<usize>()
    }

    /// Builds libnftnl's object, which the caller owns.
    fn build(&self) -> NonNull<sys::nftnl_expr> {
        // SAFETY: the name is a C string, which libnftnl only reads.
        let Some(expr) = NonNull::new(unsafe { sys::nftnl_expr_alloc(self.name.as_ptr()) }) else {
            // libnftnl knows the name of every draft, so this is an allocation failure.
            std::alloc::handle_alloc_error(std::alloc::Layout::new::<[u8; 128]>());
        };
        for (attribute, value) in &self.values {
            let (e, attribute) = (expr.as_ptr(), *attribute as u16);
            // SAFETY: `expr` is a live object that nobody else holds. Each `draft` function passes attributes of its
            // own expression in the size that libnftnl stores; `data` has checked the one size that varies. libnftnl
            // copies the data.
            unsafe {
                match value {
                    Value::U8(number) => sys::nftnl_expr_set_u8(e, attribute, *number),
                    Value::U16(number) => sys::nftnl_expr_set_u16(e, attribute, *number),
                    Value::U32(number) => sys::nftnl_expr_set_u32(e, attribute, *number),
                    Value::U64(number) => sys::nftnl_expr_set_u64(e, attribute, *number),
                    Value::Data(data) => {
                        sys::nftnl_expr_set(e, attribute, data.as_ptr().cast(), data.len() as u32);
                    }
                    Value::Text(text) => {
                        sys::nftnl_expr_set_str(e, attribute, text.as_ptr());
                    }
                }
            }
        }
        for nested in &self.nested {
            // SAFETY: both are live objects; only a `dynset` nests, and it takes ownership of the nested one.
            unsafe { sys::nftnl_expr_add_expr(expr.as_ptr(), sys::NFTNL_EXPR_DYNSET_EXPR, nested.build().as_ptr()) }
        }
        expr
    }
}

/// An expression for the `nftnl` crate.
#[derive(Debug)]
pub(crate) struct Built<'d, 'a>(pub &'d Draft<'a>);

impl Expression for Built<'_, '_> {
    fn to_expr(&self, _rule: &nftnl::Rule) -> NonNull<sys::nftnl_expr> {
        self.0.build()
    }
}
