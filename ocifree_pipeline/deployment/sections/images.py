"""`images`: where the disk image of each machine comes from."""

from __future__ import annotations

from typing import Annotated, Literal, get_args

from pydantic import Field, model_validator

from ocifree_pipeline.deployment.objection import Objection, refuse
from ocifree_pipeline.deployment.sections.section import HttpsUrl, Section, Several, between, matching
from ocifree_pipeline.deployment.sections.site import Account

ImageName = Literal["base_hardened_amd64", "base_hardened_arm64", "proxmox_ampere", "talos"]
IMAGE_NAMES: tuple[ImageName, ...] = get_args(ImageName)
Origin = Literal["build", "prebuilt", "platform"]


Sha256 = Annotated[
    str,
    matching(
        r"[0-9a-f]{64}",
        "not a SHA-256 checksum: 64 digits and letters a to f",
        "run `sha256sum IMAGE` and paste the first column",
    ),
]
Sha512 = Annotated[
    str,
    matching(
        r"[0-9a-f]{128}",
        "not a SHA-512 checksum: 128 digits and letters a to f",
        "paste the first column of the publisher's SHA512SUMS",
    ),
]


class BuildSource(Section):
    """What a build starts from: Debian's generic cloud image as qcow2, or its installer. One checksum is needed."""

    url: HttpsUrl = Field(
        description="Where to fetch it, over https, from a mirror of your choice.",
        examples=["https://images.example.org/debian-13-generic-arm64.qcow2"],
    )
    kind: Literal["image", "installer"] = Field(
        "image",
        description="Whether it is the image of a disk, or Debian's netinst disc (.iso), which is installed first. "
        "That takes longer, and is there for amd64 only.",
    )
    sha512: Sha512 | None = Field(
        None, description="Its SHA-512 checksum, as in Debian's SHA512SUMS.", examples=["0123456789abcdef" * 8]
    )
    sha256: Sha256 | None = Field(
        None,
        description="Its SHA-256 checksum, where the publisher shows that one instead.",
        examples=["0123456789abcdef" * 4],
    )

    @model_validator(mode="after")
    def _one_checksum(self) -> BuildSource:
        if (self.sha512 is None) == (self.sha256 is None):
            seen = "none is written" if self.sha512 is None else "two are written"
            raise refuse(
                Objection(
                    f"a source is proved by exactly one checksum, and {seen}",
                    "write `sha512` from the publisher's SHA512SUMS, or `sha256`",
                )
            )
        return self

    @property
    def checksum(self) -> str:
        """As `sha512:HEX` or `sha256:HEX`."""
        return f"sha512:{self.sha512}" if self.sha512 else f"sha256:{self.sha256}"


class PackerBuild(Section):
    """Built by Packer on this computer."""

    source: BuildSource | None = Field(
        None,
        description="What the build starts from; no mirror is chosen for you, so a build needs it. proxmox_ampere "
        "starts from base_hardened_arm64 and has none.",
    )
    debian: Literal[12, 13] = Field(
        13, description="The Debian release. Proxmox VE for arm64 exists for Debian 13 only, and so must its base be."
    )


class TalosBuild(Section):
    """Composed by the Talos Image Factory."""

    extensions: Several[
        Annotated[
            str,
            matching(
                r"[a-z0-9-]+/[a-z0-9-]+",
                "not the name of a system extension",
                "write vendor and name, such as siderolabs/iscsi-tools",
            ),
        ]
    ] = Field((), description="System extensions to add to those the platform needs by itself.")


class Prebuilt(Section):
    """An image someone else built, fetched once and checked."""

    url: HttpsUrl = Field(
        description="Where to fetch the qcow2 image, over https.",
        examples=["https://images.example.org/talos-oracle-arm64.qcow2"],
    )
    sha256: Sha256 = Field(
        description="Its SHA-256 checksum. An image that does not match is thrown away.",
        examples=["0123456789abcdef" * 4],
    )


class PlatformImage(Section):
    """An image that Oracle offers. The machine is turned into what is needed on its first boot."""

    operating_system: Literal["Canonical Ubuntu", "Oracle Linux"] = Field(
        description="The operating system as Oracle names it. There is no Debian among Oracle's free images.",
        examples=["Canonical Ubuntu"],
    )
    version: Annotated[
        str,
        matching(
            r"[0-9]+(\.[0-9]+)?( Minimal)?( aarch64)?",
            "not a version as Oracle writes it",
            'write it in quotes, such as "24.04" or "9"',
        ),
    ] = Field(description="The version as Oracle writes it, in quotes.", examples=["24.04"])


class _OneOrigin(Section):
    @model_validator(mode="after")
    def _exactly_one(self) -> _OneOrigin:
        written = [name for name in get_args(Origin) if getattr(self, name, None) is not None]
        if len(written) != 1:
            seen = "it has none" if not written else f"it has {' and '.join(written)}"
            raise refuse(
                Objection(
                    f"an image comes from exactly one place, and {seen}",
                    "write one of `build: {}`, `prebuilt: {url, sha256}` or `platform: {operating_system, version}`",
                )
            )
        return self

    @property
    def origin(self) -> Origin:
        return next(name for name in get_args(Origin) if getattr(self, name, None) is not None)


class DebianImage(_OneOrigin):
    """Write exactly one of the three."""

    build: PackerBuild | None = Field(None, description="Build it with Packer. `build: {}` takes the defaults.")
    prebuilt: Prebuilt | None = Field(None, description="Fetch it.")
    platform: PlatformImage | None = Field(None, description="Start from an image that Oracle offers.")


class TalosImage(_OneOrigin):
    """Write exactly one of the three."""

    build: TalosBuild | None = Field(
        None, description="Let the Talos Image Factory compose it, at kubernetes.talos_version."
    )
    prebuilt: Prebuilt | None = Field(None, description="Fetch it.")
    platform: PlatformImage | None = Field(
        None, description="Start from an image that Oracle offers and write Talos over it on first boot."
    )


Image = DebianImage | TalosImage

_UBUNTU = PlatformImage(operating_system="Canonical Ubuntu", version="24.04")
_BUILT = DebianImage(build=PackerBuild())
_DEFAULTS: dict[Account, dict[ImageName, Image]] = {
    "payg": {
        "base_hardened_amd64": _BUILT,
        "base_hardened_arm64": _BUILT,
        "proxmox_ampere": _BUILT,
        "talos": TalosImage(build=TalosBuild()),
    },
    "free": {
        "base_hardened_amd64": DebianImage(platform=_UBUNTU),
        "base_hardened_arm64": DebianImage(platform=_UBUNTU),
        "talos": TalosImage(platform=_UBUNTU),
    },
}


class Images(Section):
    """Left out, an image is built on a `payg` account, and taken from Oracle's own images on a `free` one."""

    base_hardened_amd64: DebianImage | None = Field(None, description="The bastion: x86, hardened.")
    base_hardened_arm64: DebianImage | None = Field(None, description="The base that proxmox_ampere is built on.")
    proxmox_ampere: DebianImage | None = Field(None, description="Proxmox VE and Ceph for A1 machines.")
    talos: TalosImage | None = Field(None, description="Talos Linux, for A1 machines or for Proxmox guests.")
    max_gb: Annotated[int, between(1, 10, "an image of more than 10 GB leaves no room for the others")] = Field(
        10, description="No single image may be larger, in GB."
    )
    total_gb: Annotated[int, between(1, 20, "20 GB of object storage are free")] = Field(
        20, description="All images together may not be larger, in GB."
    )
    keep_uploads: bool = Field(
        False,
        description="Whether the uploaded file of an imported image stays in the bucket, where it takes free storage.",
    )

    @model_validator(mode="after")
    def _what_proxmox_needs(self) -> Images:
        image = self.proxmox_ampere
        found: list[Objection] = []
        if image and image.platform:
            found.append(
                Objection(
                    "Proxmox VE installs on Debian, and Oracle offers no Debian image",
                    "write `build: {}` or `prebuilt: {url, sha256}`",
                    at=("proxmox_ampere", "platform"),
                )
            )
        if image and image.build and image.build.source:
            found.append(
                Objection(
                    "proxmox_ampere is built on base_hardened_arm64",
                    "write it to base_hardened_arm64.build.source",
                    at=("proxmox_ampere", "build", "source"),
                )
            )
        if image and image.build and image.build.debian != 13:
            found.append(
                Objection(
                    "Proxmox VE for arm64 exists for Debian 13 only",
                    "write 13",
                    at=("proxmox_ampere", "build", "debian"),
                )
            )
        base = self.base_hardened_arm64
        if image and image.build and base and base.build and base.build.debian != 13:
            found.append(
                Objection(
                    "proxmox_ampere is built on this image, and Proxmox VE for arm64 exists for Debian 13 only",
                    "write 13",
                    at=("base_hardened_arm64", "build", "debian"),
                    involves=(("proxmox_ampere",),),
                )
            )
        if base and base.build and base.build.source and base.build.source.kind == "installer":
            found.append(
                Objection(
                    "the installer is run for amd64 only",
                    "start from Debian's generic cloud image for arm64 (`kind: image`)",
                    at=("base_hardened_arm64", "build", "source", "kind"),
                )
            )
        if self.max_gb > self.total_gb:
            found.append(
                Objection(
                    f"more than total_gb ({self.total_gb})",
                    f"write {self.total_gb} or less",
                    at=("max_gb",),
                    involves=(("total_gb",),),
                )
            )
        if found:
            raise refuse(*found)
        return self

    def image(self, name: ImageName, account: Account) -> Image | None:
        """What is declared, or the default of the account; None where such an account cannot have that image."""
        declared: Image | None = getattr(self, name)
        return declared or _DEFAULTS[account].get(name)
