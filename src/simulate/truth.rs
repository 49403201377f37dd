//! True, false, or in doubt.

use std::borrow::Cow;

/// Why something can't be told, as a clause: "the incoming interface is not known".
pub type Doubt = Cow<'static, str>;

/// Whether an expression matches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Truth {
    True,
    False,
    Doubtful(Doubt),
}
