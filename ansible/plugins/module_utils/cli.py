# Copyright: the palisade maintainers
# GNU General Public License v2.0 or later (see https://www.gnu.org/licenses/old-licenses/gpl-2.0.html)
"""How the modules talk to palisade: one command, one document of JSON."""

from __future__ import annotations

import json


class Palisade:
    """The palisade of a host."""

    def __init__(self, module):
        self.module = module
        self.program = module.get_bin_path(module.params["executable"], required=True)
        # Where a policy is tried, and where it shall be: people know the second.
        self.scratch = self.folder = ""

    def run(self, policy, arguments):
        """Runs a command. Returns its status and both streams, in which a policy that is tried has its own path."""
        status, out, err = self.module.run_command([self.program, "--color", "never", "--policy", policy] + arguments)
        if self.scratch:
            out, err = (text.replace(self.scratch, self.folder) for text in (out, err))
        return status, out, err

    def version(self):
        """The version of the program."""
        status, out, err = self.module.run_command([self.program, "--version"])
        words = out.split()
        if status != 0 or not words:
            self.module.fail_json(msg="palisade does not say its version: %s" % (err or out).strip(), rc=status)
        return words[-1]

    def text(self, policy, arguments):
        """Runs a command for people. Returns its status and its standard output."""
        status, out, dummy = self.run(policy, arguments)
        return status, out

    def ask(self, policy, arguments, answers=(0,)):
        """Runs a command and returns its status and its document. Fails unless the status is an answer."""
        status, out, err = self.run(policy, ["--json"] + arguments)
        try:
            document = json.loads(out)
        except ValueError:
            self.module.fail_json(
                msg="palisade %s does not answer in JSON: %s" % (" ".join(arguments), (err or out).strip()),
                rc=status,
            )
        if status not in answers:
            self.fail(document, err, status)
        return status, document

    def fail(self, document, err, status):
        """Ends the module with what palisade says, the first problem with its line before all others."""
        problems = document.get("problems") or []
        message = document.get("error") or err.strip() or "palisade has failed"
        if problems:
            message = in_words(problems[0])
            if len(problems) > 1:
                message += " (and %d more)" % (len(problems) - 1)
        self.module.fail_json(msg=message, problems=problems, rc=status, stderr=err)


def in_words(problem):
    """A problem as a line: policy.yaml:4: what is wrong; what to write."""
    place = problem.get("file") or ""
    if problem.get("line"):
        place += ":%d" % problem["line"]
    text = problem["message"]
    if problem.get("help"):
        text += "; " + problem["help"]
    return "%s: %s" % (place, text) if place else text
