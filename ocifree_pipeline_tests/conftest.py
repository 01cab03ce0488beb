"""What every test starts from: no deployment, no proxy, no telemetry, no history of the person who runs it."""

from __future__ import annotations

import os
import re
import shutil
from functools import cache
from pathlib import Path

import pytest
from hypothesis import settings

from ocifree_pipeline_tests.real.table import pytest_collection_modifyitems as carry_programs
from ocifree_pipeline_tests.real.table import pytest_terminal_summary

__all__ = ["pytest_terminal_summary"]

LONG_SECONDS = 900
"""The patience with a rehearsal that does not ask for more."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    carry_programs(items)
    items.sort(key=lambda item: "journey" not in item.path.parts)  # nothing takes longer, so it begins first
    for item in items:
        if item.get_closest_marker("long") and not item.get_closest_marker("timeout"):
            item.add_marker(pytest.mark.timeout(LONG_SECONDS))


# A gate judges the change at hand, so it draws the same examples every time. Everywhere else new ones are drawn.
settings.register_profile("gate", derandomize=True)
if os.environ.get("CI"):
    settings.load_profile("gate")

_OURS = ("OCIFREE_DEPLOYMENT", "OCIFREE_AGE_IDENTITY", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "DAGSTER_HOME")


_KEPT = re.compile(
    "(PATH|HOME|TMPDIR|LANG|TERM|SHELL|USER|LOGNAME|CI|VIRTUAL_ENV|UPDATE_LINEAGE|TOFU|PACKER)$"
    "|(LC|LD|DYLD|XDG|PYTHON|PYTEST|HYPOTHESIS|COVERAGE|DAGSTER)_?"
)
"""What an ordinary test keeps of the variables around it. For every request two clients read all that there are."""


@pytest.fixture(autouse=True)
def _clean_environment(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    names = _OURS
    if not any(map(request.node.get_closest_marker, ("long", "exhaustive", "real", "ui"))):
        names += tuple(name for name in os.environ if not _KEPT.match(name))
    for name in names:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("DAGSTER_DISABLE_TELEMETRY", "1")


@pytest.fixture(autouse=True, scope="session")
def _migrations_are_read_once() -> None:
    """Every history, in memory or not, is stamped with the last of ninety migrations, which Alembic reads for it."""
    import alembic.util

    read = alembic.util.load_python_file
    kept = cache(read)
    alembic.util.load_python_file = lambda folder, name: (read if name == "env.py" else kept)(folder, name)


@pytest.fixture(scope="session")
def _migrated_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Made once, as `ocifree` makes it; the migration alone takes over a second."""
    from ocifree_pipeline.cli.home import ensure_home

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DAGSTER_HOME", str(tmp_path_factory.mktemp("template") / "home"))
        return ensure_home()


@pytest.fixture
def dagster_home(_migrated_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A fresh home on disk, for tests whose processes have to share it."""
    home = tmp_path / "home"
    shutil.copytree(_migrated_home, home)
    monkeypatch.setenv("DAGSTER_HOME", str(home))
    return home
