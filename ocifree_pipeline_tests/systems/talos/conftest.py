"""Two clusters' secrets, made once: their RSA keys take a second each."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from ocifree_pipeline.systems.talos.secrets import Bundle, new_bundle

NOW = datetime(2026, 1, 1, 12, 0, tzinfo=UTC)
"""Behind us, so that the authorities are valid while the tests run."""


@pytest.fixture(scope="session")
def bundle() -> Bundle:
    return new_bundle(NOW)


@pytest.fixture(scope="session")
def other_bundle() -> Bundle:
    return new_bundle(NOW)
