from collections.abc import Iterator
from pathlib import Path

import pytest

from ocifree_pipeline_tests.sandbox.harness import RunningSandbox, running


@pytest.fixture
def door(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[RunningSandbox]:
    """A sandbox, and this process pointed at its TLS proxy by variables alone."""
    with running(tmp_path / "sandbox") as here:
        assert here.sandbox.home is not None
        monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{here.sandbox.proxy_port}")
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(here.sandbox.home.ca_file))
        monkeypatch.delenv("NO_PROXY", raising=False)
        yield here
