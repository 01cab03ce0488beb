"""One Oracle instance as a computer, seen through the instance and its boot volume."""

import base64
import binascii
import gzip
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from ocifree_pipeline.sandbox.machines.computer import Phase, Platform, Verdict, new_state, print_to
from ocifree_pipeline.sandbox.oracle import vnics
from ocifree_pipeline.sandbox.oracle.shape_catalogue import SHAPES, Shape
from ocifree_pipeline.sandbox.world import Resource, World


@dataclass(frozen=True, slots=True)
class Machine:
    """``volume`` is None when the boot volume was detached. All state lives in the two resources."""

    world: World
    instance: Resource
    volume: Resource | None

    @property
    def key(self) -> str:
        return self.instance.ocid

    @property
    def state(self) -> dict[str, Any]:
        found: dict[str, Any] = self.instance.hidden.setdefault("machine", new_state())
        return found

    @property
    def guest(self) -> dict[str, Any]:
        if self.volume is None:
            raise LookupError(f"instance {self.instance.ocid} has no boot volume")
        found: dict[str, Any] = self.volume.hidden.setdefault("guest", {})
        return found

    @property
    def disk(self) -> dict[str, Any]:
        found: dict[str, Any] = self.volume.hidden["disk"] if self.volume is not None else {}
        return found

    @property
    def phase(self) -> Phase:
        phase: Phase = self.state["phase"]
        return phase

    @property
    def boots(self) -> int:
        return int(self.state["boots"])

    @property
    def shape(self) -> Shape:
        return SHAPES[self.instance.body["shape"]]

    @property
    def architecture(self) -> str:
        return self.shape.architecture

    @property
    def is_uefi(self) -> bool:
        return bool(self.instance.body["launchOptions"]["firmware"] == "UEFI_64")

    @property
    def vcpus(self) -> int:
        return int(self.instance.body["shapeConfig"]["ocpus"] * self.shape.threads_per_ocpu)

    @property
    def memory_gb(self) -> float:
        return float(self.instance.body["shapeConfig"]["memoryInGBs"])

    @property
    def hostname(self) -> str:
        """The label of the primary VNIC, as DHCP hands it out; without one, a form of the instance's name."""
        for vnic in vnics.of_instance(self.world, self.instance.ocid):
            if vnic.body["isPrimary"] and vnic.body.get("hostnameLabel"):
                return str(vnic.body["hostnameLabel"])
        name = str(self.instance.body["displayName"]).lower()
        return "".join(one if one.isascii() and one.isalnum() else "-" for one in name).strip("-") or "localhost"

    @property
    def addresses(self) -> list[str]:
        """The private ones: Oracle does not tell a guest its public address."""
        return [str(one.body["privateIp"]) for one in vnics.of_instance(self.world, self.instance.ocid)]

    @property
    def platform(self) -> Platform:
        return "oracle"

    @property
    def ssh_keys(self) -> list[str]:
        lines = str(self._metadata.get("ssh_authorized_keys", "")).splitlines()
        return [line.strip() for line in lines if line.strip()]

    def user_data(self) -> str | None:
        """From the instance's metadata: text in Base64, packed or not."""
        raw = self._metadata.get("user_data")
        if not raw:
            return None
        try:
            data = base64.b64decode("".join(raw.split()), validate=True)
            return (gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data).decode()
        except (binascii.Error, OSError, EOFError, UnicodeDecodeError) as error:
            raise ValueError(f"its user data is no text in Base64: {error}") from None

    def judge(self) -> Verdict:
        from ocifree_pipeline.sandbox.machines import firmware

        return firmware.judge(self)

    def again(self) -> "Machine":
        return of_instance(self.world, self.world.table("instance")[self.instance.ocid])

    def print(self, *lines: str) -> None:
        print_to(self.state, lines)

    @property
    def _metadata(self) -> dict[str, str]:
        return dict(self.instance.body.get("metadata") or {})


def of_instance(world: World, instance: Resource) -> Machine:
    return Machine(world, instance, boot_volume(world, instance.ocid))


def boot_volume(world: World, instance_id: str) -> Resource | None:
    """The boot volume that is attached to an instance."""
    for attachment in world.all("bootvolumeattachment"):
        body = attachment.body
        if body["instanceId"] == instance_id and body["lifecycleState"] in {"ATTACHING", "ATTACHED"}:
            return world.get("bootvolume", body["bootVolumeId"])
    return None


def everyone(world: World) -> Iterator[Machine]:
    """Every instance of a world that has a disk."""
    for instance in world.all("instance"):
        machine = of_instance(world, instance)
        if machine.volume is not None:
            yield machine


def locate(world: World, ip: str) -> Machine | None:
    """The machine that owns a private or public address."""
    vnic = vnics.at(world, ip)
    instance = world.get("instance", vnic.hidden.get("instance") or "") if vnic is not None else None
    return of_instance(world, instance) if instance is not None else None
