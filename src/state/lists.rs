//! The addresses of the policy's files as they were last applied, for a boot at which a file can't be read, and to
//! notice one that was emptied. `lists/index` maps the path of each file to a digest, and `lists/DIGEST` holds the
//! number of IPv4 ranges in eight bytes, these ranges, and those of IPv6: first and last address, big-endian.

use super::stored::digest;
use super::{State, StateError, files, to_json};
use crate::net::{AddressRange, Addresses};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// The maximum size of the index, in bytes.
const MAX_INDEX: u64 = 4 << 20;
/// The maximum size of a list, in bytes: eight million ranges of IPv6.
const MAX_BYTES: u64 = 256 << 20;
const INDEX: &str = "index";

/// The addresses of files, by absolute path.
pub type Lists = BTreeMap<PathBuf, Addresses>;

impl State {
    fn lists(&self) -> PathBuf {
        self.folder.join("lists")
    }

    /// Keeps the addresses of a policy's files, and forgets those of all other files, except of the policies of kept
    /// rulesets. Writes nothing that is there.
    ///
    /// # Errors
    /// A file that can't be written.
    pub fn keep_lists(&self, lists: &Lists) -> Result<(), StateError> {
        let mut index = BTreeMap::new();
        for (path, addresses) in lists {
            let bytes = to_bytes(addresses);
            let sum = digest(&bytes);
            if !files::exists(&self.lists(), &sum) {
                self.make_folder()?;
                files::write(&self.lists(), &sum, &bytes)?;
            }
            index.insert(path.display().to_string(), sum);
        }
        let before = self.index().unwrap_or_default();
        if before != index {
            self.make_folder()?;
            files::write(&self.lists(), INDEX, &to_json(&index)?)?;
        }
        let used: BTreeSet<&String> = index.values().collect();
        let names = files::names(&self.lists()).into_iter().filter(|name| is_kept_name(name));
        let others: Vec<String> = names.filter(|name| !used.contains(name)).collect();
        if others.is_empty() {
            return Ok(());
        }
        let kept = self.lists_of_rulesets();
        let unused = others.into_iter().filter(|name| !kept.contains(name));
        unused.into_iter().try_for_each(|name| files::remove(&self.lists(), &name))
    }

    /// The addresses of a file as they were last applied; `None` if no policy that was applied names it.
    ///
    /// # Errors
    /// They can't be read, or were changed.
    pub fn list_as_applied(&self, path: &Path) -> Result<Option<Addresses>, StateError> {
        let index = self.index()?;
        let Some(sum) = index.get(&path.display().to_string()).filter(|sum| is_sum(sum)) else {
            return Ok(None);
        };
        let missing = || StateError::Damaged { path: self.lists().join(sum), why: "it is missing" };
        self.addresses_of(sum)?.ok_or_else(missing).map(Some)
    }

    /// The addresses with that digest; `None` if they are not kept.
    pub(super) fn addresses_of(&self, sum: &str) -> Result<Option<Addresses>, StateError> {
        if !is_sum(sum) {
            return Ok(None);
        }
        let path = self.lists().join(sum);
        let Some(bytes) = files::read(&path, MAX_BYTES)? else { return Ok(None) };
        let damaged = |why| StateError::Damaged { path: path.clone(), why };
        if digest(&bytes) != *sum {
            return Err(damaged("its digest is wrong: it was changed, or not written to the end"));
        }
        from_bytes(&bytes).map(Some).ok_or_else(|| damaged("it is not what palisade writes"))
    }

    fn index(&self) -> Result<BTreeMap<String, String>, StateError> {
        let path = self.lists().join(INDEX);
        let Some(bytes) = files::read(&path, MAX_INDEX)? else { return Ok(BTreeMap::new()) };
        serde_json::from_slice(&bytes)
            .map_err(|_| StateError::Damaged { path, why: "it is not what palisade writes" })
    }
}

/// Whether a list, or the draft of one, is named so. Other files are not palisade's to remove.
fn is_kept_name(name: &str) -> bool {
    let sum = name.strip_prefix('.').and_then(|name| name.strip_suffix(".new")).unwrap_or(name);
    is_sum(sum)
}

fn is_sum(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// The digest that names the file of these addresses.
pub(super) fn digest_of(addresses: &Addresses) -> String {
    digest(&to_bytes(addresses))
}

fn to_bytes(addresses: &Addresses) -> Vec<u8> {
    let (v4, v6) = (addresses.v4.as_slice(), addresses.v6.as_slice());
    let mut bytes = Vec::with_capacity(8 + 8 * v4.len() + 32 * v6.len());
    bytes.extend((v4.len() as u64).to_be_bytes());
    v4.iter().for_each(|(first, last)| bytes.extend([first.octets(), last.octets()].as_flattened()));
    v6.iter().for_each(|(first, last)| bytes.extend([first.octets(), last.octets()].as_flattened()));
    bytes
}

/// The addresses of a file; `None` if they are not what [`to_bytes`] gives.
fn from_bytes(bytes: &[u8]) -> Option<Addresses> {
    let (count, rest) = bytes.split_first_chunk::<8>()?;
    let count = usize::try_from(u64::from_be_bytes(*count)).ok()?;
    let (v4, v6) = rest.split_at_checked(count.checked_mul(8)?)?;
    let v4 = v4.chunks_exact(8).filter_map(|pair| {
        let (first, last) = pair.split_first_chunk::<4>()?;
        Some(AddressRange::V4((*first).into(), <[u8; 4]>::try_from(last).ok()?.into()))
    });
    let v6 = v6.as_chunks::<32>();
    let ranges = v6.0.iter().filter_map(|pair| {
        let (first, last) = pair.split_first_chunk::<16>()?;
        Some(AddressRange::V6((*first).into(), <[u8; 16]>::try_from(last).ok()?.into()))
    });
    v6.1.is_empty().then(|| v4.chain(ranges).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn addresses() -> impl Strategy<Value = Addresses> {
        let v4 = any::<(u32, u32)>().prop_map(|(a, b)| AddressRange::V4(a.min(b).into(), a.max(b).into()));
        let v6 = any::<(u128, u128)>().prop_map(|(a, b)| AddressRange::V6(a.min(b).into(), a.max(b).into()));
        prop::collection::vec(prop_oneof![v4, v6], 0..20).prop_map(|ranges| ranges.into_iter().collect())
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 32, ..ProptestConfig::default() })]

        #[test]
        fn what_was_written_is_read_and_no_bytes_make_it_panic(addresses in addresses(), cut in 1_usize..9, more in any::<Vec<u8>>()) {
            let bytes = to_bytes(&addresses);
            prop_assert_eq!(from_bytes(&bytes), Some(addresses.clone()));
            let _ = from_bytes(&more);
            let shorter = &bytes[..bytes.len().saturating_sub(cut)];
            prop_assert!(from_bytes(shorter) != Some(addresses) || cut == 0);
        }
    }

    #[test]
    fn the_lists_of_the_last_policy_are_kept_and_no_others() {
        let folder = tempfile::tempdir().expect("a folder");
        let state = State::new(folder.path().join("state"), folder.path().join("run"));
        let [first, second]: [Addresses; 2] = [1, 2]
            .map(|last| [AddressRange::V4([192, 0, 2, 0].into(), [192, 0, 2, last].into())].into_iter().collect());
        let path = |name: &str| PathBuf::from("/etc/palisade").join(name);
        let kept = |name: &str| state.list_as_applied(&path(name)).expect("it can be read");

        assert_eq!(kept("a.txt"), None);
        state
            .keep_lists(&[(path("a.txt"), first.clone()), (path("b.txt"), Addresses::default())].into())
            .expect("kept");
        assert_eq!([kept("a.txt"), kept("b.txt")], [Some(first), Some(Addresses::default())]);
        state.keep_lists(&[(path("a.txt"), second.clone())].into()).expect("kept");
        assert_eq!([kept("a.txt"), kept("b.txt")], [Some(second), None]);
        assert_eq!(files::names(&state.lists()).iter().filter(|name| is_kept_name(name)).count(), 1);

        let sum = files::names(&state.lists()).into_iter().find(|name| is_kept_name(name)).expect("a list");
        std::fs::write(state.lists().join(sum), [0; 16]).expect("it can be written");
        let error = state.list_as_applied(&path("a.txt")).expect_err("it was changed");
        assert!(
            error.to_string().ends_with("its digest is wrong: it was changed, or not written to the end"),
            "{error}"
        );
    }
}
