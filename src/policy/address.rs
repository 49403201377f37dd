//! Addresses, networks and ranges as people write them.

use super::diagnostic::quote;
use super::fault::Fault;
use super::host_name::is_url;
use crate::net::AddressRange;
use ipnet::{Ipv4Net, Ipv6Net};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Reads one address, network or range.
pub(crate) fn range(text: &str) -> Result<AddressRange, Fault> {
    // Fast path for long lists: no form handled below parses as a plain IPv4 address.
    if let Ok(address) = text.parse::<Ipv4Addr>()
        && !address.is_unspecified()
    {
        return Ok(AddressRange::V4(address, address));
    }
    if text.chars().any(|c| c.is_whitespace() || c == ',') {
        return Err(several(text));
    }
    if let Some((address, prefix)) = text.split_once('/') {
        return network(text, address, prefix);
    }
    if is_host_name(text) {
        return Err(host_name(text));
    }
    if let Some((first, last)) = text.split_once('-') {
        return from_to(text, first, last);
    }
    match single(text)? {
        // As a literal address it would match nobody and lock everyone out.
        IpAddr::V4(Ipv4Addr::UNSPECIFIED) => Err(unspecified(text, "0.0.0.0/0")),
        IpAddr::V6(Ipv6Addr::UNSPECIFIED) => Err(unspecified(text, "::/0")),
        address => Ok(address.into()),
    }
}

fn unspecified(text: &str, all: &str) -> Fault {
    Fault::new(format!("{} can't be a peer's address", quote(text)))
        .help(format!("write `any` for everyone, or `{all}` for everyone of this address family"))
}

/// Whether the text can only be a DNS name.
pub(crate) fn is_host_name(text: &str) -> bool {
    text.contains('.')
        && text.chars().any(|c| c.is_ascii_alphabetic())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_'))
}

fn host_name(text: &str) -> Fault {
    Fault::new(format!("{} is a host name, and names are not looked up", quote(text)))
        .help("write its addresses: a name could mean others tomorrow, or whatever a forged answer says")
}

fn url(text: &str) -> Fault {
    Fault::new(format!("{} is not an address, and lists are not fetched", quote(text))).help(
        "let a timer fetch it (`Lists from elsewhere` in docs/operations.md), and name the file: `{ file: PATH }`",
    )
}

fn several(text: &str) -> Fault {
    let joined: String = text.chars().filter(|c| !c.is_whitespace()).collect();
    let one = !joined.contains(',');
    let fault = Fault::new(format!("{} is not one address", quote(text)));
    if one && range(&joined).is_ok() {
        return fault.help(format!("write it without blanks: {}", quote(&joined)));
    }
    fault.help("write each address as an item of its own: `[192.0.2.1, 192.0.2.2]`")
}

/// Reads a single address.
fn single(text: &str) -> Result<IpAddr, Fault> {
    match text.parse::<IpAddr>() {
        Ok(IpAddr::V6(address)) => match address.to_ipv4_mapped() {
            Some(mapped) => Err(Fault::new(format!("{} is an IPv4 address in the form of IPv6", quote(text)))
                .help(format!("write `{mapped}`: that is how it arrives here"))),
            None => Ok(IpAddr::V6(address)),
        },
        Ok(address) => Ok(address),
        Err(_) => Err(not_an_address(text)),
    }
}

/// Explains why a text that was meant as an address is not one.
fn not_an_address(text: &str) -> Fault {
    let fault = |why: String| Fault::new(format!("{} is not an address: {why}", quote(text)));
    if let Some((address, zone)) = text.split_once('%')
        && address.parse::<Ipv6Addr>().is_ok()
    {
        return fault("a zone has no place in a policy".to_owned())
            .help(format!("write `{address}`, and `on: {zone}` in the service"));
    }
    if let Some(inner) = text.strip_prefix('[').and_then(|text| text.split(']').next())
        && inner.parse::<Ipv6Addr>().is_ok()
    {
        return fault("brackets are for URLs".to_owned()).help(format!("write `\"{inner}\"`"));
    }
    if let Some((address, port)) = text.rsplit_once(':')
        && address.parse::<Ipv4Addr>().is_ok()
    {
        return fault("ports belong in `ports`".to_owned())
            .help(format!("write `{address}` here, and `ports: {port}/tcp` in the service"));
    }
    let parts: Vec<&str> = text.split('.').collect();
    if !text.contains(':') && parts.iter().all(|part| part.chars().all(|c| c.is_ascii_digit())) {
        if parts.len() == 4
            && let Some(plain) = without_zeros(&parts)
        {
            return fault("a leading zero would make some programs read a number as octal".to_owned())
                .help(format!("write `{plain}`"));
        }
        if let Some(part) = parts.iter().find(|part| part.parse::<u32>().is_ok_and(|number| number > 255)) {
            return fault(format!("{part} is more than 255")).help("each of its four numbers is 0 to 255");
        }
        if parts.len() != 4 || parts.contains(&"") {
            return fault("it does not have four numbers".to_owned())
                .help("write all four, such as `192.0.2.1`; a network is written `192.0.2.0/24`");
        }
    }
    if text.contains(':') {
        return fault("it is not an IPv6 address either".to_owned())
            .help("write eight groups of hexadecimal digits, or fewer and one `::`, such as `2001:db8::1`");
    }
    Fault::new(format!("{} is neither an address nor a group", quote(text)))
        .help("write an address, a network such as `192.0.2.0/24`, a range `192.0.2.1-192.0.2.9`, or a group's name")
}

/// The address meant, if leading zeros are the only mistake.
fn without_zeros(parts: &[&str]) -> Option<Ipv4Addr> {
    if !parts.iter().any(|part| part.len() > 1 && part.starts_with('0')) {
        return None;
    }
    let mut octets = [0; 4];
    for (octet, part) in octets.iter_mut().zip(parts) {
        *octet = part.parse().ok()?;
    }
    Some(Ipv4Addr::from(octets))
}

fn network(text: &str, address: &str, prefix: &str) -> Result<AddressRange, Fault> {
    if is_url(text) || is_host_name(address) {
        return Err(url(text));
    }
    if let Ok(address) = address.parse::<Ipv6Addr>()
        && let (Some(mapped), Ok(length)) = (address.to_ipv4_mapped(), prefix.parse::<u8>())
        && (96..=128).contains(&length)
    {
        return Err(Fault::new(format!("{} is an IPv4 network in the form of IPv6", quote(text)))
            .help(format!("write `{mapped}/{}`: that is how it arrives here", length - 96)));
    }
    let address = single(address)?;
    let longest: u8 = if address.is_ipv4() { 32 } else { 128 };
    let family = if address.is_ipv4() { "IPv4" } else { "IPv6" };
    if let (IpAddr::V4(address), Ok(mask)) = (address, prefix.parse::<Ipv4Addr>()) {
        let fault = Fault::new(format!("{} has a netmask where the length of the prefix belongs", quote(text)));
        return Err(match Ipv4Net::with_netmask(address, mask) {
            Ok(network) => fault.help(format!("write `{}`", network.trunc())),
            Err(_) => fault.help("write how many bits of the mask are set: `192.0.2.0/24`"),
        });
    }
    let digits = !prefix.is_empty() && prefix.chars().all(|c| c.is_ascii_digit());
    let length = prefix.parse::<u8>().ok().filter(|&length| digits && length <= longest);
    let Some(length) = length else {
        return Err(Fault::new(format!("{} has no valid prefix length", quote(text)))
            .help(format!("an {family} network ends with `/0` to `/{longest}`, and a single address needs none")));
    };
    if prefix != length.to_string() {
        return Err(Fault::new(format!("{} has zeros in front of its prefix length", quote(text)))
            .help(format!("write `{address}/{length}`")));
    }
    let host_bits = |network: String| {
        Fault::new(format!("{} is not a network: bits are set after its first {length}", quote(text)))
            .help(format!("write `{network}` for the network, or `{address}` for the single address"))
    };
    match address {
        IpAddr::V4(address) => {
            let network = Ipv4Net::new(address, length).map_err(|_| not_an_address(text))?;
            if network.network() != address {
                return Err(host_bits(network.trunc().to_string()));
            }
            Ok(AddressRange::V4(address, network.broadcast()))
        }
        IpAddr::V6(address) => {
            let network = Ipv6Net::new(address, length).map_err(|_| not_an_address(text))?;
            if network.network() != address {
                return Err(host_bits(network.trunc().to_string()));
            }
            Ok(AddressRange::V6(address, network.broadcast()))
        }
    }
}

fn from_to(text: &str, first: &str, last: &str) -> Result<AddressRange, Fault> {
    let reversed = || {
        Fault::new(format!("the range {} ends before it begins", quote(text)))
            .help(format!("write the lower address first: {}", quote(&format!("{last}-{first}"))))
    };
    if let (Ok(start), Ok(end)) = (first.parse::<Ipv4Addr>(), last.parse::<u8>()) {
        let [a, b, c, _] = start.octets();
        return Err(Fault::new(format!("the range {} needs both addresses in full", quote(text)))
            .help(format!("write `{start}-{a}.{b}.{c}.{end}`")));
    }
    match (single(first)?, single(last)?) {
        (IpAddr::V4(first), IpAddr::V4(last)) if first <= last => Ok(AddressRange::V4(first, last)),
        (IpAddr::V6(first), IpAddr::V6(last)) if first <= last => Ok(AddressRange::V6(first, last)),
        (IpAddr::V4(_), IpAddr::V4(_)) | (IpAddr::V6(_), IpAddr::V6(_)) => Err(reversed()),
        _ => Err(Fault::new(format!(
            "the range {} begins with one address family and ends with the other",
            quote(text)
        ))
        .help("write two IPv4 or two IPv6 addresses")),
    }
}
