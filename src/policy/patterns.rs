//! Regular expressions of the schema, in the dialect that editors have (ECMA-262). Each takes all that the reader takes, and
//! refuses what the file alone shows to be wrong.

/// 1 to 65535, without zeros before it.
const PORT: &str = "(?:[1-9][0-9]{0,3}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5])";
/// 0 to 255, without zeros before it.
const OCTET: &str = "(?:25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])";
/// Groups of hexadecimal digits, however many.
const V6: &str = "(?:[0-9A-Fa-f]{0,4}:){2,8}[0-9A-Fa-f]{0,4}";
/// What is no address of anyone, or is one in the form of IPv6.
const NO_PEER: &str = "(?!(?:0\\.0\\.0\\.0|::)$)(?!::[Ff]{4}:[0-9]+\\.)";
/// What no machine behind this one has.
const NO_TARGET: &str =
    "(?!127\\.|0\\.0\\.0\\.0|22[4-9]\\.|23[0-9]\\.|169\\.254\\.|255\\.255\\.255\\.255)(?!\\[?::1?\\]?(?:$|:))";

/// A name that the author chooses.
pub(super) const NAME: &str = "^[A-Za-z][A-Za-z0-9_-]{0,31}$";
/// One line of text.
pub(super) const COMMENT: &str = "^[^\"\\\\\\u0000-\\u001f\\u007f]*$";
/// The highest is a million.
pub(super) const RATE: &str = "^0*(?:[1-9][0-9]{0,5}|1000000)/(?:second|minute|hour|day|week)$";
/// Not `.`, not `..`, and nothing behind an `@`.
pub(super) const INTERFACE: &str = "^(?!\\.{1,2}$)(?![^@]+@.)[^\\s/:\"'`\\\\*]{1,15}\\*?$";
/// With a domain.
pub(super) const HOST_NAME: &str = "^(?=.{1,254}$)(?!.*\\.localhost\\.?$)(?:[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?\\.)+\
                                    [A-Za-z](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])\\.?$";

fn v4() -> String {
    format!("(?:{OCTET}\\.){{3}}{OCTET}")
}

/// IPv6 with the last 32 bits as IPv4 among it.
fn v6() -> String {
    format!("(?:{V6}|(?:[0-9A-Fa-f]{{0,4}}:){{2,7}}{})", v4())
}

/// `22/tcp`, `60000-61000/udp`, `esp/proto`, or a service's name.
pub(super) fn port() -> String {
    let protocol = "0*(?:[1-9][0-9]?|1[0-9]{2}|2[0-4][0-9]|25[0-5])";
    let without_ports = "(?!(?:tcp|udp|sctp|0*(?:6|17|132))/)";
    let named = "(?![0-9]+/)[A-Za-z0-9][A-Za-z0-9+._-]*";
    format!(
        "^(?:{PORT}(?:-{PORT})?/(?:tcp|udp|sctp)|{without_ports}(?:{protocol}|{named})/proto|[A-Za-z][A-Za-z0-9+._-]*)$"
    )
}

/// One address.
pub(super) fn address() -> String {
    format!("^{NO_PEER}(?:{}|{})$", v4(), v6())
}

/// An address, a network or a range.
pub(super) fn addresses() -> String {
    let (v4, v6) = (v4(), v6());
    let v4 = format!("{v4}(?:/(?:3[0-2]|[12]?[0-9])|-{v4})?");
    let v6 = format!("{v6}(?:/(?:12[0-8]|1[01][0-9]|[1-9]?[0-9])|-{v6})?");
    format!("^{NO_PEER}(?:{v4}|{v6})$")
}

/// The address of a machine, and perhaps a port.
pub(super) fn target() -> String {
    let (v4, v6) = (v4(), v6());
    format!("^{NO_TARGET}(?:{v4}(?::{PORT})?|{v6}|\\[{v6}\\]:{PORT})$")
}

/// From a minute to 30 days, or several units together.
pub(super) fn time() -> String {
    let number = "[0-9]+ *";
    let any = "(?:n(?:anos|sec|s)|u(?:sec|s)|m(?:illis|sec|s)|s(?:ec(?:ond)?s?)?|m(?:in(?:ute)?s?)?|h(?:ours?|rs?)?|d(?:ays?)?\
               |w(?:eeks?|ks?)?|M|months?|y(?:ears?|rs?)?)";
    let seconds = "0*(?:[6-9][0-9]|[1-9][0-9]{2,6}) *s(?:ec(?:ond)?s?)?";
    let minutes = "0*(?:[1-9][0-9]{0,3}|[1-3][0-9]{4}|4[0-2][0-9]{3}|43[01][0-9]{2}|43200) *m(?:in(?:ute)?s?)?";
    let hours = "0*(?:[1-9][0-9]?|[1-6][0-9]{2}|7[01][0-9]|720) *h(?:ours?|rs?)?";
    let days = "0*(?:[1-9]|[12][0-9]|30) *d(?:ays?)?";
    let weeks = "0*[1-4] *w(?:eeks?|ks?)?";
    format!("^(?:{seconds}|{minutes}|{hours}|{days}|{weeks}|{number}{any}(?: *{number}{any})+)$")
}
