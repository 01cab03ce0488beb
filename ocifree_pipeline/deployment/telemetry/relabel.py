"""Relabelling as Prometheus and Alloy do it: rules that keep, drop and rewrite label sets, one after the other."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from ocifree_pipeline.deployment.telemetry.syntax import Block, Invalid

Labels = Mapping[str, str]
ACTIONS = (
    "replace",
    "keep",
    "drop",
    "keepequal",
    "dropequal",
    "labelmap",
    "labeldrop",
    "labelkeep",
    "lowercase",
    "uppercase",
    "hashmod",
)
_GROUP = re.compile(r"\$(\d+|\{\d+\}|[A-Za-z_]\w*|\{[A-Za-z_]\w*\})|\$\$")


@dataclass(frozen=True, slots=True)
class Rule:
    """One `rule` block. The regular expression has to match the whole value."""

    action: str = "replace"
    source_labels: tuple[str, ...] = ()
    separator: str = ";"
    regex: str = "(.*)"
    target_label: str = ""
    replacement: str = "$1"
    modulus: int = 0
    pattern: re.Pattern[str] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "pattern", compiled(self.regex))

    def apply(self, labels: dict[str, str]) -> dict[str, str] | None:
        """The labels afterwards; None when the rule drops them."""
        value = self.separator.join(labels.get(name, "") for name in self.source_labels)
        match self.action:
            case "keep":
                return labels if self.pattern.fullmatch(value) else None
            case "drop":
                return None if self.pattern.fullmatch(value) else labels
            case "keepequal":
                return labels if labels.get(self.target_label, "") == value else None
            case "dropequal":
                return None if labels.get(self.target_label, "") == value else labels
            case "replace":
                found = self.pattern.fullmatch(value)
                if found is None:
                    return labels
                return _with(labels, _expanded(found, self.target_label), _expanded(found, self.replacement))
            case "lowercase":
                return _with(labels, self.target_label, value.lower())
            case "uppercase":
                return _with(labels, self.target_label, value.upper())
            case "hashmod":
                digest = hashlib.md5(value.encode(), usedforsecurity=False).digest()
                return _with(labels, self.target_label, str(int.from_bytes(digest[8:], "big") % self.modulus))
            case "labeldrop":
                return {name: text for name, text in labels.items() if not self.pattern.fullmatch(name)}
            case "labelkeep":
                return {name: text for name, text in labels.items() if self.pattern.fullmatch(name)}
        mapped = dict(labels)
        for name, text in labels.items():
            found = self.pattern.fullmatch(name)
            if found is not None:
                mapped[_expanded(found, self.replacement)] = text
        return mapped


def relabelled(labels: Labels, rules: Iterable[Rule]) -> dict[str, str] | None:
    """What all the rules make of the labels; None when one of them drops them. Empty values are no labels."""
    found: dict[str, str] | None = dict(labels)
    for rule in rules:
        found = rule.apply(found) if found is not None else None
    return None if found is None else {name: value for name, value in found.items() if value}


def rules_of(block: Block) -> tuple[Rule, ...]:
    """The `rule` blocks inside of a relabelling component."""
    return tuple(_rule(one) for one in block.all("rule"))


def _rule(block: Block) -> Rule:
    given: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value for name, value in block.attributes.items()
    }
    try:
        rule = Rule(**given)
    except TypeError as error:
        raise Invalid(block.line, f"unrecognized attribute in rule: {error}") from error
    except re.error as error:
        raise Invalid(block.line, f"invalid regex {given.get('regex')!r}: {error}") from error
    if rule.action not in ACTIONS:
        raise Invalid(block.line, f"unknown relabel action {rule.action!r}")
    if (
        rule.action in {"replace", "lowercase", "uppercase", "hashmod", "keepequal", "dropequal"}
        and not rule.target_label
    ):
        raise Invalid(block.line, f"relabel action {rule.action} needs target_label")
    if rule.action == "hashmod" and not rule.modulus:
        raise Invalid(block.line, "relabel action hashmod needs modulus")
    return rule


@lru_cache(maxsize=1024)
def compiled(regex: str) -> re.Pattern[str]:
    """Go's syntax is nearly Python's; `.` does not match a line break in either."""
    return re.compile(regex)


def _with(labels: dict[str, str], name: str, value: str) -> dict[str, str]:
    if value:
        return {**labels, name: value}
    return {key: text for key, text in labels.items() if key != name}


def _expanded(found: re.Match[str], template: str) -> str:
    """`$1`, `${1}` and `$name`; a group that is not there is empty, `$$` is a dollar."""

    def value(one: re.Match[str]) -> str:
        if one[0] == "$$":
            return "$"
        name = one[1].strip("{}")
        try:
            return found[int(name) if name.isdigit() else name] or ""
        except IndexError:
            return ""

    return _GROUP.sub(value, template)
