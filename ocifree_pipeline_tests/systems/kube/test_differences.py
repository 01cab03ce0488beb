"""What applying would change is found, and told by its place alone."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from ocifree_pipeline.systems.kube.differences import TAKES_OVER, differences

Tree = dict[str, Any]

LEAVES = st.one_of(st.integers(0, 3), st.text("ab", max_size=2), st.booleans(), st.none())
TREES = st.recursive(
    LEAVES,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.sampled_from("xyz"), inner, max_size=3)),
    max_leaves=8,
)


def around(spec: Any, **metadata: Any) -> Tree:
    return {"apiVersion": "v1", "kind": "A", "metadata": {"name": "n", **metadata}, "spec": spec}


def plain(value: Any) -> Any:
    """As a server keeps it: what is null is not there."""
    if isinstance(value, dict):
        return {key: plain(inner) for key, inner in value.items() if inner is not None}
    return [plain(inner) for inner in value] if isinstance(value, list) else value


@settings(max_examples=60, deadline=None)
@given(TREES, TREES)
def test_two_objects_differ_exactly_when_their_contents_do(one: Any, other: Any) -> None:
    found = differences(around(one), around(other))
    assert (not found) == (plain(one) == plain(other) and type(one) is type(other)) or one == other
    assert all(path.startswith(".spec") for path in found)


def test_what_the_server_writes_does_not_count() -> None:
    before = around({"a": 1}, resourceVersion="1", generation=1, uid="u", creationTimestamp="then")
    after = deepcopy(before) | {"status": {"new": True}}
    after["metadata"] |= {"resourceVersion": "2", "generation": 2}
    assert differences(before, after) == ()


def test_places_and_never_values() -> None:
    before = around({"data": {"password": "hunter1"}, "list": [{"a": 1}, {"a": 2}]})
    after = around({"data": {"password": "hunter2"}, "list": [{"a": 1}, {"a": 3}], "more": 1})
    assert differences(before, after) == (".spec.data.password", ".spec.list[1].a", ".spec.more")


def test_taking_over_is_a_change() -> None:
    def managed(*managers: str) -> Tree:
        entries = [{"manager": name, "fieldsV1": {"f:spec": {}}, "time": str(id(name))} for name in managers]
        return around({"a": 1}, managedFields=entries)

    assert differences(managed("kubectl"), managed("kubectl", "ocifree")) == (TAKES_OVER,)
    assert differences(managed("kubectl", "ocifree"), managed("kubectl", "ocifree")) == ()
    assert differences(managed("ocifree"), managed("ocifree", "other")) == ()
