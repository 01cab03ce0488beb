"""Server-side apply against a small model of ownership that was written without looking at the implementation."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ocifree_pipeline.sandbox.kubernetes import ownership, schemas
from ocifree_pipeline.sandbox.kubernetes.ownership import Manager, Shares
from ocifree_pipeline.sandbox.kubernetes.statuses import Refusal

NOW = "2026-01-01T00:00:00Z"
ENTRY = {"type": "object", "properties": {"name": {"type": "string"}, "value": {"type": "integer"}}}
SCHEMA = schemas.custom(
    {
        "type": "object",
        "properties": {
            "data": {"type": "object", "additionalProperties": {"type": "integer"}},
            "entries": {
                "type": "array",
                "items": ENTRY,
                "x-kubernetes-list-type": "map",
                "x-kubernetes-list-map-keys": ["name"],
            },
            "words": {"type": "array", "items": {"type": "string"}, "x-kubernetes-list-type": "set"},
            "whole": {"type": "array", "items": {"type": "integer"}},
        },
    }
)

# A leaf is what somebody owns: ("data", key), ("entry", name), ("value", name), ("word", text), ("whole",).
Leaf = tuple[str, ...]
small = st.integers(0, 2)
names = st.sampled_from(["a", "b", "c"])
configs = st.fixed_dictionaries(
    {},
    optional={
        "data": st.dictionaries(names, small, min_size=1),
        "entries": st.dictionaries(names, st.one_of(st.none(), small), min_size=1),
        "words": st.sets(names, min_size=1),
        "whole": st.lists(small, min_size=1, max_size=2),
    },
)


def leaves_of(config: dict[str, Any]) -> dict[Leaf, Any]:
    found: dict[Leaf, Any] = {("data", key): value for key, value in config.get("data", {}).items()}
    for name, value in config.get("entries", {}).items():
        found["entry", name] = True
        if value is not None:
            found["value", name] = value
    found |= {("word", one): True for one in config.get("words", ())}
    if "whole" in config:
        found["whole",] = config["whole"]
    return found


def tree_of(config: dict[str, Any]) -> dict[str, Any]:
    tree: dict[str, Any] = {"apiVersion": "x/v1", "kind": "X", "metadata": {"name": "x"}}
    if "data" in config:
        tree["data"] = dict(config["data"])
    if "entries" in config:
        tree["entries"] = [
            {"name": name} | ({} if value is None else {"value": value}) for name, value in config["entries"].items()
        ]
    if "words" in config:
        tree["words"] = sorted(config["words"])
    if "whole" in config:
        tree["whole"] = list(config["whole"])
    return tree


def leaves_in(tree: dict[str, Any]) -> dict[Leaf, Any]:
    found: dict[Leaf, Any] = {("data", key): value for key, value in (tree.get("data") or {}).items()}
    for one in tree.get("entries") or ():
        found["entry", one["name"]] = True
        if "value" in one:
            found["value", one["name"]] = one["value"]
    found |= {("word", one): True for one in tree.get("words") or ()}
    if "whole" in tree:
        found["whole",] = tree["whole"]
    return found


@dataclass
class Model:
    """What stands there, and who wants it so."""

    values: dict[Leaf, Any] = field(default_factory=dict)
    owners: dict[Leaf, set[str]] = field(default_factory=dict)

    def conflicts(self, manager: str, wanted: dict[Leaf, Any]) -> set[tuple[Leaf, str]]:
        changed = [leaf for leaf, value in wanted.items() if self.values.get(leaf) != value]
        return {(leaf, other) for leaf in changed for other in self.owners.get(leaf, set()) - {manager}}

    def apply(self, manager: str, wanted: dict[Leaf, Any]) -> None:
        for leaf, value in wanted.items():
            same = leaf in self.values and self.values[leaf] == value
            self.owners[leaf] = {manager} | (self.owners.get(leaf, set()) if same else set())
            self.values[leaf] = value
        for leaf in [leaf for leaf, owners in self.owners.items() if manager in owners and leaf not in wanted]:
            self.owners[leaf].discard(manager)
            if not self.owners[leaf]:
                self._forget(leaf)

    def update(self, manager: str, leaf: Leaf, value: Any) -> None:
        if self.values.get(leaf) != value:
            self.values[leaf] = value
            self.owners[leaf] = {manager}

    def _forget(self, leaf: Leaf) -> None:
        del self.owners[leaf]
        del self.values[leaf]


def read_owners(shares: Shares) -> dict[Leaf, set[str]]:
    """Ownership as the implementation tells it, in the model's words."""
    found: dict[Leaf, set[str]] = {}
    for manager, share in shares.items():
        for path in share.fields:
            leaf = as_leaf(path)
            if leaf is not None:
                found.setdefault(leaf, set()).add(manager.name)
    return found


def as_leaf(path: tuple[str, ...]) -> Leaf | None:
    import json

    first, rest = path[0].removeprefix("f:"), path[1:]
    if first == "data" and rest:
        return ("data", rest[0].removeprefix("f:"))
    if first == "words" and rest:
        return ("word", json.loads(rest[0].removeprefix("v:")))
    if first == "whole":
        return ("whole",)
    if first == "entries" and rest:
        name = json.loads(rest[0].removeprefix("k:"))["name"]
        if len(rest) == 1:
            return ("entry", name)
        return ("value", name) if rest[1] == "f:value" else None
    return None


applies = st.tuples(st.sampled_from(["ann", "bob", "cy"]), configs, st.booleans())
updates = st.tuples(st.just("dora"), names, small)


@settings(max_examples=150, deadline=None)
@given(st.lists(st.one_of(applies, updates), max_size=8))
def test_random_applies_give_what_the_model_says(steps: list[tuple[Any, Any, Any]]) -> None:
    live: dict[str, Any] = tree_of({})
    shares: Shares = {}
    model = Model()
    for who, what, how in steps:
        if who == "dora":
            new = live | {"data": (live.get("data") or {}) | {what: how}}
            shares = ownership.updated(shares, live, new, SCHEMA, manager=Manager(who, "Update", "x/v1"), now=NOW)
            live = new
            model.update(who, ("data", what), how)
        else:
            wanted = leaves_of(what)
            expected = model.conflicts(who, wanted)
            manager = Manager(who, "Apply", "x/v1")
            if expected and not how:
                with pytest.raises(Refusal) as raised:
                    ownership.applied(shares, live, tree_of(what), SCHEMA, manager=manager, now=NOW, force=False)
                assert raised.value.code == 409
                causes = (raised.value.details or {})["causes"]
                assert {one["message"].split('"')[1] for one in causes} == {other for _, other in expected}
                continue
            live, shares = ownership.applied(shares, live, tree_of(what), SCHEMA, manager=manager, now=NOW, force=how)
            model.apply(who, wanted)
        assert leaves_in(live) == model.values
        assert read_owners(shares) == {leaf: owners for leaf, owners in model.owners.items() if owners}


@settings(max_examples=100, deadline=None)
@given(configs, configs)
def test_what_is_written_down_is_read_back(first: dict[str, Any], second: dict[str, Any]) -> None:
    live, shares = tree_of({}), {}
    for who, config in (("ann", first), ("bob", second)):
        live, shares = ownership.applied(
            shares, live, tree_of(config), SCHEMA, manager=Manager(who, "Apply", "x/v1"), now=NOW, force=True
        )
    assert ownership.read(ownership.written(shares)) == shares


@settings(max_examples=60, deadline=None)
@given(configs)
def test_applying_the_same_again_changes_nothing(config: dict[str, Any]) -> None:
    manager = Manager("ann", "Apply", "x/v1")
    live, shares = ownership.applied({}, tree_of({}), tree_of(config), SCHEMA, manager=manager, now=NOW, force=False)
    again = ownership.applied(
        shares, live, tree_of(config), SCHEMA, manager=manager, now="2027-01-01T00:00:00Z", force=False
    )
    assert again == (live, shares)


def test_entries_keep_the_order_of_who_applies_them_and_foreign_ones_their_place() -> None:
    manager = Manager("ann", "Apply", "x/v1")
    live, shares = ownership.applied(
        {}, tree_of({}), tree_of({"entries": {"a": 1, "b": 2}}), SCHEMA, manager=manager, now=NOW, force=False
    )
    other = Manager("bob", "Apply", "x/v1")
    live, shares = ownership.applied(
        shares, live, tree_of({"entries": {"c": 1, "a": None}}), SCHEMA, manager=other, now=NOW, force=False
    )
    assert [one["name"] for one in live["entries"]] == ["c", "a", "b"]
    live, _ = ownership.applied(
        shares, live, tree_of({"entries": {"b": 2}}), SCHEMA, manager=manager, now=NOW, force=False
    )
    assert live["entries"] == [{"name": "c", "value": 1}, {"name": "a"}, {"name": "b", "value": 2}]


@pytest.mark.parametrize(
    ("tree", "said"),
    [
        ({"spek": 1}, ".spek: field not declared in schema"),
        ({"entries": [{"name": "a"}, {"name": "a"}]}, '.entries: duplicate entries for key [name="a"]'),
        ({"entries": [{"value": 1}]}, "omits key field 'name'"),
    ],
)
def test_what_nobody_can_own_is_named(tree: dict[str, Any], said: str) -> None:
    with pytest.raises(ownership.Untypable, match=r".*") as raised:
        ownership.leaves(tree, SCHEMA)
    assert said in str(raised.value)


def test_a_port_without_a_protocol_is_that_of_tcp() -> None:
    pod = schemas.builtin("", "v1", "Pod")
    manager = Manager("ann", "Apply", "v1")
    container = {"name": "web", "image": "web:1", "ports": [{"containerPort": 80}]}
    config = {"spec": {"containers": [container]}}
    live, shares = ownership.applied({}, {}, config, pod, manager=manager, now=NOW, force=False)
    stored = {"spec": {"containers": [container | {"ports": [{"containerPort": 80, "protocol": "TCP"}]}]}}
    live, _ = ownership.applied(shares, stored, config, pod, manager=manager, now=NOW, force=False)
    assert live["spec"]["containers"][0]["ports"] == [{"containerPort": 80, "protocol": "TCP"}]
