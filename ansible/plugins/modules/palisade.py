#!/usr/bin/python
# Copyright: the palisade maintainers
# GNU General Public License v2.0 or later (see https://www.gnu.org/licenses/old-licenses/gpl-2.0.html)

from __future__ import annotations

DOCUMENTATION = r"""
module: palisade
short_description: Makes a host obey its palisade policy
version_added: "0.1.0"
description:
  - Writes a policy and the files that it names, and loads it in one transaction. What was loaded by hand in between is undone.
  - Nothing is written and nothing is loaded unless palisade accepts the policy on this host, its expectations and your SSH session
    included.
author:
  - The palisade maintainers (@palisade)
attributes:
  check_mode:
    description: Nothing is changed, and it fails where it would fail otherwise.
    support: full
  diff_mode:
    description: What changes in the kernel, and who gains and loses access.
    support: full
  platform:
    description: Linux with palisade installed.
    platforms: linux
    support: full
options:
  policy:
    description: The path of the policy on the host.
    type: path
    default: /etc/palisade/policy.yaml
  content:
    description:
      - The text of the policy. Without it, the policy that is there is applied.
      - In check mode an earlier task has written nothing, so that only a policy that is given here can be tried before it is there.
    type: str
  files:
    description:
      - Files that the policy names, by their paths beside it. Those that are not given here are taken as they are on the host.
    type: dict
    default: {}
  state:
    description:
      - V(applied) makes the kernel hold the policy.
      - V(checked) says whether it would be accepted, and changes nothing.
      - V(confirmed) keeps what waits for confirmation, by the connection that the task comes over, which has to be a new one.
      - V(absent) removes palisade's rules. The policy stays.
    type: str
    choices: [applied, checked, confirmed, absent]
    default: applied
  confirm:
    description:
      - The seconds after which the change is undone unless it is confirmed, at least 5. V(0) keeps it at once.
      - The host undoes it by itself, whether Ansible lives or not.
    type: int
    default: 0
  force:
    description: Loads the policy although it would lock your SSH session out, or does not fit the host.
    type: bool
    default: false
  executable:
    description: The program.
    type: path
    default: palisade
"""

EXAMPLES = r"""
- name: The host obeys its policy
  palisade.palisade.palisade:
    content: "{{ lookup('ansible.builtin.template', 'policy.yaml.j2') }}"
    confirm: 60
  register: loaded

- name: Forget the old connection
  ansible.builtin.meta: reset_connection

- name: A new connection comes through
  ansible.builtin.wait_for_connection:
    timeout: 30

- name: Keep it
  palisade.palisade.palisade:
    state: confirmed

- name: A policy with a list of its own
  palisade.palisade.palisade:
    content: "{{ lookup('ansible.builtin.file', 'policy.yaml') }}"
    files:
      drop.txt: "{{ lookup('ansible.builtin.file', 'drop.txt') }}"
"""

RETURN = r"""
in_sync:
  description: Whether the kernel held the policy before.
  returned: when O(state=applied)
  type: bool
operations:
  description: How many operations were sent to the kernel.
  returned: when O(state=applied), and not in check mode
  type: int
access:
  description: Who gains and who loses access, as C(palisade diff --json) has it.
  returned: when O(state=applied)
  type: list
  elements: dict
pending:
  description: The change that waits for confirmation; null if none does.
  returned: when O(state=applied)
  type: dict
problems:
  description: What is wrong with the policy, each with its file, line, column and a remedy.
  returned: when the policy is refused
  type: list
  elements: dict
"""

import os

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.common.text.converters import to_bytes
from ansible_collections.palisade.palisade.plugins.module_utils.cli import Palisade, in_words

# How large a file is that is taken along to where a policy is tried.
MOST_BYTES = 256 << 20


def read(path):
    """What a file holds; None if there is none."""
    try:
        with open(path, "rb") as file:
            return file.read()
    except FileNotFoundError:
        return None


def write(path, content):
    """Writes a file that root alone can write, and the folders above it."""
    os.makedirs(os.path.dirname(path), mode=0o755, exist_ok=True)
    with open(path, "wb") as file:
        file.write(content)
    os.chmod(path, 0o644)


class Policy:
    """The policy of a host, and what is to take its place."""

    def __init__(self, module):
        self.module = module
        self.palisade = Palisade(module)
        self.path = module.params["policy"]
        self.folder = os.path.dirname(os.path.abspath(self.path))
        self.wanted = {}
        for name, content in module.params["files"].items():
            path = os.path.normpath(os.path.join(self.folder, name))
            if os.path.isabs(name) or not path.startswith(os.path.join(self.folder, "")):
                module.fail_json(msg="files: %s is not beside the policy" % name)
            self.wanted[path] = to_bytes(content)
        if module.params["content"] is not None:
            self.wanted[os.path.abspath(self.path)] = to_bytes(module.params["content"])
        self.before = dict((path, read(path)) for path in self.wanted)

    def changed(self):
        """The files that are not as they shall be."""
        return sorted(path for path in self.wanted if self.wanted[path] != self.before[path])

    def staged(self):
        """The path of the policy as it shall be: in a folder of its own, beside all that it names."""
        if not self.changed():
            return self.path
        policy = os.path.abspath(self.path)
        text = self.wanted.get(policy)
        if text is None:
            text = read(policy)
        if text is None:
            self.module.fail_json(msg="%s does not exist: give its text as `content`" % self.path)
        scratch = os.path.join(self.module.tmpdir, "palisade")
        self.palisade.scratch, self.palisade.folder = scratch, self.folder
        for path in sorted(set(self.wanted) | set(self.named(text))):
            content = self.wanted.get(path)
            write(os.path.join(scratch, os.path.relpath(path, self.folder)), read(path) if content is None else content)
        write(os.path.join(scratch, os.path.basename(policy)), text)
        return os.path.join(scratch, os.path.basename(policy))

    def named(self, text):
        """The files beside the policy whose names are in its text, in that of a file that is given, or in that of one of them."""
        beside = [os.path.join(folder, name) for folder, dummy, names in os.walk(self.folder) for name in names]
        texts, found = [text] + list(self.wanted.values()), set()
        while texts:
            new = set(
                path
                for path in beside
                if path not in found
                and any(to_bytes(os.path.basename(path)) in one for one in texts)
                and os.path.isfile(path)
                and os.path.getsize(path) < MOST_BYTES
            )
            found |= new
            # Files that are included may name others.
            texts = [read(path) for path in sorted(new) if path.endswith((".yaml", ".yml"))]
        return found

    def put(self):
        """Writes what is to be changed, each file whole or not at all."""
        for path in self.changed():
            self.place(path, self.wanted[path])

    def put_back(self):
        """Writes what was there: a policy that was not loaded must not be what the next boot loads."""
        for path in self.changed():
            if self.before[path] is None:
                os.remove(path)
            else:
                self.place(path, self.before[path])

    def place(self, path, content):
        scratch = os.path.join(self.module.tmpdir, "palisade-new")
        write(scratch, content)
        os.makedirs(os.path.dirname(path), mode=0o755, exist_ok=True)
        self.module.atomic_move(scratch, path)
        os.chmod(path, 0o644)


def tried(policy):
    """What `apply` would do with the policy as it shall be. Fails where it would be refused."""
    module, staged = policy.module, policy.staged()
    force = ["--force"] if module.params["force"] else []
    status, plan = policy.palisade.ask(staged, ["apply", "--dry-run"] + force, (0, 4))
    if status == 4:
        reasons = plan.get("refused") or []
        module.fail_json(msg="the policy is refused: %s" % " ".join(reasons), refused=reasons, rc=status)
    return staged, plan


def difference(policy, staged, in_sync):
    """What `--diff` shows: palisade's own, with who gains and who loses access."""
    names = policy.changed()
    text = "".join("%s changes\n" % name for name in names)
    if not in_sync:
        text += policy.palisade.text(staged, ["diff"])[1]
    return {"prepared": text}


def applied(policy):
    module = policy.module
    staged, plan = tried(policy)
    in_sync = not plan["changes"]
    result = dict(changed=bool(policy.changed()) or not in_sync, in_sync=in_sync, access=plan["access"], pending=None)
    if module._diff:
        result["diff"] = difference(policy, staged, in_sync)
    for warning in plan.get("warnings") or []:
        module.warn(in_words(warning))
    if module.check_mode:
        return result
    arguments = ["apply"]
    if module.params["confirm"]:
        arguments += ["--confirm", "%ds" % module.params["confirm"]]
    if module.params["force"]:
        arguments.append("--force")
    policy.put()
    status, done, err = run(policy, arguments)
    if status != 0:
        policy.put_back()
        policy.palisade.fail(done, err, status)
    result.update(operations=done["operations"], pending=done.get("confirm"))
    result["changed"] = result["changed"] or done["operations"] > 0
    return result


def run(policy, arguments):
    """Like `Palisade.ask`, but a failure is an answer, too."""
    status, out, err = policy.palisade.run(policy.path, ["--json"] + arguments)
    try:
        return status, policy.module.from_json(out), err
    except ValueError:
        return status or 1, {}, err or out


def checked(policy):
    dummy, found = policy.palisade.ask(policy.staged(), ["check"])
    for warning in found.get("warnings") or []:
        policy.module.warn(in_words(warning))
    return dict(changed=False)


def confirmed(policy):
    dummy, status = policy.palisade.ask(policy.path, ["status"], (0, 3))
    waits = status.get("undone_in") is not None
    if waits and not policy.module.check_mode:
        policy.palisade.ask(policy.path, ["confirm"])
    return dict(changed=waits)


def absent(policy):
    dummy, status = policy.palisade.ask(policy.path, ["status"], (0, 3))
    if status["active"] and not policy.module.check_mode:
        policy.palisade.ask(policy.path, ["disable", "--yes"])
    return dict(changed=status["active"])


def main():
    module = AnsibleModule(
        argument_spec=dict(
            policy=dict(type="path", default="/etc/palisade/policy.yaml"),
            content=dict(type="str"),
            files=dict(type="dict", default={}),
            state=dict(type="str", choices=["applied", "checked", "confirmed", "absent"], default="applied"),
            confirm=dict(type="int", default=0),
            force=dict(type="bool", default=False),
            executable=dict(type="path", default="palisade"),
        ),
        supports_check_mode=True,
    )
    states = dict(applied=applied, checked=checked, confirmed=confirmed, absent=absent)
    module.exit_json(**states[module.params["state"]](Policy(module)))


if __name__ == "__main__":
    main()
