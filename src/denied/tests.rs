//! What is read of the kernel's sets.

use super::Denied;
use crate::compile::{Denial, REMEMBERED_MS};
use crate::net::{Ports, Transport, Version};
use std::time::Duration;

#[test]
fn an_element_is_who_asked_for_which_port_and_when() {
    let key = [203, 0, 113, 66, 6, 0, 0, 0, 0x23, 0x28, 0, 0];
    let read = |key: &[u8]| Denied::read(Denial::Incoming, Version::V4, key, 3, Some(REMEMBERED_MS - 90_000));

    assert_eq!(
        read(&key),
        Some(Denied {
            towards: Denial::Incoming,
            source: [203, 0, 113, 66].into(),
            port: Ports { transport: Transport::Tcp, first: 9000, last: 9000 },
            packets: 3,
            ago: Duration::from_secs(90),
        })
    );
    // Too short, of the other version, of a protocol without ports, and without an end.
    assert_eq!(read(&key[..11]), None);
    assert_eq!(Denied::read(Denial::Incoming, Version::V6, &key, 3, Some(0)), None);
    assert_eq!(read(&[203, 0, 113, 66, 47, 0, 0, 0, 0, 0, 0, 0]), None);
    assert_eq!(Denied::read(Denial::Incoming, Version::V4, &key, 3, None), None);
}
