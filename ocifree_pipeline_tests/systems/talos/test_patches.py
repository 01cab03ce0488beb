"""Patches as Talos merges them, and what must hold whatever they say."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ocifree_pipeline.systems.talos.patches import patched

MAIN = {
    "version": "v1alpha1",
    "machine": {"certSANs": ["a"], "install": {"disk": "/dev/sda"}},
    "cluster": {"network": {"podSubnets": ["10.244.0.0/16"]}},
}
HOST = {"apiVersion": "v1alpha1", "kind": "HostnameConfig", "hostname": "one"}
LINK = {"apiVersion": "v1alpha1", "kind": "LinkConfig", "name": "eth0", "up": True}

CASES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "maps are merged": (
        {"machine": {"install": {"wipe": True}}},
        {"machine": {"certSANs": ["a"], "install": {"disk": "/dev/sda", "wipe": True}}},
    ),
    "lists are appended": (
        {"machine": {"certSANs": ["b"]}},
        {"machine": {"certSANs": ["a", "b"], "install": {"disk": "/dev/sda"}}},
    ),
    "subnets are replaced": (
        {"cluster": {"network": {"podSubnets": ["10.8.0.0/16"]}}},
        {"cluster": {"network": {"podSubnets": ["10.8.0.0/16"]}}},
    ),
    "a map can go": ({"machine": {"install": {"$patch": "delete"}}}, {"machine": {"certSANs": ["a"]}}),
}


@pytest.mark.parametrize(("patch", "expected"), CASES.values(), ids=CASES)
def test_the_main_document_is_patched(patch: dict[str, Any], expected: dict[str, Any]) -> None:
    assert patched([MAIN, HOST], [patch]) == ({**MAIN, **expected}, HOST)


def test_documents_are_found_by_kind_and_name() -> None:
    down = {"kind": "LinkConfig", "name": "eth0", "up": False}
    second = {"apiVersion": "v1alpha1", "kind": "LinkConfig", "name": "eth1"}
    assert patched([MAIN, LINK], [down, second]) == (MAIN, {**LINK, "up": False}, second)


def test_a_document_can_go_and_one_that_is_not_there_is_not_missed() -> None:
    gone = {"apiVersion": "v1alpha1", "kind": "HostnameConfig", "$patch": "delete"}
    assert patched([MAIN, HOST], [gone, gone]) == (MAIN,)


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abcd"), inner, max_size=3),
    max_leaves=8,
)
maps = st.dictionaries(st.sampled_from("abcd"), values, max_size=4)


@given(maps, maps)
def test_merging_leaves_what_came_in_alone_and_says_all_that_was_new(
    base: dict[str, Any], patch: dict[str, Any]
) -> None:
    before, said = deepcopy(base), deepcopy(patch)
    (result,) = patched([base], [patch])
    assert (base, patch) == (before, said)
    assert set(result) == set(base) | set(patch)
    for name, value in patch.items():
        if not isinstance(value, dict | list):
            assert result[name] == value


@given(maps)
def test_nothing_patched_is_nothing_changed(base: dict[str, Any]) -> None:
    assert patched([base], [{}]) == (base,)
