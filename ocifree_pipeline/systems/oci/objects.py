"""Large files in Object Storage: in parts, several at a time, resumed after a crash, verified by their checksums.

Object Storage knows no retry tokens, and needs none here: an object's name carries the digest of its content, so doing
it again is doing the same. An upload that was broken off is found by its id in the journal, or else by the object's
name, and its parts are compared by MD5; only those that are missing or differ are sent.
"""

from __future__ import annotations

import base64
import hashlib
import os
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from ocifree_pipeline.deployment.errors import LimitReached, NotVerified, OcifreeError, PreconditionMissing
from ocifree_pipeline.systems.images.progress import Meter, Tell, size_in_words
from ocifree_pipeline.systems.journal import Intent, Journal
from ocifree_pipeline.systems.oci.errors import told
from ocifree_pipeline.systems.oci.pieces import Piece
from ocifree_pipeline.systems.oci.session import Session, every, reading

OPERATION = "UploadObject"
LIFETIME = timedelta(days=7)
DIGEST = "ocifree-sha256"
PART_BYTES = 16 * 1024 * 1024
MOST_PARTS = 9_000
WORKERS = 3
"""Parts under way at the same time. Each is read while it is sent, so none of them is ever in memory as a whole."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where an object is, or will be."""

    namespace: str
    bucket: str
    name: str

    def __str__(self) -> str:
        return f"{self.bucket}/{self.name}"


@dataclass(frozen=True, slots=True)
class Stored:
    """An object as Oracle describes it. `sha256` is what its uploader said, and empty if it did not."""

    place: Place
    size: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Upload:
    """One file on its way. `part_bytes` is for tests; everybody else takes what the size asks for."""

    session: Session
    journal: Journal
    place: Place
    path: Path
    sha256: str
    tell: Tell = lambda progress: None
    part_bytes: int = 0
    now: Callable[[], datetime] = lambda: datetime.now(UTC)

    @property
    def size(self) -> int:
        return self.path.stat().st_size

    @property
    def step(self) -> int:
        return self.part_bytes or max(PART_BYTES, -(-self.size // MOST_PARTS))

    def run(self) -> Stored:
        """The stored object, read back. Nothing is sent if it is there already."""
        there = find_object(self.session, self.place)
        if there is None or (there.size, there.sha256) != (self.size, self.sha256):
            if self.size <= self.step:
                self._put()
            else:
                self._put_in_parts()
        there = find_object(self.session, self.place)
        if there is None or (there.size, there.sha256) != (self.size, self.sha256):
            raise NotVerified(
                f"{self.place} is not what was uploaded",
                why=f"Oracle shows {there}" if there else "Oracle does not find it",
                fix="materialize the asset again; the upload is repeated",
            )
        self._close_intents("uploaded")
        return there

    def _put(self) -> None:
        meter = Meter(self.size, self.tell)
        with Piece(self.path, 0, self.size) as content, _storing(self.place):
            self._client.put_object(
                self.place.namespace,
                self.place.bucket,
                self.place.name,
                content,
                content_md5=content.md5(),
                opc_meta={DIGEST: self.sha256},
                retry_strategy=reading(),
            )
        meter.add(self.size)

    def _put_in_parts(self) -> None:
        upload = self._upload_id()
        there = self._there(upload)
        sums, etags = self._send_parts(upload, there)
        self._commit(upload, etags, sums, spare=sorted(there.keys() - etags.keys()))

    # which upload ---------------------------------------------------------------------------------------------------

    def _upload_id(self) -> str:
        """The upload that was begun, or a new one; others of the same object are given up."""
        begun = [one.upload_id for one in unfinished(self.session, self.place) if one.object == self.place.name]
        noted = [str(intent.details["upload"]) for intent in self._intents()]
        upload = next((one for one in noted if one in begun), begun[0] if begun else None)
        for other in begun:
            if other != upload:
                abort(self.session, self.place, other)
        if upload is None:
            self._close_intents("gone")
            upload = self._begin()
        self.journal.intend(OPERATION, str(self.place), {"upload": upload}, now=self.now(), lifetime=LIFETIME)
        return upload

    def _begin(self) -> str:
        from oci.object_storage.models import CreateMultipartUploadDetails

        details = CreateMultipartUploadDetails(object=self.place.name, metadata={DIGEST: self.sha256})
        with _storing(self.place):
            made = self._client.create_multipart_upload(self.place.namespace, self.place.bucket, details).data
        return str(made.upload_id)

    def _intents(self) -> list[Intent]:
        return [intent for intent in self.journal.open_intents(OPERATION) if intent.subject == str(self.place)]

    def _close_intents(self, result: str) -> None:
        for intent in self._intents():
            self.journal.close(intent, result)

    # the parts ------------------------------------------------------------------------------------------------------

    def _there(self, upload: str) -> dict[int, Any]:
        with told(f"list what is there of {self.place}"):
            listed = every(self._client.list_multipart_upload_parts, *self._where, upload)
        return {one.part_number: one for one in listed}

    def _send_parts(self, upload: str, there: Mapping[int, Any]) -> tuple[dict[int, bytes], dict[int, str]]:
        """MD5 and ETag of every part, those that were there already included."""
        count = -(-self.size // self.step)
        meter, lock = Meter(self.size, self.tell), threading.Lock()
        sums: dict[int, bytes] = {}
        etags: dict[int, str] = {}

        def send(number: int) -> None:
            with Piece(self.path, (number - 1) * self.step, self.step) as content:
                digest, known = content.md5(), there.get(number)
                is_there = known is not None and known.md5 == digest
                etag = known.etag if known and is_there else self._send(upload, number, content, digest)
                with lock:
                    sums[number], etags[number] = base64.b64decode(digest), str(etag)
                    meter.add(len(content))

        with ThreadPoolExecutor(WORKERS, thread_name_prefix="upload") as pool:
            under_way = [pool.submit(send, number) for number in range(1, count + 1)]
            try:
                for done in as_completed(under_way):
                    done.result()
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                raise
        return sums, etags

    def _send(self, upload: str, number: int, content: Piece, digest: str) -> str:
        with _storing(self.place):
            sent = self._client.upload_part(
                *self._where, upload, number, content, content_md5=digest, retry_strategy=reading()
            )
        return str(sent.headers["etag"])

    def _commit(self, upload: str, etags: dict[int, str], sums: dict[int, bytes], spare: list[int]) -> None:
        from oci.exceptions import ServiceError
        from oci.object_storage.models import CommitMultipartUploadDetails, CommitMultipartUploadPartDetails

        parts = [CommitMultipartUploadPartDetails(part_num=number, etag=etags[number]) for number in sorted(etags)]
        details = CommitMultipartUploadDetails(parts_to_commit=parts, parts_to_exclude=spare)
        try:
            with _storing(self.place):
                answer = self._client.commit_multipart_upload(*self._where, upload, details)
        except OcifreeError as error:
            cause = error.__cause__
            if isinstance(cause, ServiceError) and cause.status == 404 and find_object(self.session, self.place):
                return  # an earlier commit whose reply was lost; what stands there is compared by the caller
            raise
        joined = hashlib.md5(b"".join(sums[number] for number in sorted(sums)), usedforsecurity=False).digest()
        expected = f"{base64.b64encode(joined).decode()}-{len(sums)}"
        if answer.headers.get("opc-multipart-md5", expected) != expected:
            delete_object(self.session, self.place)
            raise NotVerified(
                f"{self.place} arrived damaged; it is deleted again",
                why=f"its checksum at Oracle is {answer.headers['opc-multipart-md5']}, here it is {expected}",
                fix="materialize the asset again; if it happens twice, check the memory of this computer",
            )

    @property
    def _client(self) -> Any:
        return _client(self.session)

    @property
    def _where(self) -> tuple[str, str, str]:
        return self.place.namespace, self.place.bucket, self.place.name


def find_object(session: Session, place: Place) -> Stored | None:
    from oci.exceptions import ServiceError

    with told(f"look for {place}"):
        try:
            found = _client(session).head_object(place.namespace, place.bucket, place.name, retry_strategy=reading())
        except ServiceError as error:
            if error.status == 404:
                return None
            raise
    return Stored(place, int(found.headers["content-length"]), found.headers.get(f"opc-meta-{DIGEST}", ""))


def fetch_object(session: Session, place: Place, file: Path) -> None:
    """Into a new file that only its owner reads."""
    with told(f"fetch {place}"):
        found = _client(session).get_object(place.namespace, place.bucket, place.name, retry_strategy=reading())
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as target:
            for block in found.data.raw.stream(1 << 20, decode_content=False):
                target.write(block)


def objects_under(session: Session, place: Place) -> list[str]:
    """Names of all objects that begin with the place's name."""
    names: list[str] = []
    start: str | None = None
    while True:
        more = {"start": start} if start else {}
        with told(f"list {place}"):
            page = (
                _client(session)
                .list_objects(place.namespace, place.bucket, prefix=place.name, retry_strategy=reading(), **more)
                .data
            )
        names += [one.name for one in page.objects]
        start = page.next_start_with
        if not start:
            return names


def unfinished(session: Session, place: Place) -> list[Any]:
    """Uploads that were begun and neither committed nor given up, of objects that begin with the place's name."""
    with told(f"list the unfinished uploads of {place.bucket}"):
        found = every(_client(session).list_multipart_uploads, place.namespace, place.bucket)
    return [one for one in found if one.object.startswith(place.name)]


def delete_object(session: Session, place: Place) -> None:
    """Gone already is fine."""
    _unless_gone(
        f"delete {place}",
        lambda: _client(session).delete_object(place.namespace, place.bucket, place.name),
        lambda: find_object(session, place) is None,
    )


def abort(session: Session, place: Place, upload: str) -> None:
    """Give an upload up, so that its parts no longer count. Gone already is fine."""
    _unless_gone(
        f"give up an upload of {place}",
        lambda: _client(session).abort_multipart_upload(place.namespace, place.bucket, place.name, upload),
        lambda: upload not in {one.upload_id for one in unfinished(session, place)},
    )


def require_room(session: Session, size: int, free_gb: int) -> None:
    """LimitReached unless `size` more bytes are within Oracle's limit and within what is free."""
    with told("read the use of object storage"):
        found = (
            session.client("limits.LimitsClient")
            .get_resource_availability("object-storage", "storage-bytes", session.tenancy, retry_strategy=reading())
            .data
        )
    used = int(found.used or 0)
    free = free_gb * 1_000_000_000 - used
    left = free if found.available is None else min(free, int(found.available))
    if size > left:
        raise LimitReached(
            f"an image of {size_in_words(size)} does not fit into the free object storage",
            why=f"{size_in_words(used)} of {free_gb} GB are used, so {size_in_words(max(0, left))} are left",
            fix="delete what you do not need: `oci os object bulk-delete --bucket-name NAME`; old uploads count too",
        )


@contextmanager
def _storing(place: Place) -> Iterator[None]:
    """The two answers that have a better explanation than the general one."""
    from oci.exceptions import ServiceError

    with told(f"store {place}"):
        try:
            yield
        except ServiceError as error:
            if error.code == "BucketNotFound":
                raise PreconditionMissing(
                    f"the bucket {place.bucket} is not there",
                    why=str(error.message),
                    fix="ocifree up --select 'oci/image_bucket'",
                ) from error
            if error.code in ("StorageLimitExceeded", "StorageQuotaExceeded", "QuotaExceeded"):
                raise LimitReached(
                    f"Oracle has no room left for {place}", why=str(error.message), fix="delete objects you do not need"
                ) from error
            raise


def _unless_gone(doing: str, call: Callable[[], object], is_gone: Callable[[], bool]) -> None:
    """404 is also the answer to one who may not do it, so then it is looked at."""
    from oci.exceptions import ServiceError

    with told(doing):
        try:
            call()
        except ServiceError as error:
            if error.status != 404 or not is_gone():
                raise


def _client(session: Session) -> Any:
    return session.client("object_storage.ObjectStorageClient")
