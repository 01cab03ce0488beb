"""What is in an image, as a bill of materials in CycloneDX, which scanners read."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import NAMESPACE_URL, uuid5

_VENDORS = {"Tailscale": "tailscale", "Proxmox": "proxmox"}
"""Whoever keeps a package; everybody else's comes from Debian."""


@dataclass(frozen=True, slots=True)
class Package:
    """As dpkg knows it."""

    name: str
    version: str
    architecture: str
    keeper: str

    @property
    def vendor(self) -> str:
        return next((vendor for word, vendor in _VENDORS.items() if word in self.keeper), "debian")


def packages_in(listed: str) -> tuple[Package, ...]:
    """The lines of the step `packages`: name, version, architecture and keeper, by tabs."""
    rows = [line.split("\t") for line in listed.splitlines() if line]
    return tuple(Package(*row) for row in rows if len(row) == 4)


def bill_of(packages: tuple[Package, ...], *, image: str, debian: int, sha256: str) -> str:
    """The same image has the same bill but for the time at which it was written."""
    from cyclonedx.model import HashAlgorithm, HashType
    from cyclonedx.model.bom import Bom
    from cyclonedx.model.component import Component, ComponentType
    from cyclonedx.model.contact import OrganizationalEntity
    from cyclonedx.output.json import JsonV1Dot6
    from packageurl import PackageURL

    bill = Bom(serial_number=uuid5(NAMESPACE_URL, f"urn:ocifree:image:{sha256}"))
    disk = Component(
        name=image,
        type=ComponentType.OPERATING_SYSTEM,
        version=str(debian),
        bom_ref=image,
        hashes=[HashType(alg=HashAlgorithm.SHA_256, content=sha256)],
    )
    bill.metadata.component = disk
    found = []
    for one in packages:
        qualifiers = {"arch": one.architecture, "distro": f"debian-{debian}"}
        url = PackageURL("deb", one.vendor, one.name, one.version, qualifiers)
        found.append(
            Component(
                name=one.name,
                version=one.version,
                bom_ref=str(url),
                purl=url,
                supplier=OrganizationalEntity(name=one.keeper),
            )
        )
    bill.components.update(found)
    bill.register_dependency(disk, found)
    return str(JsonV1Dot6(bill).output_as_string(indent=1))
