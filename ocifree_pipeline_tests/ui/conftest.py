"""The real UI in a real browser, over a deployment that stands: a demo, a run that failed, `ocifree ui`, Chromium."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import requests

from ocifree_pipeline.sandbox import process
from ocifree_pipeline_tests.ui.page import Page

CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
TOPOLOGY = "talos-native"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if CHROMIUM and DRIVER:
        return
    missing = " and ".join(name for name, found in (("chromium", CHROMIUM), ("chromedriver", DRIVER)) if not found)
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent):
            item.add_marker(pytest.mark.skip(reason=f"{missing} not found: apt-get install chromium chromium-driver"))


@pytest.fixture(scope="session")
def ui(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of the UI of a deployment that stands, and in which one run has failed since."""
    folder = tmp_path_factory.mktemp("ui")
    ocifree(folder, "demo", "--topology", TOPOLOGY)
    with living(folder / ".ocifree" / "demo" / TOPOLOGY) as (running, environment):
        read_again(environment, folder)
        fail_once(running, environment, folder)
        with served(environment, folder) as address:
            yield address


@contextmanager
def living(demo: Path) -> Iterator[tuple[process.Running, dict[str, str]]]:
    """The sandbox of that demo, up again, and the environment in which its deployment is worked on."""
    running = process.start(demo / "sandbox", process.Options())
    try:
        offered = running.call("GET", "grafana")
        yield (
            running,
            {
                **os.environ,
                **running.environment(),
                "DAGSTER_HOME": str(demo / "dagster"),
                "OCIFREE_DEPLOYMENT": str(demo / "deployment.yaml"),
                "OCIFREE_SSH_IDENTITY": str(demo / "ssh_key"),
                "GRAFANA_CLOUD_TOKEN": offered["token"],
                "GRAFANA_SERVICE_ACCOUNT_TOKEN": offered["service_account_token"],
            },
        )
    finally:
        running.stop()


def read_again(environment: dict[str, str], folder: Path) -> None:
    """What is plotted over time needs more than one point."""
    for _ in range(2):
        ocifree(folder, "up", "--yes", "--select", "assurance/cost_report", environment=environment)


def fail_once(running: process.Running, environment: dict[str, str], folder: Path) -> None:
    """Oracle no longer knows the key: an error that no retry mends, and that says what to do."""
    rule = {"service": "objectstorage", "operation": "*", "status": 401, "code": "NotAuthenticated", "times": None}
    running.call("POST", "faults", {**rule, "message": "The required information to complete authentication was wrong"})
    ocifree(folder, "up", "--yes", "--select", "oci/image_bucket", environment=environment, good=False)
    running.call("DELETE", "faults")


def ocifree(folder: Path, *words: str, environment: dict[str, str] | None = None, good: bool = True) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "ocifree_pipeline.cli.app", *words],
        env=environment, cwd=folder, capture_output=True, text=True, timeout=500, check=False,
    )  # fmt: skip
    assert (done.returncode == 0) is good, done.stdout + done.stderr


@contextmanager
def served(environment: dict[str, str], folder: Path) -> Iterator[str]:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with (folder / "ui.log").open("w") as log:
        server = subprocess.Popen(
            [sys.executable, "-m", "ocifree_pipeline.cli.app", "ui", "--port", str(port)],
            env=environment, cwd=folder, stdout=log, stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip
        try:
            _wait_for(f"http://127.0.0.1:{port}/server_info", server, folder / "ui.log")
            yield f"http://127.0.0.1:{port}"
        finally:
            _end(server)


def _wait_for(address: str, server: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + 180
    plain = requests.Session()
    plain.trust_env = False  # the sandbox's proxy is for the deployment
    while time.monotonic() < deadline:
        assert server.poll() is None, log.read_text()
        try:
            if plain.get(address, timeout=2).ok:
                return
        except requests.RequestException:
            time.sleep(0.2)
    raise AssertionError(f"the UI did not come up:\n{log.read_text()}")


def _end(server: subprocess.Popen[bytes]) -> None:
    """Dagster's own children live in other sessions, so the tree is ended, not the group."""
    import psutil

    tree = [psutil.Process(server.pid)]
    tree += tree[0].children(recursive=True)
    for member in reversed(tree):
        with_grace(member)
    psutil.wait_procs(tree, timeout=10)
    server.wait(timeout=10)


def with_grace(process: Any) -> None:
    import psutil

    try:
        process.terminate()
        process.wait(timeout=10)
    except psutil.TimeoutExpired:
        process.kill()
    except psutil.NoSuchProcess:
        return


@contextmanager
def chromium() -> Iterator[Any]:
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM or ""
    for flag in (
        "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
        "--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage",
        "--hide-scrollbars", "--window-size=1500,1100", "--no-proxy-server",
    ):  # fmt: skip
        options.add_argument(flag)
    driver = webdriver.Chrome(options=options, service=Service(DRIVER))
    driver.set_page_load_timeout(90)
    try:
        yield driver
    finally:
        driver.quit()


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    with chromium() as driver:
        yield driver


@pytest.fixture
def page(ui: str, browser: Any, tmp_path: Path) -> Page:
    return Page(ui, browser, tmp_path)
