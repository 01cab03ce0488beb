"""One served cluster for the tests of a module; those that need another time or world make their own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from ocifree_pipeline_tests.sandbox.kubernetes.served import Served, served


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with served(tmp_path_factory.mktemp("kubernetes")) as found:
        yield found
