"""A tenancy with a bucket, a small disk image, and everything that an import of it needs."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import oci

from ocifree_pipeline.deployment.image_rollout import Imported, WantedImage
from ocifree_pipeline.deployment.plan import A1_SHAPE
from ocifree_pipeline.sandbox.disks.making import make_qcow2
from ocifree_pipeline.sandbox.faults import Rule
from ocifree_pipeline.sandbox.profiles import Profile
from ocifree_pipeline.systems.images.progress import Tell
from ocifree_pipeline.systems.oci.custom_images import CustomImages, Source
from ocifree_pipeline.systems.oci.foundation.kinds import Scope
from ocifree_pipeline.systems.oci.objects import Place, Stored, Upload
from ocifree_pipeline_tests.sandbox.harness import running
from ocifree_pipeline_tests.systems.oci.tenancy import Tenancy

BUCKET = "lab-images"
KEY = "oci/custom_image/talos_oracle"
PART = 128 * 1024


@dataclass
class ImageWorld:
    tenancy: Tenancy
    namespace: str
    told: list[Any] = field(default_factory=list)

    @property
    def scope(self) -> Scope:
        return Scope(self.tenancy.session, "lab", self.tenancy.session.tenancy)

    def disk(self, identity: str = "first", loader: str = "aarch64") -> tuple[Path, str]:
        path = self.tenancy.folder / f"{identity}.qcow2"
        path.write_bytes(make_qcow2((loader,), label="META", identity=identity))
        return path, hashlib.sha256(path.read_bytes()).hexdigest()

    def place(self, digest: str) -> Place:
        return Place(self.namespace, BUCKET, f"images/talos_oracle/{digest}.qcow2")

    def upload(self, identity: str = "first", *, part_bytes: int = PART, tell: Tell | None = None) -> Stored:
        """As a process that has just started does it."""
        path, digest = self.disk(identity)
        return Upload(
            self.tenancy.session, self.tenancy.journal(), self.place(digest), path, digest,
            tell=tell or self.told.append, part_bytes=part_bytes,
        ).run()  # fmt: skip

    def images(self) -> CustomImages:
        return CustomImages(self.scope, KEY, self.tenancy.journal(), clock=self.tenancy.clock)

    def wanted(self, identity: str = "first", firmware: Any = "UEFI_64", shape: str = A1_SHAPE) -> WantedImage:
        return WantedImage("talos_oracle", self.disk(identity)[1], firmware, shape)

    def converge(self, identity: str = "first", **more: Any) -> Imported:
        """Upload, import, and remove what nobody runs from."""
        wanted, images = self.wanted(identity, **more), self.images()
        plan = images.plan(wanted)
        if plan.imports:
            self.upload(identity, part_bytes=0)
        image = images.converge(plan, Source(self.place(wanted.sha256), "Talos"))
        for older in plan.removes:
            images.remove(older)
        return image

    def fault(self, operation: str, moment: str = "before", **more: Any) -> None:
        self.tenancy.sandbox.faults.add(Rule(operation=operation, moment=moment, **more))  # type: ignore[arg-type]

    def operations(self) -> list[str]:
        return self.tenancy.mutating_calls()

    def objects(self) -> dict[str, int]:
        return self.tenancy.sandbox.inside(
            lambda world: {
                name: one["size"] for bucket in world.all("bucket") for name, one in bucket.hidden["objects"].items()
            }
        )

    def uploads(self) -> int:
        return self.tenancy.sandbox.inside(lambda world: sum(len(b.hidden["uploads"]) for b in world.all("bucket")))

    def content(self, place: Place) -> bytes:
        client = self.tenancy.session.client("object_storage.ObjectStorageClient")
        content: bytes = client.get_object(place.namespace, place.bucket, place.name).data.content
        return content

    def custom_images(self) -> list[str]:
        return self.tenancy.sandbox.inside(
            lambda world: sorted(one.body["freeformTags"].get("ocifree-sha256", "") for one in world.all("image")
                                 if not one.gone)
        )  # fmt: skip


@contextmanager
def image_world(folder: Path, **profile: Any) -> Iterator[ImageWorld]:
    folder.mkdir(parents=True, exist_ok=True)
    with running(folder, profile=Profile(**({"account": "payg"} | profile))) as sandbox:
        tenancy = Tenancy(sandbox, folder)
        client = tenancy.session.client("object_storage.ObjectStorageClient")
        namespace = client.get_namespace().data
        client.create_bucket(
            namespace, oci.object_storage.models.CreateBucketDetails(name=BUCKET, compartment_id=sandbox.tenancy)
        )
        sandbox.recorder.clear()
        yield ImageWorld(tenancy, namespace)
