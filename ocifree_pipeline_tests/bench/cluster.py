"""From a declaration to a kubeconfig that was tried: the real graph in one process, beside as many bare calls.

    python -m ocifree_pipeline_tests.bench.cluster

What machines and images take is virtual time, which passes at once. What is measured is the time of the processor that
we, Dagster and the sandbox take, all in this process, so that a busy computer tells the same.
"""

from __future__ import annotations

import logging
import statistics
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import dagster as dg
import oci
import pytest

from ocifree_pipeline.record.cluster import CLUSTER, KUBECONFIG, nodes_of
from ocifree_pipeline.record.definition import Step
from ocifree_pipeline.record.platform import cluster_api
from ocifree_pipeline_tests.assets.conftest import Deployment, deployment
from ocifree_pipeline_tests.bench.report import Line, as_markdown

ROUNDS = 3
BARE = 20


def measure() -> list[Line]:
    logging.disable(logging.CRITICAL)
    taken = [_round() for _ in range(ROUNDS)]
    first, again, bare = (round(statistics.median(column), 2) for column in zip(*taken, strict=True))
    beside = "as many bare calls"
    return [
        Line("declaration -> talos/kubeconfig", first, "s", beside, bare, "<= 10 s"),
        Line("find that nothing is to be done", again, "s", beside, bare, ""),
    ]


def _round() -> tuple[float, float, float]:
    with (
        tempfile.TemporaryDirectory() as folder,
        pytest.MonkeyPatch.context() as patch,
        deployment(Path(folder), patch, topology="talos-native", a1_ocpus=2, a1_memory_gb=12) as here,
    ):
        keys = _upstream(here)
        first = _seconds(lambda: here.materialize(*keys))
        calls = Counter(_side(one.service) for one in here.sandbox.recorder)
        again = _seconds(lambda: here.materialize(*keys))
        return first, again, sum(count * _bare(here, side) for side, count in calls.items())


def _upstream(here: Deployment) -> list[str]:
    selected = dg.AssetSelection.assets(KUBECONFIG.split("/")).upstream()
    found = selected.resolve(here.definitions.resolve_asset_graph())
    return sorted(key.to_user_string() for key in found)


def _side(service: str) -> str:
    return service if service in {"talos", "kubernetes"} else "oracle"


def _bare(here: Deployment, side: str) -> float:
    """The least that a call of this kind takes: its connection stands, and nothing is done with the answer."""
    step = Step(here.blueprint, CLUSTER, here.instance, lambda line: None)
    if side == "talos":
        with nodes_of(step) as nodes, nodes.open(nodes.places[0]) as node:
            return _seconds(node.version, BARE)
    if side == "kubernetes":
        with cluster_api(step) as api:
            return _seconds(api.version, BARE)
    client, tenancy = here.client(oci.identity.IdentityClient), here.sandbox.tenancy
    return _seconds(lambda: client.get_tenancy(tenancy), BARE)


def _seconds(work: Callable[[], object], times: int = 1) -> float:
    begun = time.process_time()
    for _ in range(times):
        work()
    return (time.process_time() - begun) / times


if __name__ == "__main__":
    print("\n".join(as_markdown(measure())))
