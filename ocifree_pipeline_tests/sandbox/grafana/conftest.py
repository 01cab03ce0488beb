"""A stack in a sandbox, and an ordinary HTTP client with its credentials."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
import requests

from ocifree_pipeline.sandbox.grafana import stack
from ocifree_pipeline.sandbox.grafana.minutes import TICK
from ocifree_pipeline_tests.sandbox.grafana import senders
from ocifree_pipeline_tests.sandbox.harness import RunningSandbox, running


@dataclass
class Stack:
    sandbox: RunningSandbox
    offered: dict[str, Any]

    def ask(self, method: str, url: str, **more: Any) -> requests.Response:
        assert self.sandbox.sandbox.home is not None
        return requests.request(
            method,
            url,
            timeout=20,
            proxies={"https": f"http://127.0.0.1:{self.sandbox.sandbox.proxy_port}"},
            verify=str(self.sandbox.sandbox.home.ca_file),
            **more,
        )

    def endpoint(self, kind: str) -> tuple[str, tuple[str, str]]:
        one = self.offered["grafana_cloud"][kind]
        return one["url"], (one["user"], self.offered["token"])

    def data(self, kind: str, method: str, path: str, **more: Any) -> requests.Response:
        url, auth = self.endpoint(kind)
        return self.ask(method, url + path, **{"auth": auth} | more)

    def grafana(self, method: str, path: str, **more: Any) -> requests.Response:
        headers = {"authorization": f"Bearer {self.offered['service_account_token']}"}
        return self.ask(method, f"https://lab.grafana.net{path}", **{"headers": headers} | more)

    def now(self) -> float:
        return self.sandbox.inside(lambda world: world.clock.now().timestamp())

    def push(self, *series: tuple[dict[str, str], float], at: float | None = None, **more: Any) -> requests.Response:
        """One sample of each series, now."""
        time = int((self.now() if at is None else at) * 1000)
        body = senders.write_request((labels, [(time, value)]) for labels, value in series)
        headers = {"content-encoding": "snappy", "content-type": "application/x-protobuf"}
        return self.data("prometheus", "POST", "/api/prom/push", data=body, headers=headers, **more)

    def query(self, text: str) -> list[dict[str, Any]]:
        reply = self.data("prometheus", "GET", "/api/prom/api/v1/query", params={"query": text})
        assert reply.status_code == 200, reply.text
        found: list[dict[str, Any]] = reply.json()["data"]["result"]
        return found


@pytest.fixture(scope="session")
def _sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningSandbox]:
    with running(tmp_path_factory.mktemp("grafana"), mode="manual") as here:
        yield here


@pytest.fixture
def cloud(_sandbox: RunningSandbox) -> Stack:
    """An empty stack of the free plan."""

    def fresh(world: Any) -> dict[str, Any]:
        world.facts.pop("grafana", None)
        world.facts.pop("outbox", None)
        for step in world.clock.pending():
            if step.transition == TICK:
                world.clock.cancel(step.number)
        return stack.offered(world)

    _sandbox.faults.clear()
    _sandbox.recorder.clear()
    return Stack(_sandbox, _sandbox.inside(fresh))
