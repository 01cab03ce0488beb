"""Programs of tools/clients: Oracle's Go SDK and go-proxmox, which nobody of ours has met before."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ocifree_pipeline.sandbox import process
from ocifree_pipeline.sandbox.process import Options, Running
from ocifree_pipeline_tests.real.programs import program
from ocifree_pipeline_tests.sandbox.proxmox.rig import ROOT
from ocifree_pipeline_tests.sandbox.proxmox.served import served

NO_ROOM = {"operation": "LaunchInstance", "message": "Out of host capacity."}


def said(*words: str, environ: dict[str, str], meanwhile: Callable[[], None] = lambda: None) -> list[str]:
    """Every line of it. What has to go on while it runs goes on."""
    with subprocess.Popen(
        words, env=os.environ | environ, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as child:
        while True:
            try:
                out, _ = child.communicate(timeout=0.05)
            except subprocess.TimeoutExpired:
                meanwhile()
            else:
                break
    assert child.returncode == 0, out
    return out.splitlines()


@pytest.fixture
def account(tmp_path: Path) -> Iterator[Running]:
    program("oci-client")
    here = process.start(tmp_path / "sandbox", Options(profile={"a1_ocpus": 2, "a1_memory_gb": 12}, mode="immediate"))
    yield here
    here.stop()


@pytest.mark.real("Oracle's Go SDK")
def test_a_network_an_object_and_a_machine(account: Running) -> None:
    environ = account.environment()
    account.call("POST", "faults", NO_ROOM)
    assert said(program("oci-client"), environ["OCI_CONFIG_FILE"], environ=environ) == [
        "domains 3",
        "created once true",
        "changed by somebody else 412 NoEtagMatch",
        "name renamed",
        "still in use 409 Conflict",
        "security lists 1",
        "object over the wire",
        "not empty 409 BucketNotEmpty",
        "no room 500 InternalError",
        "instance RUNNING 1",
    ]


@pytest.mark.real("go-proxmox")
def test_a_guest_is_made_run_and_removed(tmp_path: Path) -> None:
    name = program("proxmox-client")
    with served(tmp_path, 2, clustered=True) as here:
        address = f"https://127.0.0.1:{here.port('pve1')}/api2/json"
        lines = said(name, address, "root@pam", ROOT, environ={"SSL_CERT_FILE": here.authority()}, meanwhile=here.wait)
    assert lines == [
        "release 9.2",
        "cluster lab 1 2",
        "node pve1 online",
        "node pve2 online",
        "made qmcreate OK",
        "guest go stopped 1",
        "tagged qmconfig OK",
        "started qmstart WARNINGS: 1",
        "running true",
        "stopped qmstop OK",
        "removed qmdestroy OK",
        "gone true",
        "a stranger true",
    ]
