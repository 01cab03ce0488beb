"""tofu/talos by the unmodified provider siderolabs/talos, on machines of the sandbox that wait in maintenance mode."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from pydantic import SecretStr

from ocifree_pipeline.sandbox.machines import Reached
from ocifree_pipeline.systems.kube.api import api_at
from ocifree_pipeline.systems.kube.kubeconfig import credentials_of
from ocifree_pipeline_tests.real.opentofu import Site, site_of
from ocifree_pipeline_tests.sandbox.talos.lab import KUBERNETES, Lab, lab
from ocifree_pipeline_tests.sandbox.talos_nodes import INSTALLER, NAME

pytestmark = [pytest.mark.real("OpenTofu + siderolabs/talos"), pytest.mark.timeout(400)]
MODULE = Path(__file__).parents[2] / "tofu" / "talos"


@pytest.fixture
def here(tmp_path: Path) -> Iterator[Lab]:
    with lab(tmp_path / "lab") as found:
        yield found


@pytest.fixture
def site(tmp_path: Path, here: Lab) -> Site:
    return replace(site_of(MODULE, "siderolabs/talos", tmp_path), meanwhile=lambda: here.here.wait(10))


@contextmanager
def dialled(reached: Callable[[], Reached | None]) -> Iterator[str]:
    """A port that leads to the API of a machine, whatever the machine does meanwhile."""
    listening = socket.create_server(("127.0.0.1", 0))

    def pass_on() -> None:
        with suppress(OSError):
            while True:
                near, _ = listening.accept()
                found = reached()
                address = found.address if found else None
                if address is None:
                    near.close()
                    continue
                far = socket.create_connection(address)
                for one, other in ((near, far), (far, near)):
                    threading.Thread(target=_copy, args=(one, other), daemon=True).start()

    threading.Thread(target=pass_on, daemon=True).start()
    try:
        yield f"127.0.0.1:{listening.getsockname()[1]}"
    finally:
        listening.close()


def _copy(one: socket.socket, other: socket.socket) -> None:
    with suppress(OSError):
        while data := one.recv(65536):
            other.sendall(data)
    with suppress(OSError):
        other.shutdown(socket.SHUT_WR)


def test_the_module_is_sound_by_itself(site: Site) -> None:
    site.is_sound(MODULE)


def test_from_maintenance_mode_to_a_kubeconfig_and_nothing_more_to_do(here: Lab, site: Site) -> None:
    machines = [here.machine() for _ in range(3)]
    ways = [dialled(machine.reached) for machine in machines]
    with ways[0] as first, ways[1] as second, ways[2] as third:
        nodes = {
            f"lab-{number}": {"address": machine.ip, "role": "controlplane", "dialled": port}
            for number, (machine, port) in enumerate(zip(machines, (first, second, third), strict=True), start=1)
        }
        site.given(cluster="lab", endpoint=f"https://{NAME}:6443", installer=INSTALLER.partition(":")[0], nodes=nodes)
        site.tofu("apply", "-input=false", "-auto-approve", "-no-color")
        here.here.wait(120)
        assert site.changes() == []
        kubeconfig = json.loads(site.tofu("output", "-json", "kubeconfig"))
        talosconfig = yaml.safe_load(json.loads(site.tofu("output", "-json", "talosconfig")))
    assert talosconfig["contexts"]["lab"]["endpoints"] == [machine.ip for machine in machines]
    for machine in machines:
        address = machine.reached(KUBERNETES).address
        assert address is not None
        with api_at(address, credentials_of(SecretStr(kubeconfig))) as api:
            assert api.version() == "1.36.3"
            assert {one["metadata"]["name"] for one in api.list(api.require("v1", "Node"))} == set(nodes)
