"""Metrics as programs expose them: the text format of Prometheus."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

SAMPLE = re.compile(
    r'(?P<name>[a-zA-Z_:][a-zA-Z0-9_:]*)\s*(?:\{(?P<labels>(?:[^"{}]|"(?:[^"\\]|\\.)*")*)\}\s*|\s)'
    r"\s*(?P<value>[^\s#]+)(?:\s+(?P<time>-?\d+))?\s*(?:#.*)?"
)
PAIR = re.compile(r'\s*([a-zA-Z_][a-zA-Z0-9_]*)\s*=\s*"((?:[^"\\]|\\.)*)"\s*(?:,|$)')
_ESCAPED = {r"\\": "\\", r"\"": '"', r"\n": "\n"}


class NotExposition(ValueError):
    """A line that is no sample."""


@dataclass(frozen=True, slots=True)
class Sample:
    """Labels with `__name__`, and the value."""

    labels: dict[str, str]
    value: float


def samples(text: str) -> Iterator[Sample]:
    """Every sample of a page of metrics; comments say nothing that counts here."""
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        match = SAMPLE.fullmatch(line.strip())
        if match is None:
            raise NotExposition(f"line {number} is no sample: {line[:80]!r}")
        try:
            value = float(match["value"])
        except ValueError:
            raise NotExposition(f"line {number}: {match['value']!r} is no number") from None
        yield Sample({"__name__": match["name"], **_pairs(match["labels"] or "", number)}, value)


def _pairs(text: str, number: int) -> dict[str, str]:
    found, at = {}, 0
    while text[at:].strip():
        match = PAIR.match(text, at)
        if match is None:
            raise NotExposition(f"line {number}: labels break off at {text[at:][:40]!r}")
        found[match[1]] = re.sub(r"\\[\\\"n]", lambda one: _ESCAPED[one[0]], match[2])
        at = match.end()
    return found
