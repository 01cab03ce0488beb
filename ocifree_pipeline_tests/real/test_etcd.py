"""A snapshot of a real etcd, read by us."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest
import requests

from ocifree_pipeline.systems.talos.backups import require_whole
from ocifree_pipeline.systems.talos.etcd_file import keys_in
from ocifree_pipeline_tests.real.control_plane import _is_healthy
from ocifree_pipeline_tests.real.programs import free_port, program, running, until

pytestmark = pytest.mark.real("etcd")


def test_the_keys_of_a_real_snapshot_are_read(tmp_path: Path) -> None:
    client, peer = (f"http://127.0.0.1:{free_port()}" for _ in range(2))
    words = [f"--data-dir={tmp_path / 'etcd'}", f"--listen-client-urls={client}", f"--advertise-client-urls={client}"]
    words += [f"--listen-peer-urls={peer}", f"--initial-advertise-peer-urls={peer}"]
    words += [f"--initial-cluster=default={peer}", "--unsafe-no-fsync"]
    wanted = {f"/registry/secrets/default/{number:04}": f"{number}" * (number % 700 + 1) for number in range(600)}
    log = tmp_path / "etcd.log"
    with running(program("etcd"), *words, log=log) as kept, requests.Session() as asking:
        asking.trust_env = False
        until(lambda: _is_healthy(client), kept, log)

        def ask(path: str, **fields: str) -> requests.Response:
            body = {name: base64.b64encode(value.encode()).decode() for name, value in fields.items()}
            answer = asking.post(f"{client}/v3/{path}", json=body, timeout=20)
            answer.raise_for_status()
            return answer

        for key, value in wanted.items():
            ask("kv/put", key=key, value="before")
            ask("kv/put", key=key, value=value)
        gone = "/registry/secrets/default/0300"
        ask("kv/deleterange", key=gone)
        told = [json.loads(line)["result"] for line in ask("maintenance/snapshot").text.splitlines() if line]
    snapshot = tmp_path / "snapshot.db"
    snapshot.write_bytes(b"".join(base64.b64decode(one.get("blob", "")) for one in told))
    require_whole(snapshot)
    wanted.pop(gone)
    assert keys_in(snapshot) == {key: value.encode() for key, value in wanted.items()}
