"""One machine, seen through its instance and its boot volume."""

from dataclasses import dataclass
from typing import Any, Literal

from ocifree_pipeline.sandbox.oracle import vnics
from ocifree_pipeline.sandbox.oracle.shape_catalogue import SHAPES, Shape
from ocifree_pipeline.sandbox.world import Resource, World

Phase = Literal["off", "booting", "up", "silent"]

CONSOLE_CHARACTERS = 256 * 1024


@dataclass(frozen=True, slots=True)
class Machine:
    """``volume`` is None when the boot volume was detached. All state lives in the two resources."""

    world: World
    instance: Resource
    volume: Resource | None

    @property
    def state(self) -> dict[str, Any]:
        found: dict[str, Any] = self.instance.hidden.setdefault(
            "machine",
            {
                "phase": "off",
                "boots": 0,
                "reason": "it was never powered on",
                "console": "",
                "backend": "",
                "since": "",
            },
        )
        return found

    @property
    def guest(self) -> dict[str, Any]:
        """What the guest has made of its disk."""
        if self.volume is None:
            raise LookupError(f"instance {self.instance.ocid} has no boot volume")
        found: dict[str, Any] = self.volume.hidden.setdefault("guest", {})
        return found

    @property
    def disk(self) -> dict[str, Any]:
        """What was on the disk when its image was imported (``disks.inspection.Contents`` and who made it)."""
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
    def ocpus(self) -> float:
        return float(self.instance.body["shapeConfig"]["ocpus"])

    @property
    def memory_gb(self) -> float:
        return float(self.instance.body["shapeConfig"]["memoryInGBs"])

    @property
    def metadata(self) -> dict[str, str]:
        return dict(self.instance.body.get("metadata") or {})

    @property
    def hostname(self) -> str:
        """The label of the primary VNIC, as DHCP hands it out; without one, a form of the instance's name."""
        for vnic in vnics.of_instance(self.world, self.instance.ocid):
            if vnic.body["isPrimary"] and vnic.body.get("hostnameLabel"):
                return str(vnic.body["hostnameLabel"])
        name = str(self.instance.body["displayName"]).lower()
        return "".join(one if one.isascii() and one.isalnum() else "-" for one in name).strip("-") or "localhost"

    def again(self) -> "Machine":
        """The same machine as it is now, for whoever kept this view for longer than one moment."""
        return of_instance(self.world, self.world.table("instance")[self.instance.ocid])

    def print(self, *lines: str) -> None:
        """Write to the serial console; the oldest output is lost first."""
        text = self.state["console"] + "".join(f"{line}\n" for line in lines)
        self.state["console"] = text[-CONSOLE_CHARACTERS:]


def of_instance(world: World, instance: Resource) -> Machine:
    return Machine(world, instance, boot_volume(world, instance.ocid))


def boot_volume(world: World, instance_id: str) -> Resource | None:
    """The boot volume that is attached to an instance."""
    for attachment in world.all("bootvolumeattachment"):
        body = attachment.body
        if body["instanceId"] == instance_id and body["lifecycleState"] in {"ATTACHING", "ATTACHED"}:
            return world.get("bootvolume", body["bootVolumeId"])
    return None


def owner_of(world: World, ip: str) -> Resource | None:
    """The instance that owns a private or public address."""
    vnic = vnics.at(world, ip)
    return world.get("instance", vnic.hidden.get("instance") or "") if vnic is not None else None
