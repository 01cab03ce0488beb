"""The whole graph up to SSH, disturbed at every call that changes something at Oracle, before it and after it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from itertools import count
from pathlib import Path

import pytest

from ocifree_pipeline.deployment.permissions import POLICY, uncovered
from ocifree_pipeline_tests.chaos.crash import CRASH, Killed, Trial, counted, listed, table, trials
from ocifree_pipeline_tests.chaos.jobs import JOBS, UpToMachines
from ocifree_pipeline_tests.chaos.ways import CLOCK, DISK, PARTITION, POWER
from ocifree_pipeline_tests.chaos.whole_graph import WholeGraph, whole_graph

pytestmark = pytest.mark.timeout(7200)
"""A guard against hanging, far beyond what a busy machine takes."""


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


OTHERS = (*PARTITION, *CLOCK, *DISK, *POWER)


def test_the_same_end_after_two_troubles_in_every_asset(graph: WholeGraph) -> None:
    """Cuts, clocks, disks and power in turn, at a call in the middle and at the last."""
    at_calls = [way for way in OTHERS if not way.once]
    turns = count(0 if graph.blueprint.plan.topology == "talos-native" else len(at_calls) // 2)
    rows: list[Trial] = []
    for work in UpToMachines(graph).works():
        rows += trials(replace(work, only=lambda calls: [(len(calls) + 1) // 2, len(calls)]), at_calls, turns=turns)
    print("\n".join(listed(rows)))
    assert [row for row in rows if not row.is_fine] == []
    assert len(rows) == 2 * len(graph.changing())


@pytest.mark.exhaustive
def test_the_same_end_after_every_trouble_at_every_call(graph: WholeGraph) -> None:
    """The other topology makes most of the same calls, so there each call has one of the troubles."""
    turns = None if graph.blueprint.plan.topology == "talos-native" else count()
    rows = [row for work in UpToMachines(graph).works() for row in trials(work, OTHERS, turns=turns)]
    print("\n".join(listed(rows)))
    assert [row for row in rows if not row.is_fine] == []
    assert len(rows) >= 28 * (1 if turns else len(OTHERS) - 1)


@pytest.mark.exhaustive
@pytest.mark.parametrize("job", ["foundation", "destroy", "cluster", "proxmox"])
def test_the_same_end_of_other_jobs_after_a_trouble_at_every_call(job: str, tmp_path: Path) -> None:
    with JOBS[job](tmp_path) as here:
        # A node that is made on another day has certificates of that day, and OpenSSL looks at the real clock.
        ways = [way for way in OTHERS if job != "proxmox" or not way.later]
        turns = count(list(JOBS).index(job) * 5)
        rows = [row for work in here.works() for row in trials(work, ways, turns=turns)]
    print("\n".join(listed(rows)))
    assert [row for row in rows if not row.is_fine] == []
    assert rows


def test_the_documented_policy_allows_every_call(graph: WholeGraph) -> None:
    assert len(graph.asked) > 60
    assert list(uncovered(POLICY, graph.asked)) == []


def _without_secrets(graph: WholeGraph) -> list[str]:
    """A life that begins with nothing makes the secrets of its cluster anew, and Talos boots with them."""
    return [re.sub(r'("user_data": ")[^"]+"', r'\1..."', line) for line in graph.in_words()]
