"""Recognise a secret that was written out, and show it without giving it away.

Known tokens are found by their prefix. Unknown ones are found by their texture: a long run without spaces that changes
between capitals, small letters and digits far more often than any name does.
"""

from __future__ import annotations

import itertools
import re

_KNOWN: tuple[tuple[re.Pattern[str], str], ...] = tuple(
    (re.compile(pattern), what)
    for pattern, what in (
        (r"://[^/\s@]*:[^/\s@]+@", "a password inside an address"),
        (r"\bhttps?://[^/\s@]+@", "a credential inside an address"),
        (r"-----BEGIN [A-Z0-9 ]*PRIVATE KEY", "a private key"),
        (r"-----BEGIN ", "a PEM block"),
        (r"PuTTY-User-Key-File-\d", "a private key"),
        (r"AGE-SECRET-KEY-", "an age private key"),
        (r"tskey-[a-z]+-?", "a Tailscale key"),
        (r"\bglc_", "a Grafana Cloud access token"),
        (r"\bglsa_", "a Grafana service account token"),
        (r"\b(gh[pousr]_|github_pat_)", "a GitHub token"),
        (r"\bglpat-", "a GitLab token"),
        (r"\bxox[abeprs]-", "a Slack token"),
        (r"\b(AKIA|ASIA)[A-Z0-9]{8}", "an AWS access key"),
        (r"\beyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]+", "a signed token (JWT)"),
    )
)
_PUBLIC_KEY = re.compile(r"(ssh-[a-z0-9]+|ecdsa-sha2-[a-z0-9]+|sk-[a-z0-9-]+@openssh\.com) [A-Za-z0-9+/=]+( |$)")
_OCID = re.compile(r"ocid1(\.[a-z0-9-]*){4,}", re.IGNORECASE)
_SHA256 = re.compile(r"\b[0-9a-f]{64}\b")
_TOKEN = re.compile(r"[A-Za-z0-9+/=_-]{24,}")
_SENSITIVE_NAME = re.compile(
    r"pass(word|wd|phrase)?$|secret|token|credential|private_key|(auth|api|access|ssh)_?key|_key$"
)

_PATH = re.compile(r"(~|\.{1,2})/|/(data|etc|home|media|mnt|opt|private|root|run|srv|tmp|usr|Users|var|Volumes)/")
_MIN_CHANGES = 8


def secret_kind(text: str) -> str | None:
    """What kind of secret `text` seems to be; None for anything that may stand in the open."""
    for pattern, what in _KNOWN:
        if pattern.search(text):
            return what
    if _PUBLIC_KEY.match(text):
        return None
    in_the_open = _SHA256.sub(" ", _OCID.sub(" ", text))
    if _PATH.match(text):
        in_the_open = in_the_open.replace("/", " ")
    if any(_is_random(token) for token in _TOKEN.findall(in_the_open)):
        return "a long random token"
    return None


def masked(text: str) -> str:
    """At most four characters, and never more than a quarter, so that a short secret shows nothing useful."""
    return f"{text[: min(4, len(text) // 4)]}…"


def names_a_secret(name: str) -> bool:
    """Whether a key of this name would hold something that must not be printed."""
    return bool(_SENSITIVE_NAME.search(name.lower()))


def _is_random(token: str) -> bool:
    classes = ["u" if c.isupper() else "l" if c.islower() else "d" for c in token if c.isalnum()]
    return sum(a != b for a, b in itertools.pairwise(classes)) >= _MIN_CHANGES
