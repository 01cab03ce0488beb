"""What the API says becomes our errors; what we ask is what its methods take."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Interface
from itertools import product
from typing import Any

import pytest
import requests
from proxmoxer.core import ResourceException

from ocifree_pipeline.deployment.errors import (
    AuthFailed,
    Conflict,
    Forbidden,
    NotVerified,
    OcifreeError,
    Refused,
    Transient,
)
from ocifree_pipeline.sandbox.proxmox import methods
from ocifree_pipeline.sandbox.proxmox.schema import validate
from ocifree_pipeline.systems.proxmox import containers, guests, migration
from ocifree_pipeline.systems.proxmox.api import Api, NotThere
from ocifree_pipeline.systems.talos.nodes import StaticAddress

UPID = "UPID:lab-ampere-1:00001234:00005678:65000000:qmcreate:100:ocifree@pve!pipeline:"


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


@dataclass
class Proxmox:
    """Stands in for proxmoxer: what is asked goes to one function."""

    answer: Callable[[str, str, dict[str, Any]], Any]
    asked: list[tuple[str, str, dict[str, Any]]] = field(default_factory=list)

    def __call__(self, path: str) -> Any:
        outer = self

        class Resource:
            def __getattr__(self, verb: str) -> Callable[..., Any]:
                def ask(**parameters: Any) -> Any:
                    outer.asked.append((verb, path, parameters))
                    return outer.answer(verb, path, parameters)

                return ask

        return Resource()


def api(answer: Callable[[str, str, dict[str, Any]], Any]) -> Api:
    return Api(Proxmox(answer), Clock())


def refusing(error: Exception) -> Api:
    def answer(*_: Any) -> Any:
        raise error

    return api(answer)


@pytest.mark.parametrize(
    ("status", "said", "kind"),
    [
        (401, "permission denied - invalid token", AuthFailed),
        (403, "Permission check failed (/vms/100, VM.Allocate)", Forbidden),
        (400, "Parameter verification failed.", Refused),
        (404, "Not Found", NotThere),
        (500, "Configuration file 'nodes/a/qemu-server/100.conf' does not exist", NotThere),
        (500, "unable to create VM 100 - VM 100 already exists on node 'a'", Conflict),
        (500, "can't lock file '/var/lock/qemu-server/lock-100.conf' - got timeout", Transient),
        (500, "cluster not ready - no quorum?", Transient),
        (595, "Errors during connection establishment, proxy handshake: No route to host", Transient),
        (500, "storage 'x' is not available", Refused),
        (501, "Method 'GET /x' not implemented", Refused),
    ],
)
def test_every_refusal_has_its_class(status: int, said: str, kind: type[OcifreeError]) -> None:
    with pytest.raises(kind) as refused:
        refusing(ResourceException(status, "phrase", said)).get("/version")
    assert type(refused.value) is kind
    assert said in refused.value.why


def test_a_parameter_that_is_wrong_is_named() -> None:
    error = ResourceException(400, "Bad Request", "Parameter verification failed.", {"vmid": "invalid format"})
    with pytest.raises(Refused) as refused:
        refusing(error).post("/nodes/a/qemu", vmid="x")
    assert "vmid: invalid format" in refused.value.why


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (requests.ConnectionError("refused"), Transient),
        (requests.exceptions.SSLError("[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed"), NotVerified),
        (requests.exceptions.SSLError("SSLEOFError(8, 'EOF occurred in violation of protocol')"), Transient),
    ],
)
def test_a_line_that_breaks_is_not_a_stranger_that_answers(error: Exception, kind: type[OcifreeError]) -> None:
    with pytest.raises(kind):
        refusing(error).get("/version")


def test_truth_is_one_and_what_is_nothing_is_not_sent() -> None:
    here = api(lambda *_: None)
    here.post("/nodes/a/qemu", onboot=True, kvm=False, cores=2, cpu=None)
    assert here.proxmox.asked == [("post", "nodes/a/qemu", {"onboot": 1, "kvm": 0, "cores": 2})]


def ending(*statuses: dict[str, Any], log: tuple[str, ...] = ()) -> Api:
    left = list(statuses)

    def answer(_verb: str, path: str, _parameters: dict[str, Any]) -> Any:
        if path.endswith("/log"):
            return [{"n": number, "t": line} for number, line in enumerate(log, start=1)]
        found = left.pop(0) if len(left) > 1 else left[0]
        if "error" in found:
            raise ResourceException(400, "Bad Request", found["error"])
        return found

    return api(answer)


RUNNING = {"status": "running"}


def test_a_task_is_waited_for_even_when_nobody_knows_it_yet() -> None:
    here = ending({"error": "upid: no such task"}, RUNNING, RUNNING, {"status": "stopped", "exitstatus": "OK"})
    assert here.wait(UPID) == ()
    assert {path for _, path, _ in here.proxmox.asked} == {f"nodes/lab-ampere-1/tasks/{UPID}/status"}


def test_a_task_with_warnings_has_ended_well_and_tells_them() -> None:
    here = ending({"status": "stopped", "exitstatus": "WARNINGS: 1"}, log=("WARN: slow disk", "TASK WARNINGS: 1"))
    assert "WARN: slow disk" in here.wait(UPID)


def test_a_task_that_failed_is_an_error_with_its_words() -> None:
    with pytest.raises(NotVerified, match="qmcreate failed") as refused:
        ending({"status": "stopped", "exitstatus": "unable to find storage"}).wait(UPID)
    assert refused.value.why == "unable to find storage"


def test_a_task_that_never_ends_is_given_up() -> None:
    with pytest.raises(Transient):
        ending(RUNNING).wait(UPID, timeout=30)


# what we ask ----------------------------------------------------------------------------------------------------------


def legal(verb: str, path: str, parameters: dict[str, Any]) -> None:
    """By the table of the sandbox, which was written from Proxmox' own."""
    found, places = methods.find(verb, path)
    here = api(lambda *_: None)
    here._call(verb.lower(), path, parameters)
    (_, _, wire) = here.proxmox.asked[0]
    validate(found.parameters, {name: str(value) for name, value in wire.items()} | places)


@pytest.mark.parametrize(("architecture", "has_kvm"), product(["aarch64", "x86_64"], [True, False]))
def test_guests_are_asked_for_as_the_api_takes_them(architecture: str, has_kvm: bool) -> None:
    machine = guests.Machine(
        name="lab-talos-1",
        node="lab-ampere-1",
        deployment="lab",
        cores=1,
        memory_gb=3,
        disk_gb=10,
        pool="vm-storage",
        bridge="vmbr0",
        address=StaticAddress(IPv4Interface("10.20.0.10/16"), IPv4Address("10.20.0.1")),
        image="local:import/ocifree-talos.qcow2",
        user_data="local:snippets/ocifree-lab-talos-1.yaml",
        architecture=architecture,
        has_kvm=has_kvm,
        has_agent=True,
    )
    wanted = guests.settings(machine)
    legal("POST", "/nodes/lab-ampere-1/qemu", {"vmid": 100, **wanted})
    assert not [name for name in wanted if name.startswith("ide")], "machines for ARM have no IDE"
    assert "arch" not in wanted, "only root may set it, and the node's own is right"
    assert wanted["cpu"] == {("aarch64", False): "max", ("x86_64", False): "x86-64-v2-AES"}.get(
        (architecture, has_kvm), "host"
    )
    probe = migration.Probe("lab", "lab-ampere-1", "lab-ampere-2", "vm-storage", architecture, has_kvm)
    legal("POST", "/nodes/lab-ampere-1/qemu", {"vmid": 101, **migration.settings(probe)})


def test_containers_and_moves_are_asked_for_as_the_api_takes_them() -> None:
    container = containers.Container(
        name="lab-ampere-1-tailnet",
        node="lab-ampere-1",
        deployment="lab",
        template="local:vztmpl/debian-13-standard_13.1-2_arm64.tar.zst",
        bridge="vmbr0",
        address=IPv4Interface("10.20.0.2/16"),
        gateway="10.20.0.1",
    )
    order = containers.order_of(container)
    legal("POST", order.path, {"vmid": 100, **order.parameters})
    assert "dev0" not in order.parameters, "only root's own login may give a device"
    legal("POST", "/nodes/a/qemu/100/migrate", {"target": "b", "online": True})
    legal("DELETE", "/nodes/a/qemu/100", {"purge": True})
    legal("PUT", "/nodes/a/qemu/100/resize", {"disk": "scsi0", "size": "10G"})
    legal("PUT", "/storage/local", {"content": "import,rootdir,snippets,vztmpl"})
    legal("POST", "/nodes/a/aplinfo", {"storage": "local", "template": "debian-13-standard_13.1-2_arm64.tar.zst"})
    fetch = {
        "content": "import",
        "filename": "x.qcow2",
        "url": "https://factory.talos.dev/image/x",
        "checksum": "0" * 64,
    }
    legal("POST", "/nodes/a/storage/local/download-url", {**fetch, "checksum-algorithm": "sha256"})


@pytest.mark.parametrize(
    ("drive", "gigabytes"),
    [
        ("vm-storage:vm-100-disk-1,discard=on,size=1246M", 1246 / 1024),
        ("local:100/vm.raw,size=10G", 10),
        ("x:y,size=1T", 1024),
        ("x:y", 0),
    ],
)
def test_the_size_of_a_disk_is_read_in_any_unit(drive: str, gigabytes: float) -> None:
    assert guests._size_gb(drive) == pytest.approx(gigabytes)
