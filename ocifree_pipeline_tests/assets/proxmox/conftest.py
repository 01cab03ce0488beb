"""Machines that stand, made once for all tests of this folder."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from ocifree_pipeline_tests.assets.conftest import Deployment
from ocifree_pipeline_tests.assets.proxmox.world import Standing, standing


@pytest.fixture(scope="session")
def machines(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Standing]:
    with standing(tmp_path_factory.mktemp("standing")) as found:
        yield found


@pytest.fixture
def here(machines: Standing, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Deployment]:
    """The bastion and three Proxmox nodes that answer, and nothing on them."""
    with machines.again(tmp_path / "home", monkeypatch) as found:
        yield found
