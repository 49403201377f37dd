//! Bytes of which each bit is known or not, and the registers that hold them.

use super::truth::{Doubt, Truth};
use crate::ruleset::{Cmp, Register};
use smallvec::SmallVec;
use std::cmp::Ordering;

/// Bytes, each with a mask of its known bits. Unknown bits are zero in `value`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Bits {
    value: SmallVec<[u8; 16]>,
    known: SmallVec<[u8; 16]>,
}

impl Bits {
    pub(super) fn known(bytes: &[u8]) -> Self {
        Self { value: SmallVec::from_slice(bytes), known: SmallVec::from_elem(u8::MAX, bytes.len()) }
    }

    pub(super) fn unknown(len: usize) -> Self {
        Self { value: SmallVec::from_elem(0, len), known: SmallVec::from_elem(0, len) }
    }

    /// Bytes and the mask of their known bits, which is as long.
    pub(super) fn of(value: &[u8], known: &[u8]) -> Self {
        Self { value: SmallVec::from_slice(value), known: SmallVec::from_slice(known) }
    }

    /// A number in host byte order, of which the bits of `known` are known.
    pub(super) fn host_u32(value: u32, known: u32) -> Self {
        Self {
            value: SmallVec::from_slice(&(value & known).to_ne_bytes()),
            known: SmallVec::from_slice(&known.to_ne_bytes()),
        }
    }

    /// A port in network byte order.
    pub(super) fn port(port: Option<u16>) -> Self {
        port.map_or_else(|| Self::unknown(2), |port| Self::known(&port.to_be_bytes()))
    }

    pub(super) fn push(&mut self, other: &Self) {
        self.value.extend_from_slice(&other.value);
        self.known.extend_from_slice(&other.known);
    }

    pub(super) fn len(&self) -> usize {
        self.value.len()
    }

    /// `len` bytes from `offset` on; `None` if there are fewer.
    pub(super) fn slice(&self, offset: usize, len: usize) -> Option<Self> {
        let range = offset..offset.checked_add(len)?;
        Some(Self::of(self.value.get(range.clone())?, self.known.get(range)?))
    }

    /// The bytes, if every bit of them is known.
    pub(super) fn bytes(&self) -> Option<&[u8]> {
        self.known.iter().all(|known| *known == u8::MAX).then_some(&self.value)
    }

    /// `(self & mask) ^ xor`, as long as the shortest of the three. Bits that the mask clears become known.
    pub(super) fn masked(&self, mask: &[u8], xor: &[u8]) -> Self {
        let mut result = Self::default();
        for (((value, known), mask), xor) in self.value.iter().zip(&self.known).zip(mask).zip(xor) {
            let known = known | !mask;
            result.value.push(((value & mask) ^ xor) & known);
            result.known.push(known);
        }
        result
    }

    /// Compares with bytes of the same length; `None` if it depends on unknown bits.
    pub(super) fn compare(&self, op: Cmp, data: &[u8]) -> Option<bool> {
        compare(&self.value, &self.known, op, data)
    }
}

/// Compares bytes, of which those bits are known, with bytes of the same length; `None` if it depends on the others.
fn compare(value: &[u8], known: &[u8], op: Cmp, data: &[u8]) -> Option<bool> {
    let bytes = || value.iter().zip(known).zip(data);
    if matches!(op, Cmp::Eq | Cmp::Neq) {
        let differs = bytes().any(|((value, known), data)| value & known != data & known);
        return if differs {
            Some(op == Cmp::Neq)
        } else {
            known.iter().all(|known| *known == u8::MAX).then_some(op == Cmp::Eq)
        };
    }
    let mut order = Ordering::Equal;
    for ((value, known), data) in bytes() {
        if *known != u8::MAX {
            return None;
        }
        order = order.then(value.cmp(data));
        if order.is_ne() {
            break;
        }
    }
    Some(match op {
        Cmp::Eq | Cmp::Neq => return None,
        Cmp::Lt => order.is_lt(),
        Cmp::Lte => order.is_le(),
        Cmp::Gt => order.is_gt(),
        Cmp::Gte => order.is_ge(),
    })
}

/// Bytes in all data registers of the virtual machine (`NFT_REG32_00` to `NFT_REG32_15`).
const LEN: usize = 64;
/// Bytes of a slot.
const SLOT: usize = 4;

/// The data registers at the beginning of a rule: nothing in them is known until it is loaded. In the kernel a rule
/// finds what the previous one has left there, but no program relies on that.
#[derive(Clone, Debug)]
pub(super) struct Registers {
    value: [u8; LEN],
    known: [u8; LEN],
    /// Why the last load left something unknown.
    why: Doubt,
}

impl Registers {
    pub(super) fn new() -> Self {
        let why = Doubt::from("the rule reads a register that it has not loaded");
        Self { value: [0; LEN], known: [0; LEN], why }
    }

    /// Stores a value, padded with zeros to a whole slot as the kernel does. Bytes past the last register are lost,
    /// and the verdict register takes no value.
    pub(super) fn store(&mut self, register: Register, bits: &Bits) {
        let Register::Data(slot) = register else { return };
        let begin = usize::from(slot) * SLOT;
        let padded = bits.len().next_multiple_of(SLOT);
        let padding = std::iter::repeat_n(&0, padded - bits.len());
        for (to, from) in self.value.iter_mut().skip(begin).zip(bits.value.iter().chain(padding)) {
            *to = *from;
        }
        let padding = std::iter::repeat_n(&u8::MAX, padded - bits.len());
        for (to, from) in self.known.iter_mut().skip(begin).zip(bits.known.iter().chain(padding)) {
            *to = *from;
        }
    }

    /// Sets the reason why bits in the registers are unknown.
    pub(super) fn because(&mut self, why: Doubt) {
        self.why = why;
    }

    /// Forgets the contents of a register and of all after it.
    pub(super) fn forget_from(&mut self, register: Register, why: Doubt) {
        if let Register::Data(slot) = register {
            let begin = (usize::from(slot) * SLOT).min(LEN);
            self.known[begin..].fill(0);
        }
        self.why = why;
    }

    /// `len` bytes from the beginning of a register; unknown if there are fewer.
    pub(super) fn load(&self, register: Register, len: usize) -> Bits {
        match self.stored(register, len) {
            Some((value, known)) => Bits::of(value, known),
            // No longer than all registers, whatever length an operand claims.
            None => Bits::unknown(len.min(LEN)),
        }
    }

    fn stored(&self, register: Register, len: usize) -> Option<(&[u8], &[u8])> {
        let Register::Data(slot) = register else { return None };
        let begin = usize::from(slot) * SLOT;
        let range = begin..begin.saturating_add(len);
        self.value.get(range.clone()).zip(self.known.get(range))
    }

    /// Compares the bytes from the beginning of a register with others. Also returns them, if all of them are known.
    pub(super) fn compare(&self, register: Register, op: Cmp, data: &[u8]) -> (Option<bool>, Option<&[u8]>) {
        let Some((value, known)) = self.stored(register, data.len()) else {
            return (Bits::unknown(data.len().min(LEN)).compare(op, data), None);
        };
        let all = known.iter().all(|known| *known == u8::MAX);
        (compare(value, known, op, data), all.then_some(value))
    }

    /// The truth of a test on these registers; without an answer, doubtful for the reason of the last load.
    pub(super) fn truth(&self, answer: Option<bool>) -> Truth {
        match answer {
            Some(true) => Truth::True,
            Some(false) => Truth::False,
            None => Truth::Doubtful(self.why.clone()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_loaded_fills_its_slot_with_zeros() {
        let mut registers = Registers::new();
        registers.store(Register::Data(1), &Bits::known(&[0xab; 8]));
        registers.store(Register::Data(1), &Bits::known(&[6]));

        let loaded = registers.load(Register::Data(1), 8);

        assert_eq!(loaded.bytes(), Some(&[6, 0, 0, 0, 0xab, 0xab, 0xab, 0xab][..]));
    }

    #[test]
    fn nothing_is_known_past_the_last_register() {
        let mut registers = Registers::new();
        registers.store(Register::Data(15), &Bits::known(&[1; 16]));

        assert_eq!(registers.load(Register::Data(15), 4).bytes(), Some(&[1; 4][..]));
        assert_eq!(registers.load(Register::Data(15), 5), Bits::unknown(5));
        assert_eq!(registers.load(Register::Data(200), 4), Bits::unknown(4));
        assert_eq!(registers.load(Register::ONE, usize::MAX), Bits::unknown(64));
    }

    #[test]
    fn one_known_byte_that_differs_is_enough_to_differ() {
        let mut bits = Bits::unknown(2);
        bits.push(&Bits::known(&[0, 22]));

        assert_eq!(bits.compare(Cmp::Eq, &[0, 67, 0, 68]), Some(false));
        assert_eq!(bits.compare(Cmp::Neq, &[0, 67, 0, 68]), Some(true));
        assert_eq!(bits.compare(Cmp::Eq, &[0, 67, 0, 22]), None);
        assert_eq!(bits.compare(Cmp::Lt, &[0, 67, 0, 22]), None);
    }

    #[test]
    fn comparisons_are_those_of_big_endian_numbers() {
        let bits = Bits::known(&[1, 0]);
        let all = |data: &[u8]| {
            [Cmp::Eq, Cmp::Neq, Cmp::Lt, Cmp::Lte, Cmp::Gt, Cmp::Gte].map(|op| bits.compare(op, data) == Some(true))
        };

        assert_eq!(all(&[0, 255]), [false, true, false, false, true, true]);
        assert_eq!(all(&[1, 0]), [true, false, false, true, false, true]);
        assert_eq!(all(&[1, 1]), [false, true, true, true, false, false]);
    }

    #[test]
    fn a_mask_makes_known_what_it_clears() {
        let status = Bits::host_u32(0x20, 0x20);

        let dnat = status.masked(&0x20_u32.to_ne_bytes(), &[0; 4]);
        let other = status.masked(&0x100_u32.to_ne_bytes(), &[0; 4]);

        assert_eq!(dnat.compare(Cmp::Neq, &[0; 4]), Some(true));
        assert_eq!(other.compare(Cmp::Neq, &[0; 4]), None);
    }
}
