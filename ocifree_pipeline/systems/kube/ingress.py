"""One real request to the public entrance, as a stranger on the internet makes it."""

from __future__ import annotations

import http.client
import os
from collections.abc import Mapping
from dataclasses import dataclass

from ocifree_pipeline.deployment.errors import Transient
from ocifree_pipeline.systems.ssh.reach import open_socket, proxy_for

HTTP_PORT = 80
SECONDS = 20.0
MOST_BYTES = 65_536


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    text: str


def ask(address: str, host: str, *, http_proxy: str | None, environ: Mapping[str, str] = os.environ) -> Answer:
    """GET / of `host`, whatever the name service says about it; Transient when nobody answers in HTTP."""
    proxy = proxy_for(address, http_proxy, environ)
    with open_socket(address, HTTP_PORT, proxy=proxy, timeout=SECONDS) as opened:
        connection = http.client.HTTPConnection(address, HTTP_PORT, timeout=SECONDS)
        connection.sock = opened
        try:
            connection.request("GET", "/", headers={"Host": host, "User-Agent": "ocifree", "Connection": "close"})
            answer = connection.getresponse()
            return Answer(answer.status, answer.read(MOST_BYTES).decode("utf-8", "replace"))
        except (http.client.HTTPException, OSError) as error:
            raise Transient(
                f"{address}:{HTTP_PORT} accepts a connection and does not speak HTTP",
                why=str(error) or type(error).__name__,
                fix="look again in a minute; `kubectl --namespace gateway describe gateway public` tells more",
            ) from error
        finally:
            connection.close()
