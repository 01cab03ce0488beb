"""Who owns which field: managed fields, server-side apply, and its conflicts.

A field is a path of steps as they stand in ``fieldsV1``: ``f:name`` for a member, ``k:{...}`` for an entry of a list
that is a map, ``v:...`` for an entry of a list that is a set. A step for the entry itself counts as a field too.
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

from ocifree_pipeline.sandbox.kubernetes import statuses
from ocifree_pipeline.sandbox.kubernetes.schemas import Node
from ocifree_pipeline.sandbox.kubernetes.trees import Tree, at, clone

Path = tuple[str, ...]
Fields = frozenset[Path]
Operation = Literal["Apply", "Update"]

ITEM = "."
_METADATA_OF_THE_SERVER = (
    "name",
    "generateName",
    "namespace",
    "uid",
    "resourceVersion",
    "generation",
    "creationTimestamp",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "managedFields",
    "selfLink",
)
UNOWNED = frozenset(
    {("f:apiVersion",), ("f:kind",), ("f:metadata",), *(("f:metadata", f"f:{one}") for one in _METADATA_OF_THE_SERVER)}
)


class Untypable(Exception):
    """The object does not fit its schema so far that nobody can own its fields."""


@dataclass(frozen=True, slots=True)
class Manager:
    name: str
    operation: Operation
    api_version: str
    subresource: str = ""

    def said(self, time: str) -> str:
        found = json.dumps(self.name)
        if self.subresource:
            found += f" with subresource {json.dumps(self.subresource)}"
        if self.operation == "Update":
            found += f" using {self.api_version}" + (f" at {time}" if time else "")
        return found


@dataclass(frozen=True, slots=True)
class Share:
    """What one manager owns, and since when it does."""

    fields: Fields
    time: str


Shares = dict[Manager, Share]


# leaves ---------------------------------------------------------------------------------------------------------------


def leaves(tree: Tree, schema: Node) -> dict[Path, Any]:
    """Every field that can be owned, and its value. Untypable names what does not fit."""
    found: dict[Path, Any] = {}
    _collect(tree, schema, (), found)
    return {path: value for path, value in found.items() if path not in UNOWNED}


def _collect(value: Any, node: Node, path: Path, found: dict[Path, Any]) -> None:
    if isinstance(value, dict) and value and not (path and node.is_atomic):
        is_map = node.shape == "map"
        for name, one in value.items():
            child = node.child(name)
            below = (*path, f"f:{name}")
            if child is None:
                raise Untypable(f"{dotted(below)}: field not declared in schema")
            if is_map:
                found[below] = ITEM
            _collect(one, child, below, found)
    elif isinstance(value, list) and node.shape == "list" and not node.is_atomic:
        seen: set[str] = set()
        for entry, step in zip(value, steps(value, node, path), strict=True):
            if step in seen:
                raise Untypable(f"{dotted(path)}: duplicate entries for key {dotted((step,))}")
            seen.add(step)
            below = (*path, step)
            found[below] = ITEM
            if node.list_type == "map":
                _collect(entry, node.items, below, found)
    elif path:
        found[path] = value


def steps(value: list[Any], node: Node, path: Path = ()) -> list[str]:
    """By which step each entry of an associative list is found."""
    if node.list_type != "map":
        return [f"v:{_compact(one)}" for one in value]
    try:
        return [f"k:{_compact(node.key_of(one))}" for one in value]
    except KeyError as error:
        raise Untypable(
            f"{dotted(path)}: element 0: associative list with keys has an element that omits key field {error}"
            " (and doesn't have default value)"
        ) from None


def _compact(value: Any) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"))


def dotted(path: Path) -> str:
    """As messages show a path: ``.spec.containers[name="app"].image``."""
    said = ""
    for step in path:
        kind, _, rest = step.partition(":")
        if kind == "f":
            said += f".{rest}"
        elif kind == "k":
            said += "[" + ",".join(f"{name}={_compact(value)}" for name, value in json.loads(rest).items()) + "]"
        else:
            said += f"[={rest}]"
    return said


# managedFields --------------------------------------------------------------------------------------------------------


def read(entries: Iterable[Tree]) -> Shares:
    found: Shares = {}
    for one in entries:
        manager = Manager(
            one.get("manager", ""), one["operation"], one.get("apiVersion", ""), one.get("subresource", "")
        )
        found[manager] = Share(frozenset(_paths(one.get("fieldsV1") or {}, ())), one.get("time", ""))
    return found


def written(shares: Shares) -> list[Tree]:
    """Appliers first, then the others by age, as an API server lists them."""
    ordered = sorted(shares.items(), key=lambda one: (one[0].operation != "Apply", one[1].time, one[0].name))
    return [
        {
            "manager": manager.name,
            "operation": manager.operation,
            "apiVersion": manager.api_version,
            "time": share.time,
            "fieldsType": "FieldsV1",
            "fieldsV1": _tree(share.fields),
        }
        | ({"subresource": manager.subresource} if manager.subresource else {})
        for manager, share in ordered
        if share.fields
    ]


def _paths(tree: Tree, above: Path) -> Iterable[Path]:
    if not tree and above:
        yield above
    for step, below in tree.items():
        if step == ITEM:
            yield above
        else:
            yield from _paths(below, (*above, step))


def _tree(fields: Fields) -> Tree:
    root: Tree = {}
    for path in sorted(fields):
        here = root
        for step in path:
            here = here.setdefault(step, {})
    # What is owned itself and has owned fields below is marked.
    for path in fields:
        here = root
        for step in path:
            here = here[step]
        if here:
            here[ITEM] = {}
    return root


# changes --------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Difference:
    changed: Fields
    """Added, or of another value."""
    removed: Fields


def difference(old: dict[Path, Any], new: dict[Path, Any]) -> Difference:
    return Difference(
        frozenset(path for path, value in new.items() if path not in old or old[path] != value),
        frozenset(old.keys() - new.keys()),
    )


def updated(shares: Shares, old: Tree, new: Tree, schema: Node, *, manager: Manager, now: str) -> Shares:
    """Who owns what after ``manager`` wrote ``new`` without asking anybody."""
    found = difference(leaves(old, schema), leaves(new, schema))
    if not found.changed and not found.removed:
        return shares
    kept: Shares = {}
    for other, share in shares.items():
        left = share.fields - found.removed if other == manager else share.fields - found.changed - found.removed
        kept[other] = Share(left, share.time)
    own = kept.get(manager, Share(frozenset(), now)).fields | found.changed
    kept[manager] = Share(own, now)
    return {one: share for one, share in kept.items() if share.fields}


def applied(
    shares: Shares, live: Tree, config: Tree, schema: Node, *, manager: Manager, now: str, force: bool
) -> tuple[Tree, Shares]:
    """The object after ``manager`` applied ``config``, and who owns what. Conflicts are refused unless forced."""
    wanted = frozenset(leaves(config, schema))
    before = shares.get(manager, Share(frozenset(), "")).fields
    others = {one: share for one, share in shares.items() if one != manager}
    theirs: Fields = frozenset().union(*(share.fields for share in others.values()))
    merged: Tree = merge(live, config, schema)
    _prune(merged, schema, before - wanted - theirs, wanted | theirs)
    found = difference(leaves(live, schema), leaves(merged, schema))
    conflicts = {one: share.fields & found.changed for one, share in others.items() if share.fields & found.changed}
    if conflicts and not force:
        raise statuses.apply_conflict(
            [
                statuses.Cause("FieldManagerConflict", f"conflict with {one.said(others[one].time)}", dotted(path))
                for one, fields in conflicts.items()
                for path in sorted(fields)
            ]
        )
    kept = {one: Share(share.fields - found.changed - found.removed, share.time) for one, share in others.items()}
    unchanged = manager in shares and before == wanted and not found.changed and not found.removed
    kept[manager] = Share(wanted, shares[manager].time if unchanged else now)
    return merged, {one: share for one, share in kept.items() if share.fields}


def merge(live: Any, config: Any, node: Node) -> Any:
    """``config`` laid over ``live``; what is atomic is replaced, entries of associative lists meet by their keys."""
    if isinstance(live, dict) and isinstance(config, dict) and config and not node.is_atomic:
        merged = dict(live)
        for name, value in config.items():
            child = node.child(name)
            merged[name] = merge(live[name], value, child) if name in live and child is not None else clone(value)
        return merged
    if isinstance(live, list) and isinstance(config, list) and node.shape == "list" and not node.is_atomic:
        return _merged_list(live, config, node)
    return clone(config)


def _merged_list(live: list[Any], config: list[Any], node: Node) -> list[Any]:
    mine = dict(zip(steps(live, node), live, strict=True))
    wanted = dict(zip(steps(config, node), config, strict=True))
    found: list[Any] = []
    placed: set[str] = set()

    def place(step: str) -> None:
        placed.add(step)
        found.append(merge(mine[step], wanted[step], node.items) if step in mine else clone(wanted[step]))

    ahead = iter(wanted)
    for step, entry in mine.items():
        if step not in wanted:
            found.append(entry)
        elif step not in placed:
            # Bring everything that the configuration puts before this entry.
            for other in ahead:
                place(other)
                if other == step:
                    break
    for step in ahead:
        place(step)
    return found


def _prune(tree: Tree, node: Node, given_up: Fields, kept: Fields) -> None:
    """Remove what the manager no longer wants and nobody else owns; parents that became empty go too.

    With an entry of a list goes all that nobody owns in it; an entry that stays keeps its key.
    """
    held = {path[:length] for path in kept for length in range(1, len(path))}
    for path in sorted(given_up, key=len):
        if path in held or _is_key(path):
            continue
        _remove(tree, node, path, kept | held)


def _is_key(path: Path) -> bool:
    """Whether a field is part of the key by which its entry is found."""
    return len(path) > 1 and path[-2].startswith("k:") and path[-1].removeprefix("f:") in json.loads(path[-2][2:])


def _remove(tree: Any, node: Node, path: Path, kept: Iterable[Path]) -> None:
    trail: list[tuple[Any, Any]] = []
    """Containers on the way, and by what each holds the next."""
    here, schema = tree, node
    for step in path:
        place = _place(here, schema, step)
        if place is None:
            return
        # Merging shares what it did not touch with the stored object: copy before cutting.
        below = here[place]
        if isinstance(below, dict):
            below = here[place] = dict(below)
        elif isinstance(below, list):
            below = here[place] = list(below)
        trail.append((here, place))
        schema = (schema.child(step[2:]) if step.startswith("f:") else schema.items) or schema
        here = below
    container, place = trail.pop()
    del container[place]
    for length in range(len(path) - 1, 1, -1):
        container, place = trail.pop()
        if container[place] or path[:length] in kept:
            return
        del container[place]


def _place(here: Any, schema: Node, step: str) -> Any:
    if step.startswith("f:"):
        name = step[2:]
        return name if isinstance(here, dict) and name in here else None
    if not isinstance(here, list):
        return None
    found = steps(here, schema)
    return found.index(step) if step in found else None


def owned_by(tree: Tree, manager: str) -> bool:
    """Whether a manager of that name owns anything of the object."""
    return any(one.get("manager") == manager for one in at(tree, "metadata", "managedFields", default=[]))
