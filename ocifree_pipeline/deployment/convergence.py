"""From what is wanted and what was found to the steps between. Pure: the same for every kind of resource.

A resource is known by its role within the deployment (`subnet/public`), never by its name. What differs is changed in
place. What cannot be changed in place is never replaced: other things hang on it, and some of them never come back.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Literal

from ocifree_pipeline.deployment.errors import NeedsConfirmation

_NOTHING: Mapping[str, Any] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Ref:
    """The OCID of another resource, or one of its attributes, known once that one stands."""

    role: str
    attribute: str = "id"

    def __str__(self) -> str:
        return self.role if self.attribute == "id" else f"the {self.attribute} of {self.role}"


@dataclass(frozen=True, slots=True)
class InOrder:
    """Lines whose order has a meaning. Plain tuples are compared as sets."""

    lines: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Wanted:
    """A resource that is to stand. `fixed` holds for its life; `fields` can be changed in place.

    `comes_with` names the resource that brings it along: it is never made, only taken over. `if_named_so` says what
    becomes of one that has the name and not our tags: `take over` when the rest fits too (somebody lost the tags),
    `use` as it is, `refuse` where names are unique and it must be somebody else's.
    """

    kind: str
    role: str
    name: str
    fixed: Mapping[str, Any] = field(default_factory=lambda: _NOTHING)
    fields: Mapping[str, Any] = field(default_factory=lambda: _NOTHING)
    comes_with: str | None = None
    if_named_so: Literal["take over", "use", "refuse"] = "take over"

    def __str__(self) -> str:
        return f"{self.kind.replace('_', ' ')} {self.name}"


@dataclass(frozen=True, slots=True)
class Found:
    """A resource that stands. `is_ours` is false for one that is not ours yet and may be taken over."""

    id: str
    name: str
    is_ours: bool
    state: str = "AVAILABLE"
    values: Mapping[str, Any] = field(default_factory=lambda: _NOTHING)
    attributes: Mapping[str, Any] = field(default_factory=lambda: _NOTHING)
    tags: Mapping[str, str] = field(default_factory=lambda: _NOTHING)

    def attribute(self, name: str) -> Any:
        return self.id if name == "id" else self.attributes[name]


@dataclass(frozen=True, slots=True)
class Change:
    """One field that is not as it should be."""

    name: str
    was: Any
    wants: Any

    def __str__(self) -> str:
        was, wants = _as_set(self.was), _as_set(self.wants)
        if was is not None and wants is not None:
            added = [f"+ {one}" for one in wants if one not in was]
            gone = [f"- {one}" for one in was if one not in wants]
            return f"{self.name}: " + (", ".join([*added, *gone]) or "order or number")
        return f"{self.name}: {_shown(self.was)} -> {_shown(self.wants)}"


@dataclass(frozen=True, slots=True)
class Step:
    """What is to be done about one resource."""

    action: Literal["create", "update", "adopt", "keep"]
    wanted: Wanted
    found: Found | None = None
    changes: tuple[Change, ...] = ()

    def lines(self) -> Iterator[str]:
        if self.action == "create":
            told = [*_told(self.wanted.fixed), *_told(self.wanted.fields)]
            yield f"create {self.wanted}" + (f": {', '.join(told)}" if told else "")
        elif self.action == "adopt":
            yield f"take over {self.wanted}" + "".join(f"; {change}" for change in self.changes)
        elif self.action == "update":
            yield from (f"change {self.wanted}: {change}" for change in self.changes)


class CannotChange(NeedsConfirmation):
    """It differs in something that Oracle fixes when the resource is made."""


def steps_between(wanted: Sequence[Wanted], found: Mapping[str, Found]) -> tuple[Step, ...]:
    """One step for each wanted resource, in the same order. CannotChange if one would have to be replaced."""
    steps, stuck = [], []
    roles = _roles_of(found)
    for one in wanted:
        there = found.get(one.role)
        if there is None:
            comes_with = one.comes_with is not None
            steps.append(Step("adopt" if comes_with else "create", one))
            continue
        has = {**_in_roles(there.values, roles), "name": there.name}
        stuck += [(one, change) for change in _differences(one.fixed, has)]
        changes = tuple(_differences({"name": one.name, **one.fields}, has))
        action: Literal["adopt", "update", "keep"] = "adopt" if not there.is_ours else "update" if changes else "keep"
        steps.append(Step(action, one, there, changes))
    if stuck:
        raise CannotChange(
            "; ".join(f"{one} is as it was made and cannot become what is declared: {change}" for one, change in stuck),
            why="Oracle fixes this when the resource is made, machines hang on it, and it is never replaced by itself",
            fix="put the old value back into the declaration, or give the deployment another name and move over",
        )
    return tuple(steps)


def lines_of(steps: Sequence[Step]) -> tuple[str, ...]:
    """The plan as a person reads it; empty if there is nothing to do."""
    return tuple(line for step in steps for line in step.lines())


def resolve(value: Any, found: Mapping[str, Found]) -> Any:
    """The value with every Ref to something that stands put in place; a Ref to something else stays."""
    return _rebuilt(
        value,
        lambda leaf: (
            found[leaf.role].attribute(leaf.attribute) if isinstance(leaf, Ref) and leaf.role in found else leaf
        ),
    )


def refs_in(value: Any) -> Iterator[Ref]:
    """The Refs in a value, at any depth."""
    seen: list[Ref] = []
    _rebuilt(value, lambda leaf: seen.append(leaf) if isinstance(leaf, Ref) else None)
    yield from seen


def _roles_of(found: Mapping[str, Found]) -> Mapping[str, Ref]:
    """What stands, by its OCID and its address: plans speak of roles, which a person knows, not of OCIDs."""
    roles = {one.id: Ref(role) for role, one in found.items()}
    roles |= {
        one.attributes["address"]: Ref(role, "address") for role, one in found.items() if "address" in one.attributes
    }
    return roles


def _in_roles(value: Any, roles: Mapping[str, Ref]) -> Any:
    return _rebuilt(value, lambda leaf: roles.get(leaf, leaf) if isinstance(leaf, str) else leaf)


def _rebuilt(value: Any, change: Callable[[Any], Any]) -> Any:
    """The value with every leaf of its mappings, tuples and dataclasses passed through `change`."""
    if isinstance(value, Ref):
        return change(value)
    if isinstance(value, Mapping):
        return {key: _rebuilt(inner, change) for key, inner in value.items()}
    if isinstance(value, tuple):
        return tuple(_rebuilt(inner, change) for inner in value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return dataclasses.replace(
            value, **{one.name: _rebuilt(getattr(value, one.name), change) for one in dataclasses.fields(value)}
        )
    return change(value)


def _differences(wants: Mapping[str, Any], has: Mapping[str, Any]) -> Iterator[Change]:
    for name, value in wants.items():
        was = has.get(name)
        # Rules and the like are sets to Oracle; the order in which it lists them means nothing.
        are_sets = isinstance(value, tuple) and isinstance(was, tuple)
        if Counter(value) != Counter(was) if are_sets else value != was:
            yield Change(name, was, value)


def _as_set(value: Any) -> tuple[Any, ...] | None:
    if isinstance(value, InOrder):
        return value.lines
    return value if isinstance(value, tuple) else None


def _told(values: Mapping[str, Any]) -> Iterator[str]:
    """What a person wants to know of something new: not which other new things it belongs to."""
    for name, value in values.items():
        some = _as_set(value)
        if some is not None:
            yield from (str(one) for one in some if not isinstance(one, Ref))
        elif not isinstance(value, Ref):
            yield f"{name} {value}"


def _shown(value: Any) -> str:
    return "nothing" if value is None else str(value)
