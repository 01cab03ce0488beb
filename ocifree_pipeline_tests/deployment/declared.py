"""Small declarations for tests: a valid one, with some of its sections replaced."""

from __future__ import annotations

import re

from ocifree_pipeline.deployment.loading import parse
from ocifree_pipeline.deployment.problems import InvalidDeclaration, Problem

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIP+W1dHrhQS4tFEs5mqe7hxQC9oWgcIwbQDBlvbfXYkG me@laptop"
RSA_1024 = (
    "ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAAAgQC9G5wUZ49xCzj+jytwGGMZQuD+SmYE2s84clnAjcLfYYbIBG+wreuZuC6yPCskrXP9ET"
    "lSp4JyFNPTuA4IJL8to3TUHPMutcXIWIjkaO5uxifWrvVJJIjz50t245/3VwlkActfFimea1aqSxYdzma60Goq77ESw50Wzh7OWLHnjQ=="
)

SECTIONS = {
    "name": "name: lab\n",
    "site": "site: {region: uk-london-1, account: payg}\n",
    "access": f"access:\n  ssh_public_keys:\n    - {KEY}\n",
    "budget": "budget: {alert_emails: [me@example.org]}\n",
}


def declared(snippet: str = "") -> str:
    """The smallest valid declaration, in which the sections of `snippet` stand instead of its own."""
    written = set(re.findall(r"^([\w-]+):", snippet, re.MULTILINE))
    return "".join(text for name, text in SECTIONS.items() if name not in written) + snippet


def problems_in(text: str) -> tuple[Problem, ...]:
    """Everything that `parse` finds wrong; nothing for a valid declaration."""
    try:
        parse(text)
    except InvalidDeclaration as error:
        return error.problems
    return ()
