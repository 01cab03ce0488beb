"""Uploads through the real SDK: in parts, resumed wherever the process died, never sent twice, verified at the end."""

import base64
import hashlib
import itertools
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ocifree_pipeline.deployment.errors import LimitReached, NotVerified, OcifreeError, PreconditionMissing, Transient
from ocifree_pipeline.sandbox import process
from ocifree_pipeline.systems.oci import objects
from ocifree_pipeline.systems.oci.objects import Place, Upload, find_object, require_room
from ocifree_pipeline_tests.chaos.crash import Killed, counted, crash_everywhere
from ocifree_pipeline_tests.systems.oci.image_world import PART, ImageWorld, image_world

PARTS = 7
LARGE = 400_000_000


@pytest.fixture
def world(tmp_path: Path) -> Iterator[ImageWorld]:
    with image_world(tmp_path) as here:
        yield here


def test_a_file_arrives_in_parts_with_progress_and_is_not_sent_again(world):
    stored = world.upload()
    path, digest = world.disk()
    assert (stored.size, stored.sha256) == (path.stat().st_size, digest)
    assert world.content(world.place(digest)) == path.read_bytes()
    assert sorted(world.operations()) == ["CommitMultipartUpload", "CreateMultipartUpload", *["UploadPart"] * PARTS]
    assert world.told[-1].percent == 100
    sent = len(world.operations())
    world.upload()
    assert len(world.operations()) == sent
    assert world.tenancy.journal().open_intents() == []


def test_a_small_file_goes_in_one_piece(world):
    world.upload(part_bytes=0)
    assert world.operations() == ["PutObject"]


def test_an_object_with_another_digest_under_the_name_is_replaced(world):
    path, digest = world.disk()
    place = world.place(digest)
    client = world.tenancy.session.client("object_storage.ObjectStorageClient")
    client.put_object(place.namespace, place.bucket, place.name, b"x" * path.stat().st_size)
    world.upload()
    assert world.content(place) == path.read_bytes()


def test_a_process_that_dies_at_any_call_is_resumed_and_leaves_nothing_behind(tmp_path, monkeypatch):
    monkeypatch.setattr(objects, "WORKERS", 1)  # so that the n-th call is the same one each time
    number = itertools.count()

    @contextmanager
    def fresh() -> Iterator[ImageWorld]:
        with image_world(tmp_path / str(next(number))) as here:
            yield here

    def look(here: ImageWorld) -> object:
        return here.objects(), here.uploads(), here.content(here.place(here.disk()[1])) == here.disk()[0].read_bytes()

    crash_everywhere(fresh, lambda here: here.upload(), look, at_least=PARTS + 2)


def test_only_missing_and_damaged_parts_are_sent_again(world):
    with pytest.raises(Killed), counted(PARTS + 1):
        world.upload()
    before = world.operations().count("UploadPart")

    def damage(inner):
        (bucket,) = inner.all("bucket")
        (upload,) = bucket.hidden["uploads"].values()
        upload["parts"][min(upload["parts"])]["md5"] = "AAAAAAAAAAAAAAAAAAAAAA=="
        return len(upload["parts"])

    there = world.tenancy.sandbox.inside(damage)
    world.upload()
    assert world.operations().count("UploadPart") - before == PARTS - there + 1
    assert world.operations().count("CreateMultipartUpload") == 1


def test_another_size_of_parts_leaves_out_what_is_too_much(world):
    with pytest.raises(Killed), counted(PARTS + 2):
        world.upload()
    path, digest = world.disk()
    world.upload(part_bytes=3 * PART)
    assert world.content(world.place(digest)) == path.read_bytes()
    assert world.uploads() == 0


@pytest.mark.parametrize("lost", ["journal", "upload"])
def test_either_memory_is_enough(world, lost):
    with pytest.raises(Killed), counted(4):
        world.upload()
    if lost == "journal":
        world.tenancy.journal().file.unlink()
    else:
        world.tenancy.sandbox.inside(lambda inner: [b.hidden["uploads"].clear() for b in inner.all("bucket")])
    world.upload()
    assert world.uploads() == 0
    assert world.operations().count("CreateMultipartUpload") == (1 if lost == "journal" else 2)


@pytest.mark.parametrize(
    ("operation", "fault", "error"),
    [
        ("CreateMultipartUpload", {"status": 503, "code": "ServiceUnavailable"}, Transient),
        ("CommitMultipartUpload", {"status": 500}, Transient),
        ("CommitMultipartUpload", {"moment": "after", "status": 500}, Transient),
        ("CommitMultipartUpload", {"moment": "reset"}, Transient),
        ("UploadPart", {"status": 404, "code": "BucketNotFound"}, PreconditionMissing),
        ("UploadPart", {"status": 400, "code": "StorageQuotaExceeded"}, LimitReached),
        ("CreateMultipartUpload", {"status": 400, "code": "StorageQuotaExceeded"}, LimitReached),
    ],
)
def test_what_goes_wrong_is_said_and_the_next_try_ends_well(world, operation, fault, error):
    world.fault(operation, **fault)
    with pytest.raises(error) as caught:
        world.upload()
    assert caught.value.fix
    path, digest = world.disk()
    world.upload()
    assert (world.content(world.place(digest)), world.uploads()) == (path.read_bytes(), 0)


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    start=st.integers(0, 120), size=st.integers(0, 120), reads=st.lists(st.integers(0, 50), max_size=6), data=st.data()
)
def test_a_piece_is_that_part_of_the_file(tmp_path, start, size, reads, data):
    content = bytes(range(100))
    (tmp_path / "file").write_bytes(content)
    wanted = content[start : start + size]
    with objects.Piece(tmp_path / "file", start, size) as piece:
        assert len(piece) == len(wanted)
        assert piece.md5() == base64.b64encode(hashlib.md5(wanted, usedforsecurity=False).digest()).decode()
        read = b"".join(piece.read(count) for count in reads)
        assert read == wanted[: sum(reads)]
        assert piece.tell() == len(read)
        back = data.draw(st.integers(0, len(wanted)))
        piece.seek(back)
        assert piece.read() == wanted[back:], "rewound, it is sent again from there"


def test_a_part_is_tried_again_by_itself(world, monkeypatch):
    monkeypatch.setattr("oci.retry.retry.time.sleep", lambda seconds: None)
    world.fault("UploadPart", status=503, code="ServiceUnavailable", times=2)
    world.upload()
    assert len(world.tenancy.sandbox.faults.fired) == 2


class Longer(objects.Piece):
    """A disk that gives more than there is."""

    def __init__(self, path, start, size):
        super().__init__(path, start, size)
        self._size = size

    def readinto(self, buffer, /):
        count = min(len(buffer), self._size - self._at)
        buffer[:count] = b"x" * count
        self._at += count
        return count


def test_what_arrived_damaged_is_deleted_and_said(world, monkeypatch):
    monkeypatch.setattr(objects, "Piece", Longer)
    path, digest = world.disk()
    with pytest.raises(NotVerified):
        world.upload()
    monkeypatch.undo()
    world.upload()
    assert world.content(world.place(digest)) == path.read_bytes()


def test_room_is_what_is_free_and_allowed_less_what_is_used(world):
    session = world.tenancy.session
    require_room(session, 10**9, free_gb=10)
    world.upload()
    used = sum(world.objects().values())
    require_room(session, 10**9 - used, free_gb=1)
    with pytest.raises(LimitReached, match="does not fit into the free object storage") as caught:
        require_room(session, 10**9 - used + 1, free_gb=1)
    assert "852.0 kB of 1 GB are used" in caught.value.why


def test_a_bucket_that_is_not_there_names_its_asset(world):
    path, digest = world.disk()
    place = Place(world.namespace, "nowhere", "x")
    assert find_object(world.tenancy.session, place) is None
    with pytest.raises(PreconditionMissing) as caught:
        Upload(world.tenancy.session, world.tenancy.journal(), place, path, digest).run()
    assert "oci/image_bucket" in caught.value.fix


def test_a_failing_part_ends_the_others(world):
    world.fault("UploadPart", status=400, code="InvalidParameter", times=None)
    with pytest.raises(OcifreeError):
        world.upload(part_bytes=16 * 1024)
    assert world.operations().count("UploadPart") < 40


UPLOADING = """
import json, resource, sys
from datetime import timedelta
from pathlib import Path
import oci
from ocifree_pipeline.systems.journal import Journal
from ocifree_pipeline.systems.oci.objects import Place, Upload
from ocifree_pipeline.systems.oci.session import Session
config = oci.config.from_file()
session = Session(config, config["region"], config["tenancy"])
client = session.client("object_storage.ObjectStorageClient")
namespace = client.get_namespace().data
details = oci.object_storage.models.CreateBucketDetails(name="big", compartment_id=config["tenancy"])
client.create_bucket(namespace, details)
Upload(session, Journal(Path("j.jsonl")), Place(namespace, "big", "s"), Path("small"), "1" * 64).run()
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
stored = Upload(session, Journal(Path("j.jsonl")), Place(namespace, "big", "b"), Path("big"), "0" * 64).run()
after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(json.dumps({"size": stored.size, "kilobytes": after - before}))
"""


def test_a_large_file_is_uploaded_in_little_memory(tmp_path):
    """In a process of its own, over TLS, to a sandbox in another one: what is measured is the upload alone."""
    here = process.start(tmp_path / "sandbox", process.Options(profile={"account": "payg"}))
    try:
        for name, size in {"small": 1000, "big": LARGE}.items():
            with (tmp_path / name).open("wb") as file:
                file.truncate(size)
        ran = subprocess.run(
            [sys.executable, "-c", UPLOADING],
            cwd=tmp_path, env={**os.environ, **here.environment()}, capture_output=True, text=True, timeout=110,
            check=False,
        )  # fmt: skip
        assert ran.returncode == 0, ran.stderr
        told = json.loads(ran.stdout)
        assert told["size"] == LARGE
        assert told["kilobytes"] < 10_000, told
    finally:
        here.stop()
