"""The real UI in a real browser: `ocifree ui` on a free port, Debian's Chromium without a window."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from ocifree_pipeline.deployment.examples import example_path

CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if CHROMIUM and DRIVER:
        return
    missing = " and ".join(name for name, found in (("chromium", CHROMIUM), ("chromedriver", DRIVER)) if not found)
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent):
            item.add_marker(pytest.mark.skip(reason=f"{missing} not found: apt-get install chromium chromium-driver"))


@pytest.fixture(scope="module")
def ui(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a running UI for the example proxmox-ceph."""
    folder = tmp_path_factory.mktemp("ui")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    environment = {
        **os.environ,
        "DAGSTER_HOME": str(folder / "home"),
        "OCIFREE_DEPLOYMENT": str(example_path("proxmox-ceph")),
        "HOME": str(folder),
    }
    with (folder / "ui.log").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "ocifree_pipeline.cli.app", "ui", "--port", str(port)],
            env=environment, cwd=folder, stdout=log, stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip
        try:
            _wait_for(f"http://127.0.0.1:{port}/server_info", process, folder / "ui.log")
            yield f"http://127.0.0.1:{port}"
        finally:
            _end(process)


def _wait_for(address: str, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + 90
    while time.monotonic() < deadline:
        assert process.poll() is None, log.read_text()
        try:
            if requests.get(address, timeout=2).ok:
                return
        except requests.ConnectionError:
            time.sleep(0.2)
    raise AssertionError(f"the UI did not come up:\n{log.read_text()}")


def _end(process: subprocess.Popen[bytes]) -> None:
    """Dagster's own children live in other sessions, so the tree is ended, not the group."""
    import psutil

    tree = [psutil.Process(process.pid)]
    tree += tree[0].children(recursive=True)
    for member in reversed(tree):
        with_grace(member)
    psutil.wait_procs(tree, timeout=10)
    process.wait(timeout=10)


def with_grace(process: Any) -> None:
    import psutil

    try:
        process.terminate()
        process.wait(timeout=10)
    except psutil.TimeoutExpired:
        process.kill()
    except psutil.NoSuchProcess:
        return


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM or ""
    for flag in (
        "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
        "--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage",
        "--hide-scrollbars", "--window-size=1800,1100", "--no-proxy-server",
    ):  # fmt: skip
        options.add_argument(flag)
    driver = webdriver.Chrome(options=options, service=Service(DRIVER))
    driver.set_page_load_timeout(60)
    yield driver
    driver.quit()
