"""One sandbox for all; every test has machines of its own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from ocifree_pipeline_tests.sandbox.talos.lab import Lab, Machine, apart, lab
from ocifree_pipeline_tests.sandbox.talos_nodes import configuration


@pytest.fixture(scope="session")
def ground(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    with lab(tmp_path_factory.mktemp("talos")) as made:
        yield made


@pytest.fixture
def here(ground: Lab) -> Iterator[Lab]:
    ground.here.sandbox.faults.clear()
    ground.here.sandbox.recorder.clear()
    try:
        yield ground
    finally:
        ground.clear()


@pytest.fixture(scope="module")
def shared(ground: Lab) -> Iterator[Machine]:
    """A control plane for tests that leave it as it is."""
    made = ground.machine(configuration(apart(), hostname="lab-shared"))
    ground.machines.remove(made)
    made.kept = apart()
    yield made
    ground.here.compute.terminate_instance(made.id)
    ground.here.wait()
