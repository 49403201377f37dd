//! What goes out: a cloud firewall knows neither users nor containers, so only the default is exported.

use super::remark::{Kind, Remarks};
use crate::resolve::{Action, Resolved};

/// Says which rules of `outgoing` the export does not have.
pub(super) fn remarks(policy: &Resolved, remarks: &mut Remarks) {
    let sends = policy.defaults.outgoing == Action::Allow;
    for (name, rule) in &policy.outgoing {
        let about = format!("outgoing {name}");
        if sends && rule.action != Action::Allow {
            let text = "a denial, which is this machine's: the cloud firewall lets everything out";
            remarks.add(Kind::LeftOut, &about, Some(rule.line), text);
        } else if !sends && rule.action == Action::Allow {
            let text = "the cloud firewall lets nothing out, since it knows neither users nor containers";
            remarks.add(Kind::LeftOut, &about, Some(rule.line), text);
        }
    }
}
