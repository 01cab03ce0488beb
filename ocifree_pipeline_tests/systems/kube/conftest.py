"""A Kubernetes API behind TLS, our session with it, and a second manager who gets in the way."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import SecretStr

from ocifree_pipeline.sandbox.kubernetes import certificates
from ocifree_pipeline.systems.kube.api import Api, api_at
from ocifree_pipeline.systems.kube.kubeconfig import credentials_of
from ocifree_pipeline_tests.sandbox.kubernetes.served import Served, authority, served


def kubeconfig(
    *, ca: str | None = None, server: str = "https://kubernetes:6443", groups: str = "system:masters"
) -> SecretStr:
    """As Talos writes one: everything inside, and a server whose name is not where we dial."""
    pair = authority()
    certificate, key = certificates.client(pair.certificate, pair.key, "admin", (groups,))
    user = {"client-certificate-data": _encoded(certificate), "client-key-data": _encoded(key)}
    cluster = {"server": server, "certificate-authority-data": _encoded(ca or pair.certificate)}
    return SecretStr(
        yaml.safe_dump(
            {
                "current-context": "admin@lab",
                "contexts": [{"name": "admin@lab", "context": {"cluster": "lab", "user": "admin"}}],
                "clusters": [{"name": "lab", "cluster": cluster}],
                "users": [{"name": "admin", "user": user}],
            }
        )
    )


def _encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


@dataclass
class Lab:
    here: Served
    api: Api

    def writes(self) -> list[str]:
        return self.here.record(mutating=True)

    def forget(self) -> None:
        from ocifree_pipeline.sandbox import instruments

        instruments.of(self.here.world).recorder.clear()

    def as_other(self, thing: dict[str, Any], manager: str = "kubectl", *, force: bool = False) -> None:
        """Another manager applies it."""
        resource = self.api.require(thing["apiVersion"], thing["kind"])
        from ocifree_pipeline.systems.kube.objects import ref_of

        self.api.pool.request(
            "PATCH",
            f"{resource.path(ref_of(thing))}?fieldManager={manager}&force={str(force).lower()}",
            body=json.dumps(thing).encode(),
            headers={"Content-Type": "application/apply-patch+yaml"},
        )


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Lab]:
    with served(tmp_path) as here, api_at(("127.0.0.1", here.port), credentials_of(kubeconfig())) as api:
        monkeypatch.setattr(time, "sleep", here.advance)
        yield Lab(here, api)
