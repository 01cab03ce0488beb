"""Custom images: import a disk with the firmware that it needs, say which shape it starts on, and read both back.

The SDK's model of the import has no launch options, and without them Oracle gives BIOS to everything, which A1 cannot
start. So the request is made by hand through the SDK's own signer. Where Oracle ignores the options all the same, a
capability schema of the image says the same thing.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from ocifree_pipeline.deployment.errors import (
    LimitReached,
    NotVerified,
    OcifreeError,
    Transient,
)
from ocifree_pipeline.deployment.image_rollout import ARRIVING, Firmware, Imported, Rollout, WantedImage, rollout
from ocifree_pipeline.systems.journal import Intent, Journal
from ocifree_pipeline.systems.oci.errors import TokenWornOut, told
from ocifree_pipeline.systems.oci.foundation.kinds import ROLE_TAG, Scope
from ocifree_pipeline.systems.oci.instances import OVER
from ocifree_pipeline.systems.oci.objects import Place
from ocifree_pipeline.systems.oci.session import every, reading
from ocifree_pipeline.systems.oci.waiting import Clock, Pause, TimedOut, wait_for

DIGEST_TAG = "ocifree-sha256"
IMPORT, SCHEMA = "ImportImage", "CreateImageCapabilitySchema"
IMPORT_SECONDS = 3600.0
FIRMWARE = "Compute.Firmware"

_PARAVIRTUALIZED: Mapping[str, object] = {
    "bootVolumeType": "PARAVIRTUALIZED",
    "networkType": "PARAVIRTUALIZED",
    "remoteDataVolumeType": "PARAVIRTUALIZED",
    "isPvEncryptionInTransitEnabled": True,
    "isConsistentVolumeNamingEnabled": True,
}


@dataclass(frozen=True, slots=True)
class Source:
    """The object to import, and what the system in it is called."""

    place: Place
    operating_system: str
    version: str | None = None


@dataclass(frozen=True, slots=True)
class _Seen:
    """An import under way: the image, and the work request if Oracle still knows it."""

    image: Any
    request: Any

    @property
    def status(self) -> str:
        percent = f", {self.request.percent_complete:.0f} %" if self.request else ""
        return f"{self.image.lifecycle_state}{percent}"


@dataclass(frozen=True)
class CustomImages:
    """The custom images of one deployment under one role, such as `oci/custom_image/talos_oracle`."""

    scope: Scope
    role: str
    journal: Journal
    say: Callable[[str], None] = lambda line: None
    clock: Clock = time
    now: Callable[[], datetime] = field(default=lambda: datetime.now(UTC))

    @property
    def _compute(self) -> Any:
        return self.scope.session.client("core.ComputeClient")

    # observing ------------------------------------------------------------------------------------------------------

    def plan(self, wanted: WantedImage) -> Rollout:
        """Reads only."""
        with told(f"look for the custom images of {wanted.name}"):
            images = every(self._compute.list_images, self.scope.inside)
            ours = [one for one in images if self.scope.is_ours(one) and one.freeform_tags.get(ROLE_TAG) == self.role]
            instances = every(self._compute.list_instances, self.scope.inside) if ours else []
        users: dict[str, list[str]] = {}
        for one in instances:
            if one.lifecycle_state not in OVER:
                users.setdefault(str(one.image_id), []).append(str(one.display_name))
        return rollout(wanted, [self._described(one, tuple(users.get(one.id, ()))) for one in ours])

    def read(self, image_id: str) -> Imported:
        """One image as it is now, with the firmware that an instance of it would get."""
        with told("read a custom image"):
            return self._described(self._compute.get_image(image_id, retry_strategy=reading()).data, ())

    def _described(self, image: Any, used_by: tuple[str, ...]) -> Imported:
        ready = image.lifecycle_state not in ARRIVING
        return Imported(
            id=image.id,
            sha256=image.freeform_tags.get(DIGEST_TAG, ""),
            state=image.lifecycle_state,
            created=image.time_created.isoformat(),
            firmware=self._firmware(image) if ready else "",
            shapes=frozenset(self._shapes(image.id)) if ready else frozenset(),
            used_by=used_by,
        )

    def _shapes(self, image_id: str) -> list[str]:
        with told("read the shapes of a custom image"):
            return [one.shape for one in every(self._compute.list_image_shape_compatibility_entries, image_id)]

    def _firmware(self, image: Any) -> str:
        """A schema of the image's own stands above the launch options that it was imported with."""
        with told("read the firmware of a custom image"):
            for one in every(self._compute.list_compute_image_capability_schemas, image_id=image.id):
                schema = self._compute.get_compute_image_capability_schema(one.id, retry_strategy=reading()).data
                descriptor = (schema.schema_data or {}).get(FIRMWARE)
                if descriptor is not None and descriptor.default_value:
                    return str(descriptor.default_value)
        return str(image.launch_options.firmware) if image.launch_options else ""

    # making ---------------------------------------------------------------------------------------------------------

    def converge(self, plan: Rollout, source: Source) -> Imported:
        """The wanted image, usable and read back. Removes no image; that comes when everything else stands."""
        image_id = plan.current.id if plan.current is not None else self._import(plan.wanted, source)
        image = self._until_usable(image_id, plan.wanted)
        if image.firmware != plan.wanted.firmware:
            self._give_firmware(image, plan.wanted)
        if plan.wanted.shape not in image.shapes:
            self._add_shape(image.id, plan.wanted.shape)
        image = self.read(image_id)
        if image.firmware != plan.wanted.firmware or plan.wanted.shape not in image.shapes:
            raise NotVerified(
                f"the custom image {plan.wanted.name} is not as it was asked for",
                why=f"it has {image.firmware} and {', '.join(sorted(image.shapes)) or 'no shape'}; wanted were "
                f"{plan.wanted.firmware} and {plan.wanted.shape}",
                fix=f"oci compute image delete --image-id {image.id}, then materialize the asset again",
            )
        return image

    def remove(self, image: Imported) -> None:
        """An image that nothing runs from. Gone already is fine."""
        from oci.exceptions import ServiceError

        with told("remove an older custom image"):
            try:
                self._compute.delete_image(image.id)
            except ServiceError as error:
                if error.status != 404:
                    raise

    def _import(self, wanted: WantedImage, source: Source) -> str:
        intent = self.journal.intend(
            IMPORT, f"{self.role}@{wanted.sha256}", {"object": source.place.name}, now=self.now()
        )
        self.say(f"import {source.place} as {wanted.firmware}")
        with self._ended_unless_passing(intent), _explained(wanted.name), told(f"import {wanted.name}"):
            answer = self._compute.base_client.call_api(
                resource_path="/images",
                method="POST",
                header_params={
                    "accept": "application/json",
                    "content-type": "application/json",
                    "opc-retry-token": intent.token,
                },
                body=self._request(wanted, source),
                response_type="Image",
                operation_name="create_image",
            )
        return str(answer.data.id)

    def _request(self, wanted: WantedImage, source: Source) -> dict[str, Any]:
        return {
            "compartmentId": self.scope.inside,
            "displayName": f"{self.scope.deployment}-{wanted.name}-{wanted.sha256[:12]}",
            "freeformTags": {**self.scope.tags(self.role), DIGEST_TAG: wanted.sha256},
            "imageSourceDetails": {
                "sourceType": "objectStorageTuple",
                "namespaceName": source.place.namespace,
                "bucketName": source.place.bucket,
                "objectName": source.place.name,
                "sourceImageType": "QCOW2",
                "operatingSystem": source.operating_system,
                **({"operatingSystemVersion": source.version} if source.version else {}),
            },
            "launchMode": "CUSTOM",
            "launchOptions": {**_PARAVIRTUALIZED, "firmware": wanted.firmware},
        }

    def _until_usable(self, image_id: str, wanted: WantedImage) -> Imported:
        """Wait for the work request and for the image; either may say that it failed."""
        request = self._work_request(image_id)

        def look() -> _Seen:
            with told(f"follow the import of {wanted.name}"):
                image = self._compute.get_image(image_id, retry_strategy=reading()).data
                work = self.scope.session.client("work_requests.WorkRequestClient")
                return _Seen(image, work.get_work_request(request, retry_strategy=reading()).data if request else None)

        subject = f"{self.role}@{wanted.sha256}"
        try:
            wait_for(
                look,
                lambda seen: (
                    seen.image.lifecycle_state == "AVAILABLE"
                    and (seen.request is None or seen.request.status == "SUCCEEDED")
                ),
                what=f"Oracle has imported {wanted.name}",
                failed=self._why_failed,
                timeout=IMPORT_SECONDS,
                pause=Pause(2, 30),
                clock=self.clock,
            )
        except TimedOut:
            raise
        except OcifreeError:
            # This import is over. The next one has to be another request, with another token.
            self._close(IMPORT, subject, "failed")
            raise
        self._close(IMPORT, subject, image_id)
        return self.read(image_id)

    def _work_request(self, image_id: str) -> str | None:
        work = self.scope.session.client("work_requests.WorkRequestClient")
        with told("look for the work request of the import"):
            found = every(work.list_work_requests, self.scope.inside, resource_id=image_id)
        return next((str(one.id) for one in found if "image" in one.operation_type.lower()), None)

    def _why_failed(self, seen: _Seen) -> str | None:
        if seen.request is not None and seen.request.status in ("FAILED", "CANCELED", "CANCELING"):
            work = self.scope.session.client("work_requests.WorkRequestClient")
            with told("read why the import failed"):
                said = [f"{one.code}: {one.message}" for one in every(work.list_work_request_errors, seen.request.id)]
            return "; ".join(said) or f"its work request is {seen.request.status}, without a reason"
        state = seen.image.lifecycle_state
        return None if state in ("AVAILABLE", *ARRIVING) else f"the image is {state}"

    def _give_firmware(self, image: Imported, wanted: WantedImage) -> None:
        """The way round for an import whose launch options Oracle did not heed."""
        from oci.core.models import (
            CreateComputeImageCapabilitySchemaDetails,
            EnumStringImageCapabilitySchemaDescriptor,
        )

        self.say(f"{wanted.name} was imported with {image.firmware}; its capability schema now says {wanted.firmware}")
        intent = self.journal.intend(SCHEMA, image.id, now=self.now())
        with told("read the global capability schema"):
            (known, *_) = every(self._compute.list_compute_global_image_capability_schemas)
        details = CreateComputeImageCapabilitySchemaDetails(
            compartment_id=self.scope.inside,
            compute_global_image_capability_schema_version_name=known.current_version_name,
            display_name=f"{self.scope.deployment}-{wanted.name}",
            image_id=image.id,
            freeform_tags=self.scope.tags(self.role),
            schema_data={
                FIRMWARE: EnumStringImageCapabilitySchemaDescriptor(
                    source="IMAGE", values=[wanted.firmware], default_value=wanted.firmware
                )
            },
        )
        with self._ended_unless_passing(intent), told(f"give {wanted.name} its firmware"):
            self._compute.create_compute_image_capability_schema(details, opc_retry_token=intent.token)
        self.journal.close(intent, "made")

    def _add_shape(self, image_id: str, shape: str) -> None:
        # Putting the same entry again is the same as putting it once, so there is nothing to note down.
        with told(f"make the image compatible with {shape}"):
            self._compute.add_image_shape_compatibility_entry(image_id, shape)

    @contextmanager
    def _ended_unless_passing(self, intent: Intent) -> Iterator[None]:
        """A refusal is an end: nothing was made, and the token is used up. A passing fault leaves the end open."""
        try:
            yield
        except TokenWornOut:
            self.journal.close(intent, "the token was used up")
            raise
        except OcifreeError as error:
            if not isinstance(error, Transient):
                self.journal.close(intent, "refused")
            raise

    def _close(self, operation: str, subject: str, result: str) -> None:
        for intent in self.journal.open_intents(operation):
            if intent.subject == subject:
                self.journal.close(intent, result)


def require_count(scope: Scope, name: str) -> None:
    """LimitReached unless one more custom image is allowed. Asked before gigabytes are uploaded for nothing."""
    with told("read the limit of custom images"):
        found = (
            scope.session.client("limits.LimitsClient")
            .get_resource_availability("compute", "custom-image-count", scope.session.tenancy, retry_strategy=reading())
            .data
        )
    if found.available is not None and int(found.available) < 1:
        raise _no_more_images(name, f"custom-image-count leaves room for none; {int(found.used or 0)} are there")


@contextmanager
def _explained(name: str) -> Iterator[None]:
    try:
        yield
    except LimitReached as error:
        raise _no_more_images(name, error.what) from error


def _no_more_images(name: str, why: str) -> LimitReached:
    return LimitReached(
        f"this account may not keep another custom image, and {name} would be one",
        why=f"{why}. Accounts that were never upgraded to Pay As You Go usually may keep none at all",
        fix="upgrade the account (what is free stays free), or declare `platform` for the image; if the account has "
        "some already, delete one: `oci compute image list --compartment-id ID`",
    )


__all__ = ["CustomImages", "Firmware", "Source", "require_count"]
