"""The diff between what is wanted and what was found."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ocifree_pipeline.deployment.convergence import (
    CannotChange,
    Found,
    InOrder,
    Ref,
    Wanted,
    lines_of,
    refs_in,
    resolve,
    steps_between,
)
from ocifree_pipeline.deployment.port_rules import SecurityRule

NET = Wanted("vcn", "vcn", "lab-vcn", fixed={"cidr_blocks": ("10.0.0.0/16",)})
GROUP = Wanted("security_group", "group/x", "lab-x", fixed={"vcn_id": Ref("vcn")}, fields={"rules": ("a", "b")})
ACTIVE = Found("ocid1.vcn.oc1..1", "lab-vcn", is_ours=True, values={"cidr_blocks": ("10.0.0.0/16",)})


def group(**values: Any) -> Found:
    return Found("ocid1.g.oc1..2", "lab-x", True, values={"vcn_id": ACTIVE.id, "rules": ("b", "a"), **values})


@pytest.mark.parametrize(
    ("found", "lines"),
    [
        ({}, ["create vcn lab-vcn: 10.0.0.0/16", "create security group lab-x: a, b"]),
        ({"vcn": ACTIVE}, ["create security group lab-x: a, b"]),
        ({"vcn": ACTIVE, "group/x": group()}, []),
        ({"vcn": ACTIVE, "group/x": group(rules=("b", "c"))}, ["change security group lab-x: rules: + a, - c"]),
        (
            {"vcn": ACTIVE, "group/x": group(rules=("b", "a", "a"))},
            ["change security group lab-x: rules: order or number"],
        ),
        (
            {"vcn": ACTIVE, "group/x": group(rules=("b", "b"))},
            ["change security group lab-x: rules: + a"],
        ),
        (
            {"vcn": Found(ACTIVE.id, "mine", True, values=ACTIVE.values), "group/x": group()},
            ["change vcn lab-vcn: name: mine -> lab-vcn"],
        ),
        (
            {"vcn": Found(ACTIVE.id, "lab-vcn", False, values=ACTIVE.values), "group/x": group()},
            ["take over vcn lab-vcn"],
        ),
    ],
)
def test_plans_in_words(found: dict[str, Found], lines: list[str]) -> None:
    assert list(lines_of(steps_between([NET, GROUP], found))) == lines


def test_everything_that_would_have_to_be_replaced_is_named_at_once() -> None:
    found = {
        "vcn": Found(ACTIVE.id, "lab-vcn", True, values={"cidr_blocks": ("10.9.0.0/16",)}),
        "group/x": group(vcn_id="ocid1.vcn.oc1..other"),
    }
    with pytest.raises(CannotChange) as caught:
        steps_between([NET, GROUP], found)
    assert "+ 10.0.0.0/16, - 10.9.0.0/16" in caught.value.what
    assert "vcn_id: ocid1.vcn.oc1..other -> vcn" in caught.value.what


@given(st.lists(st.text("abc", max_size=3), max_size=5), st.randoms())
def test_order_matters_only_where_it_is_said_to(items: list[str], chance: Any) -> None:
    shuffled = list(items)
    chance.shuffle(shuffled)
    for wrap in (tuple, lambda some: InOrder(tuple(some))):
        wanted = Wanted("x", "x", "x", fields={"lines": wrap(items)})
        steps = steps_between([wanted], {"x": Found("1", "x", True, values={"lines": wrap(shuffled)})})
        assert (steps[0].action == "keep") == (wrap is tuple or items == shuffled)


def test_references_are_found_and_put_in_place_at_any_depth() -> None:
    rule = SecurityRule("tcp", Ref("group/x"), (1, 2), "r")
    values = {"a": Ref("vcn"), "b": (rule, {"c": Ref("gone")}), "d": Ref("vcn", "address")}
    found = {
        "vcn": Found("1", "n", True, attributes={"address": "192.0.2.1"}),
        "group/x": Found("2", "n", True),
    }
    resolved = resolve(values, found)
    assert resolved["a"] == "1"
    assert resolved["b"][0] == SecurityRule("tcp", "2", (1, 2), "r")
    assert resolved["d"] == "192.0.2.1"
    assert list(refs_in(values)) == [Ref("vcn"), Ref("group/x"), Ref("gone"), Ref("vcn", "address")]
    assert list(refs_in(resolved)) == [Ref("gone")]
