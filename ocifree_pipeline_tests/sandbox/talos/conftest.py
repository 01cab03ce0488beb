"""One sandbox for all; every test has machines of its own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from ocifree_pipeline_tests.sandbox.talos.lab import Lab, lab


@pytest.fixture(scope="session")
def ground(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    with lab(tmp_path_factory.mktemp("talos")) as made:
        yield made


@pytest.fixture
def here(ground: Lab) -> Iterator[Lab]:
    try:
        yield ground
    finally:
        ground.clear()
