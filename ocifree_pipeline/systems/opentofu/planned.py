"""What a plan of OpenTofu says: what would be done, what all of it costs, and what would be lost."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ocifree_pipeline.deployment.convergence import CannotChange, Change, Found
from ocifree_pipeline.deployment.errors import Refused
from ocifree_pipeline.deployment.pricing import TOFU_TYPES, Item

Json = Mapping[str, Any]

MAY_GO = frozenset({"security_rule", "dns_record"})
"""A door is closed and a name points elsewhere by deleting them; they are remade in a second. Nothing else is."""

FIXED = frozenset({"compartment_id", "cidr_block", "cidr_blocks"})
"""The provider could change these in place; addresses of machines hang on them, so neither engine does."""

_QUIET = frozenset({"no-op", "read"})
_LONGEST = 200


@dataclass(frozen=True, slots=True)
class Creation:
    """A resource that the plan would make."""

    type: str
    address: str
    index: str
    after: Json


@dataclass(frozen=True, slots=True)
class Planned:
    """`items` are all resources that are to stand, changed or not. `found` is what stands, as far as it is known."""

    lines: tuple[str, ...]
    creations: tuple[Creation, ...]
    lost: tuple[str, ...]
    items: tuple[Item, ...]
    found: Mapping[str, Found]

    @property
    def is_noop(self) -> bool:
        return not self.lines

    def require_nothing_lost(self) -> None:
        """CannotChange if anything would be deleted, replaced, which is the same, or moved to other addresses."""
        if self.lost:
            raise CannotChange(
                f"what OpenTofu would have to delete or to move: {'; '.join(self.lost)}",
                why="the declaration no longer has it, or wants it otherwise than it was made; machines hang on it, "
                "and it is never replaced by itself",
                fix="put the old value back into the declaration; if nothing needs it, delete it at Oracle, and the "
                "next plan forgets it",
            )


def planned_of(document: Json) -> Planned:
    """Read the document of `tofu show -json PLAN`. Nothing that the provider calls sensitive is kept."""
    if str(document.get("format_version", "")).split(".")[0] != "1" or document.get("errored"):
        raise Refused(
            "OpenTofu's plan cannot be read",
            why=f"format {document.get('format_version')!r}, and this program knows 1.x"
            if not document.get("errored")
            else "the plan is incomplete",
            fix="use an OpenTofu of the versions in tofu/oci/README.md",
        )
    changes = [one for one in document.get("resource_changes", ()) if one.get("mode") == "managed"]
    gone = {
        one["address"]
        for one in document.get("resource_drift", ())
        if "delete" in one.get("change", {}).get("actions", ())
    }
    planned_values = document.get("planned_values", {})
    return Planned(
        lines=tuple(line for one in changes for line in _lines(one, gone)),
        creations=tuple(_creation(one) for one in changes if one["change"]["actions"] == ["create"]),
        lost=tuple(line for one in changes for line in _losses(one)),
        items=tuple(_item(one) for one in _resources(planned_values.get("root_module", {}))),
        found={
            role: _found(one)
            for output in planned_values.get("outputs", {}).values()
            if not output.get("sensitive") and isinstance(output.get("value"), Mapping)
            for role, one in output["value"].items()
        },
    )


def _lines(change: Json, gone: set[str]) -> Iterator[str]:
    actions, named = change["change"]["actions"], f"{_kind(change).replace('_', ' ')} {_name(change)}"
    if change["change"].get("importing"):
        yield f"take over {named}" + "".join(f"; {one}" for one in _differences(change["change"]))
    elif actions == ["create"]:
        yield f"create {named}" + (", which somebody has deleted" if change["address"] in gone else "")
    elif actions == ["update"]:
        differences = tuple(_differences(change["change"]))
        yield from (f"change {named}: {one}" for one in differences)
        if not differences:
            yield f"change {named}"
    elif "delete" in actions and "create" in actions:
        yield f"delete {named} and make it anew"
    elif not set(actions) <= _QUIET:
        yield f"{' and '.join(actions)} {named}"


def _losses(change: Json) -> Iterator[str]:
    actions = change["change"]["actions"]
    if "delete" in actions and _kind(change) not in MAY_GO:
        yield change["address"]
    elif actions == ["update"]:
        for one in _differences(change["change"]):
            if one.name in FIXED:
                yield f"{change['address']}, {one}"


def _differences(change: Json) -> Iterator[Change]:
    before, after = change.get("before") or {}, change.get("after") or {}
    secret = _flagged(change.get("before_sensitive")) | _flagged(change.get("after_sensitive"))
    unknown = _flagged(change.get("after_unknown"))
    for name in sorted({*before, *after}):
        if name in secret:
            if before.get(name) != after.get(name):
                yield Change(name, "(kept secret)", "(kept secret)")
        elif name in unknown:
            yield Change(name, _told(before.get(name)), "known after the change")
        elif before.get(name) != after.get(name):
            yield Change(name, _told(before.get(name)), _told(after.get(name)))


def _told(value: Any) -> Any:
    """Lists are sets to Oracle, and are shown by what is added and what goes."""
    if isinstance(value, list):
        return tuple(one if isinstance(one, str) else _compact(one) for one in value)
    return value if isinstance(value, str | int | float | bool | None) else _compact(value)


def _compact(value: Any) -> str:
    if isinstance(value, Mapping):
        value = {key: inner for key, inner in value.items() if inner not in (None, "", [], {})}
    return json.dumps(value, sort_keys=True)[:_LONGEST]


def _creation(change: Json) -> Creation:
    return Creation(
        change["type"], change["address"], str(change.get("index", "")), _public(change["change"], "after_sensitive")
    )


def _public(change: Json, flags: str) -> Json:
    secret = _flagged(change.get(flags))
    return {name: value for name, value in (change.get("after") or {}).items() if name not in secret}


def _resources(module: Json) -> Iterator[Json]:
    yield from (one for one in module.get("resources", ()) if one.get("mode") == "managed")
    for child in module.get("child_modules", ()):
        yield from _resources(child)


def _item(resource: Json) -> Item:
    """What is not known yet is left out by OpenTofu itself; what is secret, by us. Both make it not free."""
    secret = _flagged(resource.get("sensitive_values"))
    values = {name: value for name, value in (resource.get("values") or {}).items() if name not in secret}
    return Item(_kind(resource), _name(resource), values)


def _kind(resource: Json) -> str:
    return TOFU_TYPES.get(resource["type"], resource["type"])


def _name(resource: Json) -> str:
    """As a person knows it: its name at Oracle, else its key in the module (rules say there what they do)."""
    change = resource.get("change") or {}
    values = resource.get("values") or change.get("after") or change.get("before") or {}
    for name in ("display_name", "name", "domain"):
        if isinstance(values.get(name), str):
            return str(values[name])
    index = resource.get("index")
    return index if isinstance(index, str) else str(resource["address"])


def _flagged(flags: Any) -> frozenset[str]:
    """The attributes that are flagged, in whole or in part."""
    if not isinstance(flags, Mapping):
        return frozenset()
    return frozenset(name for name, flag in flags.items() if _is_set(flag))


def _is_set(flag: Any) -> bool:
    if isinstance(flag, Mapping):
        return any(_is_set(inner) for inner in flag.values())
    if isinstance(flag, Sequence) and not isinstance(flag, str):
        return any(_is_set(inner) for inner in flag)
    return bool(flag)


def _found(one: Json) -> Found:
    return Found(
        id=one.get("id") or "",
        name=one.get("name") or "",
        is_ours=one.get("is_ours", True),
        values=_plain(one.get("values") or {}),
        attributes=_plain(one.get("attributes") or {}),
        tags=dict(one.get("tags") or {}),
    )


def _plain(values: Json) -> dict[str, Any]:
    return {name: tuple(value) if isinstance(value, list) else value for name, value in values.items()}
