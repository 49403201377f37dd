#!/usr/bin/python
# Copyright: the palisade maintainers
# GNU General Public License v2.0 or later (see https://www.gnu.org/licenses/old-licenses/gpl-2.0.html)

from __future__ import annotations

DOCUMENTATION = r"""
module: palisade_info
short_description: Tells what palisade holds on a host
version_added: "0.1.0"
description:
  - Whether palisade is active and in sync with its policy, who reaches which port, what works against the policy, and who was
    denied. Each is the document that palisade prints with C(--json).
author:
  - The palisade maintainers (@palisade)
attributes:
  check_mode:
    description: It changes nothing.
    support: full
  diff_mode:
    description: It changes nothing.
    support: none
  platform:
    description: Linux with palisade installed.
    platforms: linux
    support: full
options:
  policy:
    description: The path of the policy on the host.
    type: path
    default: /etc/palisade/policy.yaml
  gather:
    description: What to ask. V(doctor) and V(exposure) take longest.
    type: list
    elements: str
    choices: [status, diff, exposure, doctor, denied]
    default: [status, doctor]
  executable:
    description: The program.
    type: path
    default: palisade
"""

EXAMPLES = r"""
- name: What palisade holds
  palisade.palisade.palisade_info:
    gather: [status, exposure, doctor]
  register: palisade

- name: Nobody has changed the rules
  ansible.builtin.assert:
    that: palisade.status.in_sync
"""

RETURN = r"""
version:
  description: The version of palisade on the host.
  returned: always
  type: str
  sample: 0.1.0
status:
  description: What C(palisade status --json) prints.
  returned: when asked for
  type: dict
diff:
  description: What C(palisade diff --json) prints; with C(error) and C(problems) if the policy is not valid.
  returned: when asked for
  type: dict
exposure:
  description: What C(palisade exposure --json) prints.
  returned: when asked for
  type: dict
doctor:
  description: What C(palisade doctor --json) prints.
  returned: when asked for
  type: dict
denied:
  description: What C(palisade denied --json) prints.
  returned: when asked for
  type: dict
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.palisade.palisade.plugins.module_utils.cli import Palisade

# The exit statuses that are answers. A policy that is not valid is one of `diff`.
ANSWERS = dict(status=(0, 3), diff=(0, 1, 2), exposure=(0,), doctor=(0, 2), denied=(0,))


def main():
    module = AnsibleModule(
        argument_spec=dict(
            policy=dict(type="path", default="/etc/palisade/policy.yaml"),
            gather=dict(
                type="list", elements="str", choices=["status", "diff", "exposure", "doctor", "denied"], default=["status", "doctor"]
            ),
            executable=dict(type="path", default="palisade"),
        ),
        supports_check_mode=True,
    )
    palisade = Palisade(module)
    found = dict((what, palisade.ask(module.params["policy"], [what], ANSWERS[what])[1]) for what in module.params["gather"])
    module.exit_json(changed=False, version=palisade.version(), **found)


if __name__ == "__main__":
    main()
