"""What is missing for a cluster, judged from what every node says by itself."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ocifree_pipeline.deployment.errors import Conflict, NotVerified, OcifreeError, PreconditionMissing
from ocifree_pipeline.systems.proxmox.membership import View, doubts, plan_joining

NAMES = ("one", "two", "three")
FRESH = [View(name, f"10.0.1.1{number}", "9.2.11 (abc)") for number, name in enumerate(NAMES)]
EVERYBODY = dict.fromkeys(NAMES, True)


def member(view: View, seen: dict[str, bool] | None = None, **other: object) -> View:
    whole = {"cluster": "lab", "quorate": True, "online": seen or EVERYBODY, "digest": "d", "has_key": True}
    return replace(view, **(whole | other))  # type: ignore[arg-type]


def moves(views: list[View]) -> list[tuple[str, str]]:
    return [(move.kind, move.node) for move in plan_joining(views, "lab").moves]


def test_from_nothing_the_first_creates_and_the_others_join_in_order() -> None:
    assert moves(FRESH) == [("create", "one"), ("join", "two"), ("join", "three")]


def test_a_whole_cluster_needs_nothing() -> None:
    views = [member(view) for view in FRESH]
    assert moves(views) == []
    assert doubts(views, "lab") == ()


def test_only_what_is_missing_joins_and_it_joins_one_that_is_in() -> None:
    views = [FRESH[0], member(FRESH[1], {"two": True}), FRESH[2]]
    joining = plan_joining(views, "lab")
    assert joining.founder == "two"
    assert [(move.kind, move.node) for move in joining.moves] == [("join", "one"), ("join", "three")]


def test_an_entry_whose_node_never_came_is_taken_out_first() -> None:
    views = [member(FRESH[0], {"one": True, "two": False}), FRESH[1]]
    assert moves(views) == [("forget", "two"), ("join", "two")]


@pytest.mark.parametrize(
    ("views", "kind", "words"),
    [
        ([FRESH[0], replace(FRESH[1], version="9.1.1 (x)")], PreconditionMissing, "different versions"),
        ([FRESH[0], replace(FRESH[1], synchronized=False)], PreconditionMissing, "clock of two"),
        ([FRESH[0], member(FRESH[1], cluster="theirs")], Conflict, "another cluster: theirs"),
        ([FRESH[0], replace(FRESH[1], has_key=True)], Conflict, "two has joined by half"),
        ([FRESH[0], replace(FRESH[1], guests=("qemu/100",))], Conflict, "two has guests: qemu/100"),
        ([member(FRESH[0], {"one": True}), member(FRESH[1], {"two": True})], Conflict, "one does not know it"),
        ([member(FRESH[0], {"one": True, "two": False}, quorate=False), FRESH[1]], NotVerified, "has no quorum"),
    ],
)
def test_what_stands_in_the_way_is_named(views: list[View], kind: type[OcifreeError], words: str) -> None:
    with pytest.raises(kind) as refused:
        plan_joining(views, "lab")
    assert words in str(refused.value)


def test_guests_of_the_one_that_creates_are_no_matter() -> None:
    assert moves([replace(FRESH[0], guests=("qemu/100",)), *FRESH[1:]])[0] == ("create", "one")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"cluster": None, "online": None}, "two is in no cluster"),
        ({"quorate": False}, "two sees no quorum"),
        ({"online": {"one": True, "two": True}}, "two does not know three"),
        ({"online": {**EVERYBODY, "three": False}}, "two does not see three"),
        ({"digest": "other"}, "different configurations"),
    ],
)
def test_one_node_that_disagrees_is_enough_for_doubt(change: dict[str, object], words: str) -> None:
    views = [member(FRESH[0]), replace(member(FRESH[1]), **change), member(FRESH[2])]  # type: ignore[arg-type]
    assert words in "; ".join(doubts(views, "lab"))


@settings(max_examples=60)
@given(st.lists(st.sampled_from(["fresh", "listed", "member"]), min_size=3, max_size=3))
def test_every_plan_that_is_carried_out_leads_to_the_whole_cluster(kinds: list[str]) -> None:
    """A small model of what the moves do; whatever was there before, nobody joins twice and nobody is left out."""
    known = {name for name, kind in zip(NAMES, kinds, strict=True) if kind != "fresh"}
    inside = {name for name, kind in zip(NAMES, kinds, strict=True) if kind == "member"}
    if not inside:
        known = set()
    seen = {name: name in inside for name in known}
    views = [member(view, seen) if view.node in inside else view for view in FRESH]
    for move in plan_joining(views, "lab").moves:
        match move.kind:
            case "create":
                assert not inside
                inside.add(move.node)
                known.add(move.node)
            case "forget":
                assert move.node not in inside
                known.remove(move.node)
            case "join":
                assert move.node not in known
                inside.add(move.node)
                known.add(move.node)
    assert inside == known == set(NAMES)
