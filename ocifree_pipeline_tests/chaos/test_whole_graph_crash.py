"""The whole graph up to SSH, killed at every call that changes something at Oracle, before it and after it."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from ocifree_pipeline.deployment.permissions import POLICY, uncovered
from ocifree_pipeline_tests.chaos.crash import CRASH, Killed, counted, table, trials
from ocifree_pipeline_tests.chaos.jobs import UpToMachines
from ocifree_pipeline_tests.chaos.whole_graph import WholeGraph, whole_graph

pytestmark = pytest.mark.timeout(1200)


@pytest.fixture(scope="module", params=["talos-native", "proxmox-ceph"])
def graph(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[WholeGraph]:
    with whole_graph(tmp_path_factory.mktemp("graph"), request.param) as made:
        yield made


@pytest.mark.exhaustive
def test_the_same_end_whenever_the_process_dies(graph: WholeGraph) -> None:
    rows = [row for work in UpToMachines(graph).works() for row in trials(work, CRASH)]
    print("\n".join(table(rows)))
    assert [row for row in rows if not row.is_fine] == []
    assert len(rows) >= 2 * 28, "this many calls it takes from nothing to SSH"


def test_the_same_end_after_a_death_in_every_asset(graph: WholeGraph) -> None:
    """One life of many deaths, each resumed from the first asset on; then nothing is left to do."""
    last = list(graph.bodies)[-1]
    with graph.before(next(iter(graph.bodies))) as here:
        died = 0
        for asset in graph.changing():
            middle = (len(graph.operations[asset]) + 1) // 2
            for earlier in list(graph.bodies)[: list(graph.bodies).index(asset)]:
                here.make(earlier)
            with pytest.raises(Killed), counted(middle, "after"):
                here.make(asset)
            died += 1
        here.everything()
        found = _without_secrets(here)
        with counted() as again:
            here.everything()
    assert died == len(graph.changing())
    assert again.operations == []
    with graph.before(last) as undisturbed:
        undisturbed.make(last)
        undisturbed.everything()
        assert _without_secrets(undisturbed) == found


def test_the_documented_policy_allows_every_call(graph: WholeGraph) -> None:
    assert len(graph.asked) > 60
    assert list(uncovered(POLICY, graph.asked)) == []


def _without_secrets(graph: WholeGraph) -> list[str]:
    """A life that begins with nothing makes the secrets of its cluster anew, and Talos boots with them."""
    return [re.sub(r'("user_data": ")[^"]+"', r'\1..."', line) for line in graph.in_words()]
