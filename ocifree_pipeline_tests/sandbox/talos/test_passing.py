"""A call is passed on to the nodes that the caller names, and each answer says whose it is."""

from __future__ import annotations

from typing import Any

import pytest
from multidict import MultiDict

from ocifree_pipeline.protocols.talos import message
from ocifree_pipeline.sandbox.talos import calls, passing
from ocifree_pipeline.sandbox.talos.node import of_key
from ocifree_pipeline.sandbox.talos.replies import Refusal
from ocifree_pipeline.sandbox.world import World
from ocifree_pipeline_tests.sandbox.talos.lab import Lab, Machine, stranger
from ocifree_pipeline_tests.sandbox.talos_nodes import configuration


def asked(here: Lab, at: Machine, *metadata: tuple[str, str]) -> list[tuple[str, str]]:
    """Whose answers come, and which hostname each tells."""

    def look(world: World) -> list[tuple[str, str]]:
        node = of_key(world, at.id)
        assert node is not None
        found: list[Any] = passing.answers(node, MultiDict(metadata), lambda one: calls.hostname(one, []))
        return [
            (one.metadata.hostname, one.hostname or one.metadata.error) for reply in found for one in reply.messages
        ]

    return here.inside(look)


def test_who_is_named_answers(here: Lab) -> None:
    first, second = here.control_planes(2)
    assert asked(here, first) == [("", "lab-1")]
    assert asked(here, first, ("node", second.ip)) == [("", "lab-2")]
    assert asked(here, first, ("nodes", second.ip)) == [(second.ip, "lab-2")]
    both = [("nodes", first.ip), ("nodes", second.ip)]
    assert asked(here, first, *both) == [(first.ip, "lab-1"), (second.ip, "lab-2")]


def test_who_does_not_answer_is_told_beside_those_who_do(here: Lab) -> None:
    first, second = here.control_planes(2)
    other = here.machine(configuration(stranger(), hostname="other"))
    second.act("STOP")
    for away in (second, other):
        with pytest.raises(Refusal, match="Error while dialing") as refused:
            asked(here, first, ("nodes", away.ip))
        assert refused.value.code == "UNAVAILABLE"
        (good, bad) = asked(here, first, ("nodes", f"{first.ip}, {away.ip}"))
        assert good == (first.ip, "lab-1")
        assert bad[0] == away.ip
        assert "Error while dialing" in bad[1]


def test_pieces_of_a_file_say_whose_they_are(here: Lab) -> None:
    (first,) = here.control_planes(1)
    made = message("common.Data")

    def look(world: World) -> list[str]:
        node = of_key(world, first.id)
        assert node is not None
        found = passing.answers(node, MultiDict(nodes=first.ip), lambda _: [made(bytes=b"a"), made(bytes=b"b")])
        return [one.metadata.hostname for one in found]

    assert here.inside(look) == [first.ip, first.ip]
