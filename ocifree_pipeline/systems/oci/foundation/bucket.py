"""The bucket of images and backups. Buckets have no OCID in their own service: the name is what they are known by."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ocifree_pipeline.deployment.convergence import Found
from ocifree_pipeline.deployment.errors import Forbidden
from ocifree_pipeline.systems.oci.errors import told
from ocifree_pipeline.systems.oci.foundation.kinds import Kind, Scope
from ocifree_pipeline.systems.oci.session import Session, every, reading

_FIELDS = ("storage_tier", "public_access_type", "versioning", "auto_tiering")


def namespace_of(session: Session) -> str:
    """The object storage namespace of the tenancy."""
    with told("read the object storage namespace"):
        return str(session.client("object_storage.ObjectStorageClient").get_namespace(retry_strategy=reading()).data)


class _Buckets(Kind):
    name = "bucket"

    def list(self, scope: Scope) -> Iterator[Found]:
        if scope.compartment is None:
            return
        namespace = namespace_of(scope.session)
        with told("list the buckets"):
            names = [one.name for one in every(_client(scope).list_buckets, namespace, scope.compartment)]
        for name in names:
            found = self.read(scope, name)
            if found is not None:
                yield found

    def read(self, scope: Scope, found_id: str) -> Found | None:
        namespace = namespace_of(scope.session)
        try:
            with told(f"read the bucket {found_id}"):
                bucket = (
                    _client(scope)
                    .get_bucket(
                        namespace,
                        found_id,
                        fields=["approximateCount", "approximateSize", "autoTiering"],
                        retry_strategy=reading(),
                    )
                    .data
                )
        except Forbidden:
            return None
        return Found(
            id=bucket.name,
            name=bucket.name,
            is_ours=scope.is_ours(bucket),
            values={name: getattr(bucket, name) for name in _FIELDS},
            attributes={"namespace": namespace, "objects": bucket.approximate_count},
            tags=dict(bucket.freeform_tags or {}),
        )

    def create(self, scope: Scope, name: str, values: Mapping[str, Any], tags: Mapping[str, str], token: str) -> str:
        from oci.object_storage.models import CreateBucketDetails

        details = CreateBucketDetails(
            name=name, compartment_id=scope.inside, freeform_tags=dict(tags), **{n: values[n] for n in _FIELDS}
        )
        with told(f"make the bucket {name}"):
            # No retry token exists here. The name does its work: a second call finds the bucket and is refused.
            _client(scope).create_bucket(namespace_of(scope.session), details)
        return name

    def update(self, scope: Scope, found: Found, changes: Mapping[str, Any], tags: Mapping[str, str]) -> None:
        from oci.object_storage.models import UpdateBucketDetails

        with told(f"change the bucket {found.name}"):
            _client(scope).update_bucket(
                found.attributes["namespace"], found.id, UpdateBucketDetails(**changes, freeform_tags=dict(tags))
            )

    def delete(self, scope: Scope, found: Found) -> None:
        """With everything in it: Oracle deletes only empty buckets."""
        client, namespace = _client(scope), found.attributes["namespace"]
        try:
            with told(f"empty the bucket {found.name}"):
                for upload in every(client.list_multipart_uploads, namespace, found.id):
                    client.abort_multipart_upload(namespace, found.id, upload.object, upload.upload_id)
                for name in _object_names(client, namespace, found.id):
                    client.delete_object(namespace, found.id, name)
            with told(f"delete the bucket {found.name}"):
                client.delete_bucket(namespace, found.id)
        except Forbidden:
            if self.read(scope, found.id) is not None:
                raise


def _object_names(client: Any, namespace: str, bucket: str) -> list[str]:
    names: list[str] = []
    start: str | None = None
    while True:
        more = {"start": start} if start else {}
        page = client.list_objects(namespace, bucket, retry_strategy=reading(), **more).data
        names += [one.name for one in page.objects]
        start = page.next_start_with
        if not start:
            return names


def _client(scope: Scope) -> Any:
    return scope.session.client("object_storage.ObjectStorageClient")


BUCKET = _Buckets()
