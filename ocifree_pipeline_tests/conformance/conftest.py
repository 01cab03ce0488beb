from collections.abc import Iterator
from pathlib import Path

import pytest

from ocifree_pipeline_tests.sandbox.harness import RunningSandbox, running


@pytest.fixture
def sandbox(tmp_path: Path) -> Iterator[RunningSandbox]:
    """A sandbox in immediate mode: lifecycles move one step per request."""
    with running(tmp_path) as here:
        yield here


@pytest.fixture
def manual(tmp_path: Path) -> Iterator[RunningSandbox]:
    """A sandbox whose time only the test moves."""
    with running(tmp_path, mode="manual") as here:
        yield here
