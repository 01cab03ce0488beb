"""The words of a command line, told apart: options with a value, options without, and the rest."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from ocifree_pipeline.sandbox.ceph.site import Refused


@dataclass(frozen=True, slots=True)
class Parsed:
    rest: tuple[str, ...]
    values: dict[str, str] = field(default_factory=dict)
    flags: frozenset[str] = frozenset()


def parse(words: Iterable[str], valued: Iterable[str], flags: Iterable[str] = ()) -> Parsed:
    """Options are named as they are written, with their hyphens. An unknown one is refused."""
    known, plain = frozenset(valued), frozenset(flags)
    rest: list[str] = []
    values: dict[str, str] = {}
    seen: set[str] = set()
    left = list(words)
    while left:
        word = left.pop(0)
        name, equals, value = word.partition("=")
        if name in known:
            if not equals and not left:
                raise Refused(f"option {name} needs a value", 22)
            values[name] = value if equals else left.pop(0)
        elif word in plain:
            seen.add(word)
        elif word.startswith("-") and len(word) > 1 and not word.lstrip("-").isdigit():
            raise Refused(f"Unknown option: {word.lstrip('-')}", 22)
        else:
            rest.append(word)
    return Parsed(tuple(rest), values, frozenset(seen))
