"""The first, the tenth and the hundredth deployment in one process and in one tenancy.

What grows should take as long for the hundredth as for the first. That is measured as time of the processor, client and
sandbox together, so that a busy computer tells the same.

    python -m ocifree_pipeline_tests.bench.growth
"""

from __future__ import annotations

import logging
import tempfile
import time
from functools import partial
from pathlib import Path

import yaml

from ocifree_pipeline.definitions import definitions_for
from ocifree_pipeline.deployment.blueprint import Blueprint, blueprint_of
from ocifree_pipeline.deployment.examples import example
from ocifree_pipeline.deployment.foundation import PARTS, foundation_of
from ocifree_pipeline.deployment.loading import parse
from ocifree_pipeline.sandbox.oracle import limits
from ocifree_pipeline.sandbox.profiles import Profile
from ocifree_pipeline_tests.bench.report import Line, as_markdown
from ocifree_pipeline_tests.sandbox.harness import running
from ocifree_pipeline_tests.systems.oci.foundation.conftest import native
from ocifree_pipeline_tests.systems.oci.tenancy import Tenancy

COUNTS = (10, 100)


def measure() -> list[Line]:
    logging.disable(logging.CRITICAL)
    return [*_graphs(), *_foundations()]


def _graphs() -> list[Line]:
    """Many deployments in one process."""
    seconds = []
    for number in range(max(COUNTS)):
        blueprint = _blueprint(number)
        begun = time.process_time()
        definitions_for(blueprint).get_repository_def()
        seconds.append(time.process_time() - begun)
    return [_beside_the_first(f"the graph of deployment {n}", seconds, n) for n in COUNTS]


def _foundations() -> list[Line]:
    """Many deployments in one tenancy: each finds its own among those of all the others, by tags."""
    seconds = []
    with tempfile.TemporaryDirectory() as folder, running(Path(folder), profile=Profile(account="payg")) as sandbox:
        for limit in ("vcn-count", "reserved-public-ip-count"):
            sandbox.inside(partial(limits.override, name=limit, amount=10 * max(COUNTS)))
        tenancy = Tenancy(sandbox, Path(folder))
        for number in range(max(COUNTS)):
            blueprint = _blueprint(number)
            foundation = native(tenancy, foundation_of(blueprint.declaration, blueprint.plan.topology, ("ingress",)))
            begun = time.process_time()
            for part in PARTS:
                foundation.apply(foundation.plan(part))
            seconds.append(time.process_time() - begun)
    return [_beside_the_first(f"the network of deployment {n} in one tenancy", seconds, n) for n in COUNTS]


def _beside_the_first(what: str, seconds: list[float], number: int) -> Line:
    """The first itself imports what all need, so the second stands for it; three are looked at, for a busy moment."""
    last, first = sorted(seconds[number - 3 : number])[1], sorted(seconds[1:4])[1]
    return Line(what, round(last, 3), "s", "of the first", round(first, 3), "")


def _blueprint(number: int) -> Blueprint:
    data = yaml.safe_load(example("talos-native"))
    return blueprint_of(parse(yaml.safe_dump(data | {"name": f"lab-{number}"})))


if __name__ == "__main__":
    print("\n".join(as_markdown(measure())))
