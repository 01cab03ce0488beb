"""The unmodified SDK against Object Storage: buckets, objects, conditions, lists, retention, addresses for others."""

import base64
import hashlib
import io
from datetime import timedelta

import oci
import pytest
import requests
from hypothesis import given, settings
from hypothesis import strategies as st
from oci.object_storage import models

from ocifree_pipeline.sandbox import snapshot
from ocifree_pipeline.sandbox.money import spans
from ocifree_pipeline.sandbox.oracle import limits
from ocifree_pipeline.sandbox.oracle.errors import OracleError
from ocifree_pipeline.sandbox.oracle.objects import _range, object_file
from ocifree_pipeline.sandbox.world import World
from ocifree_pipeline_tests.conformance.test_limits import refused
from ocifree_pipeline_tests.sandbox.harness import RunningSandbox, running

BUCKET = "images"


class Storage:
    """The SDK's client, with the names that every test repeats left out."""

    def __init__(self, sandbox: RunningSandbox) -> None:
        self.sandbox = sandbox
        self.client = sandbox.client(oci.object_storage.ObjectStorageClient)
        self.space = self.client.get_namespace().data

    def bucket(self, name: str = BUCKET, **fields):
        fields = {"name": name, "compartment_id": self.sandbox.tenancy} | fields
        return self.client.create_bucket(self.space, models.CreateBucketDetails(**fields)).data

    def put(self, name: str, data: bytes | io.BufferedIOBase, **options):
        return self.client.put_object(self.space, BUCKET, name, data, **options)

    def get(self, name: str, **options):
        return self.client.get_object(self.space, BUCKET, name, **options)

    def head(self, name: str, **options):
        return self.client.head_object(self.space, BUCKET, name, **options)

    def delete(self, name: str, **options):
        return self.client.delete_object(self.space, BUCKET, name, **options)

    def names(self, **options):
        return self.client.list_objects(self.space, BUCKET, **options).data

    def files(self) -> list[str]:
        """What lies on disk."""
        directory = self.sandbox.inside(lambda world: world.directory) / "objects"
        return sorted(one.name for one in directory.iterdir()) if directory.is_dir() else []

    def par(self, access: str = "ObjectRead", name: str | None = "a.txt", hours: float = 1, **fields):
        expires = self.sandbox.inside(lambda world: world.clock.now()) + timedelta(hours=hours)
        details = models.CreatePreauthenticatedRequestDetails(
            name="share", access_type=access, object_name=name, time_expires=expires, **fields
        )
        return self.client.create_preauthenticated_request(self.space, BUCKET, details).data


@pytest.fixture
def storage(sandbox: RunningSandbox) -> Storage:
    return Storage(sandbox)


@pytest.fixture
def stored(storage: Storage) -> Storage:
    storage.bucket()
    return storage


# buckets


def test_the_namespace(storage):
    assert storage.client.get_namespace().data == storage.space
    metadata = storage.client.get_namespace_metadata(storage.space).data
    assert metadata.default_s3_compartment_id == storage.sandbox.tenancy
    with refused(404, "NamespaceNotFound"):
        storage.client.get_namespace_metadata("other")


def test_the_life_of_a_bucket(storage):
    made = storage.bucket(metadata={"a": "b"}, freeform_tags={"by": "tests"})
    assert (made.name, made.namespace, made.metadata) == (BUCKET, storage.space, {"a": "b"})
    assert (made.created_by, made.public_access_type) == (storage.sandbox.config["user"], "NoPublicAccess")
    client, space = storage.client, storage.space
    storage.put("one", b"12345")
    got = client.get_bucket(space, BUCKET, fields=["approximateCount", "approximateSize", "autoTiering"])
    assert (got.data.approximate_count, got.data.approximate_size, got.data.auto_tiering) == (1, 5, "Disabled")
    assert client.get_bucket(space, BUCKET).data.approximate_count is None
    assert client.head_bucket(space, BUCKET).headers["etag"] == got.data.etag == got.headers["etag"]
    with pytest.raises(oci.exceptions.ServiceError, check=lambda error: error.status == 304):
        client.get_bucket(space, BUCKET, if_none_match=got.data.etag)
    renamed = client.update_bucket(
        space, BUCKET, models.UpdateBucketDetails(name="new", metadata={"c": "d"}), if_match=got.data.etag
    ).data
    assert (renamed.name, renamed.metadata, renamed.freeform_tags) == ("new", {"c": "d"}, {"by": "tests"})
    with refused(412, "IfMatchFailed"):
        client.update_bucket(space, "new", models.UpdateBucketDetails(metadata={}), if_match=got.data.etag)
    with refused(409, "BucketNotEmpty"):
        client.delete_bucket(space, "new")
    client.delete_object(space, "new", "one")
    client.delete_bucket(space, "new")
    with refused(404, "BucketNotFound", f"Either the bucket named 'new' does not exist in the namespace '{space}'"):
        client.get_bucket(space, "new")
    with pytest.raises(oci.exceptions.ServiceError, check=lambda error: error.status == 404):
        client.head_bucket(space, "new")


def test_buckets_are_listed(storage):
    for name in ("b", "a", "c"):
        storage.bucket(name, freeform_tags={"name": name})
    client, tenancy = storage.client, storage.sandbox.tenancy
    assert [one.name for one in client.list_buckets(storage.space, tenancy).data] == ["a", "b", "c"]
    first = client.list_buckets(storage.space, tenancy, limit=2, fields=["tags"])
    assert [one.freeform_tags["name"] for one in first.data] == ["a", "b"]
    rest = client.list_buckets(storage.space, tenancy, limit=2, fields=["tags"], page=first.next_page)
    assert [one.name for one in rest.data] == ["c"]


@pytest.mark.parametrize(
    ("fields", "refusal"),
    [
        ({"name": BUCKET}, (409, "BucketAlreadyExists", "already exists or you are not authorized")),
        ({"name": "with space"}, (400, "InvalidBucketName", "is not a valid bucket name")),
        ({"compartment_id": "ocid1.compartment.oc1..x"}, (404, "NotAuthorizedOrNotFound", "")),
        ({"versioning": "Enabled"}, (501, "MethodNotImplemented", "versioning Enabled of buckets")),
        ({"public_access_type": "ObjectRead"}, (501, "MethodNotImplemented", "publicAccessType")),
    ],
)
def test_refused_buckets(stored, fields, refusal):
    with refused(*refusal):
        stored.bucket(**({"name": "other"} | fields))


# objects


def test_an_object_and_its_headers(stored):
    data = b"hello world"
    made = stored.put(
        "dir/a b+c%2F.txt", data, content_type="text/plain", cache_control="no-store", opc_meta={"k": "v"}
    )
    digest = base64.b64encode(hashlib.md5(data, usedforsecurity=False).digest()).decode()
    assert made.headers["opc-content-md5"] == digest
    got = stored.get("dir/a b+c%2F.txt")
    assert got.data.content == data
    for headers in (got.headers, stored.head("dir/a b+c%2F.txt").headers):
        assert headers["etag"] == made.headers["etag"]
        assert headers["content-md5"] == digest
        assert headers["content-length"] == "11"
        assert (headers["content-type"], headers["cache-control"]) == ("text/plain", "no-store")
        assert (headers["opc-meta-k"], headers["storage-tier"]) == ("v", "Standard")
        assert headers["last-modified"].endswith("GMT")
    stored.put("empty", b"")
    assert stored.get("empty").data.content == b""
    assert stored.get("empty", http_response_content_type="text/x").headers["content-type"] == "text/x"


@pytest.mark.parametrize(
    ("wanted", "data", "content_range"),
    [
        ("bytes=0-3", b"0123", "bytes 0-3/10"),
        ("bytes=4-", b"456789", "bytes 4-9/10"),
        ("bytes=-3", b"789", "bytes 7-9/10"),
        ("bytes=8-99", b"89", "bytes 8-9/10"),
    ],
)
def test_ranges(stored, wanted, data, content_range):
    stored.put("digits", b"0123456789")
    got = stored.get("digits", range=wanted)
    assert (got.status, got.data.content, got.headers["content-range"]) == (206, data, content_range)
    assert "content-md5" not in got.headers


def test_ranges_that_cannot_be_met(stored):
    stored.put("digits", b"0123456789")
    for wanted in ("bytes=10-", "bytes=-0"):
        with refused(416, "InvalidRange"):
            stored.get("digits", range=wanted)
    assert stored.get("digits", range="lines=1-2").data.content == b"0123456789"


@given(first=st.integers(0, 30), last=st.integers(0, 30), size=st.integers(0, 20), form=st.sampled_from("abc"))
def test_a_range_is_what_python_would_slice(first, last, size, form):
    text = {"a": f"bytes={first}-{last}", "b": f"bytes={first}-", "c": f"bytes=-{first}"}[form]
    data = bytes(range(size))
    expected = {"a": data[first : last + 1], "b": data[first:], "c": data[-first:] if first else b""}[form]
    if form == "a" and last < first:
        assert _range(text, size) is None
    elif not expected:
        with pytest.raises(OracleError, check=lambda error: error.status == 416):
            _range(text, size)
    else:
        found = _range(text, size)
        assert found is not None
        assert data[found[0] : found[1]] == expected


def test_conditions(stored):
    etag = stored.put("a", b"1", if_none_match="*").headers["etag"]
    with refused(412, "IfNoneMatchFailed"):
        stored.put("a", b"2", if_none_match="*")
    with refused(412, "IfMatchFailed"):
        stored.put("a", b"2", if_match="other")
    with refused(412, "IfMatchFailed"):
        stored.put("b", b"2", if_match=etag)
    with refused(400, "InvalidParameter"):
        stored.put("b", b"2", if_none_match=etag)
    assert stored.get("a").data.content == b"1"
    with pytest.raises(oci.exceptions.ServiceError, check=lambda error: error.status == 304):
        stored.get("a", if_none_match=etag)
    new = stored.put("a", b"3", if_match=etag).headers["etag"]
    with refused(412, "IfMatchFailed"):
        stored.get("a", if_match=etag)
    with refused(412, "IfMatchFailed"):
        stored.delete("a", if_match=etag)
    stored.delete("a", if_match=new)
    with refused(404, "ObjectNotFound"):
        stored.get("a")
    with refused(404, "ObjectNotFound"):
        stored.delete("a")
    assert stored.files() == []


def test_checksums(stored):
    data = b"some bytes"
    with refused(400, "UnmatchedContentMD5", "does not match the Content-MD5 header (AAAA)"):
        stored.put("a", data, content_md5="AAAA")
    assert stored.files() == [], "what was refused is not kept"
    good = base64.b64encode(hashlib.sha256(data).digest()).decode()
    made = stored.put("a", data, opc_checksum_algorithm="SHA256", opc_content_sha256=good)
    assert made.headers["opc-content-sha256"] == stored.head("a").headers["opc-content-sha256"] == good
    with refused(400, "UnmatchedContentSHA384"):
        stored.put("b", data, opc_checksum_algorithm="SHA384", opc_content_sha384="AAAA")
    made = stored.put("c", b"123456789", opc_checksum_algorithm="CRC32C")
    assert made.headers["opc-content-crc32c"] == base64.b64encode((0xE3069283).to_bytes(4, "big")).decode()
    with refused(400, "InvalidParameter", "opc-checksum-algorithm"):
        stored.put("d", data, opc_checksum_algorithm="CRC7")


def test_names_that_nothing_can_have(stored):
    for name in ("x" * 1025, "a\nb"):
        with refused(400, "InvalidObjectName"):
            stored.put(name, b"")


def test_a_lost_connection_leaves_nothing_behind(stored):
    def broken():
        yield b"x" * 100_000
        raise RuntimeError("the client dies")

    url = f"{stored.sandbox.endpoint}/n/{stored.space}/b/{BUCKET}/o/half"
    with pytest.raises(RuntimeError, match="the client dies"):
        requests.put(url, data=broken(), auth=unhashed(stored), timeout=10)
    assert stored.sandbox.inside(lambda world: list(next(world.all("bucket")).hidden["objects"])) == []
    stored.names()
    assert stored.files() == []


def unhashed(storage: Storage):
    signer = storage.sandbox.signer()
    return lambda request: signer(request, enforce_content_headers=False)


def test_lists(stored):
    for name in ("a/1", "a/2", "b/c/1", "b/d", "top", "zebra"):
        stored.put(name, name.encode())
    every = stored.names(fields="name,size,ETAG,timeCreated,md5,timeModified,storageTier,archivalState")
    assert [one.name for one in every.objects] == ["a/1", "a/2", "b/c/1", "b/d", "top", "zebra"]
    one = every.objects[0]
    assert (one.size, one.storage_tier, one.archival_state) == (3, "Standard", None)
    assert one.etag
    assert one.md5
    assert one.time_created
    assert stored.names().objects[0].size is None
    top = stored.names(delimiter="/")
    assert ([one.name for one in top.objects], top.prefixes) == (["top", "zebra"], ["a/", "b/"])
    inner = stored.names(prefix="b/", delimiter="/")
    assert ([one.name for one in inner.objects], inner.prefixes) == (["b/d"], ["b/c/"])
    assert [one.name for one in stored.names(start="b/d", end="zebra").objects] == ["b/d", "top"]
    assert [one.name for one in stored.names(start_after="b/d").objects] == ["top", "zebra"]
    pages, start = [], None
    while True:
        page = stored.names(limit=2, start=start)
        pages.append([one.name for one in page.objects])
        start = page.next_start_with
        if start is None:
            break
    assert pages == [["a/1", "a/2"], ["b/c/1", "b/d"], ["top", "zebra"]]
    folded = stored.names(limit=1, delimiter="/")
    assert (folded.prefixes, folded.next_start_with) == (["a/"], "b/c/1")
    everything = oci.pagination.list_call_get_all_results(
        stored.client.list_objects, stored.space, BUCKET, limit=4
    ).data.objects
    assert len(everything) == 6
    with refused(400, "InvalidParameter", "delimiter"):
        stored.names(delimiter="-")
    with refused(400, "InvalidParameter", "'colour'"):
        stored.names(fields="colour")


def test_rename(stored):
    etag = stored.put("old", b"data").headers["etag"]
    stored.put("taken", b"other")

    def rename(new: str, **fields):
        details = models.RenameObjectDetails(source_name="old", new_name=new, **fields)
        return stored.client.rename_object(stored.space, BUCKET, details)

    with refused(412, "IfNoneMatchFailed"):
        rename("taken", new_obj_if_none_match_e_tag="*")
    with refused(412, "IfMatchFailed"):
        rename("new", src_obj_if_match_e_tag="other")
    new = rename("new", src_obj_if_match_e_tag=etag)
    assert new.headers["etag"] != etag
    assert stored.get("new").data.content == b"data"
    with refused(404, "ObjectNotFound"):
        rename("other")


def test_batch_delete(stored):
    stored.put("a", b"")
    identifiers = [models.BatchDeleteObjectIdentifier(object_name=name) for name in ("a", "missing")]
    details = models.BatchDeleteObjectsDetails(objects=identifiers)
    result = stored.client.batch_delete_objects(stored.space, BUCKET, details).data
    assert [one.object_name for one in result.deleted] == ["a"]
    assert [(one.object_name, one.status_code) for one in result.failed] == [("missing", 404)]


# multipart uploads


def upload_of(storage: Storage, name: str = "big", **options):
    details = models.CreateMultipartUploadDetails(object=name, **options)
    return storage.client.create_multipart_upload(storage.space, BUCKET, details).data.upload_id


def part(storage: Storage, upload: str, number: int, data: bytes, name: str = "big", **options):
    made = storage.client.upload_part(storage.space, BUCKET, name, upload, number, data, **options)
    return models.CommitMultipartUploadPartDetails(part_num=number, etag=made.headers["etag"])


def commit(storage: Storage, upload: str, parts, exclude=None, name: str = "big", **options):
    details = models.CommitMultipartUploadDetails(parts_to_commit=parts, parts_to_exclude=exclude)
    return storage.client.commit_multipart_upload(storage.space, BUCKET, name, upload, details, **options)


def test_parts_in_any_order(stored):
    upload = upload_of(stored, content_type="text/plain", metadata={"opc-meta-k": "v"})
    third = part(stored, upload, 30, b"three")
    first = part(stored, upload, 1, b"one-")
    stale = part(stored, upload, 2, b"wrong")
    second = part(stored, upload, 2, b"two-")
    unwanted = part(stored, upload, 7, b"unwanted")
    listed = stored.client.list_multipart_upload_parts(stored.space, BUCKET, "big", upload, limit=2)
    assert [(one.part_number, one.size) for one in listed.data] == [(1, 4), (2, 4)]
    rest = stored.client.list_multipart_upload_parts(
        stored.space, BUCKET, "big", upload, limit=2, page=listed.next_page
    )
    assert [one.part_number for one in rest.data] == [7, 30]
    assert [one.object for one in stored.client.list_multipart_uploads(stored.space, BUCKET).data] == ["big"]
    for parts, exclude, message in (
        ([], None, "no parts to commit"),
        ([stale, first, third], [7], "The ETag of part 2"),
        ([first, second, third], None, "Part 7 must be either committed or excluded"),
        ([first, first, second, third], [7], "Part 1 is named twice"),
        ([first, second, third, unwanted], [7], "cannot be committed and excluded"),
        ([models.CommitMultipartUploadPartDetails(part_num=9, etag="x")], [], "Part 9 was not uploaded"),
    ):
        with refused(400, "InvalidUploadPart", message):
            commit(stored, upload, parts, exclude)
    made = commit(stored, upload, [third, first, second], [7])
    assert made.headers["opc-multipart-md5"].endswith("-3")
    got = stored.get("big")
    assert (got.data.content, got.headers["content-type"]) == (b"one-two-three", "text/plain")
    assert got.headers["opc-multipart-md5"] == made.headers["opc-multipart-md5"]
    assert got.headers["opc-meta-k"] == "v"
    assert stored.get("big", range="bytes=2-9").data.content == b"e-two-th"
    assert len(stored.files()) == 3
    with refused(404, "NoSuchUpload"):
        commit(stored, upload, [third, first, second], [7])


@pytest.mark.parametrize(
    "options",
    [
        {"metadata": {"opc-meta-ключ": "v"}},
        {"metadata": {"k": "two\nlines"}},
        {"content_type": "text/plain\r\nx: y"},
        {"cache_control": " blank"},
    ],
)
def test_what_no_header_can_carry_is_refused(stored, options):
    with refused(400, "InvalidParameter", "cannot be a header"):
        upload_of(stored, **options)


def test_hostile_numbers_and_headers(stored):
    stored.put("a", b"data")
    many = "9" * 5000
    with refused(416, "InvalidRange"):
        stored.get("a", range=f"bytes={many}-")
    with refused(400, "InvalidParameter", "uploadPartNum"):
        part(stored, upload_of(stored), many, b"")
    with refused(400, "InvalidParameter", "cannot be a header"):
        stored.get("a", http_response_content_type="x\r\ny: z")
    assert stored.get("a").data.content == b"data"


def test_an_aborted_upload_leaves_nothing(stored):
    upload = upload_of(stored)
    part(stored, upload, 1, b"data")
    with refused(409, "BucketNotEmpty", "multipart uploads"):
        stored.client.delete_bucket(stored.space, BUCKET)
    stored.client.abort_multipart_upload(stored.space, BUCKET, "big", upload)
    assert stored.files() == []
    with refused(404, "NoSuchUpload"):
        part(stored, upload, 1, b"data")
    with refused(404, "NoSuchUpload"):
        stored.client.list_multipart_upload_parts(stored.space, BUCKET, "big", upload)


def test_refused_parts(stored):
    upload = upload_of(stored)
    for number in (0, 10_001, "x"):
        with refused(400, "InvalidParameter", "uploadPartNum"):
            part(stored, upload, number, b"data")
    with refused(404, "NoSuchUpload"):
        part(stored, upload, 1, b"data", name="other")
    with refused(400, "UnmatchedContentMD5"):
        part(stored, upload, 1, b"data", content_md5="AAAA")
    kept = part(stored, upload, 1, b"data")
    with refused(412, "IfNoneMatchFailed"):
        part(stored, upload, 1, b"data", if_none_match="*")
    stored.put("big", b"")
    with refused(412, "IfNoneMatchFailed"):
        commit(stored, upload, [kept], if_none_match="*")


def test_the_upload_manager(stored, tmp_path):
    data = bytes(range(256)) * 4 * 1024 * 3
    (tmp_path / "image.qcow2").write_bytes(data)
    seen: list[int] = []
    manager = oci.object_storage.UploadManager(stored.client, allow_parallel_uploads=True, parallel_process_count=3)
    done = manager.upload_file(
        stored.space,
        BUCKET,
        "image.qcow2",
        str(tmp_path / "image.qcow2"),
        part_size=1024 * 1024,
        progress_callback=seen.append,
    )
    assert done.status == 200
    assert sum(seen) == len(data)
    got = stored.get("image.qcow2")
    assert got.headers["opc-multipart-md5"].endswith("-3")
    assert hashlib.sha256(got.data.content).digest() == hashlib.sha256(data).digest()
    manager.upload_stream(stored.space, BUCKET, "stream", io.BytesIO(data), part_size=1024 * 1024)
    assert stored.head("stream").headers["content-length"] == str(len(data))


def test_an_interrupted_upload_is_resumed(stored, tmp_path):
    data = b"0123456789" * 100_000
    (tmp_path / "file").write_bytes(data)
    upload = upload_of(stored, "file")
    part(stored, upload, 1, data[: 256 * 1024], name="file")
    manager = oci.object_storage.UploadManager(stored.client)
    manager.resume_upload_file(stored.space, BUCKET, "file", str(tmp_path / "file"), upload, part_size=256 * 1024)
    assert stored.get("file").data.content == data
    puts = stored.sandbox.recorder.count(operation="UploadPart", status=200)
    assert puts == 4, "the part that was there is not sent again"


def test_an_object_as_a_file(stored):
    upload = upload_of(stored)
    commit(stored, upload, [part(stored, upload, 2, b"two"), part(stored, upload, 1, b"one")])
    space = stored.space
    path, size = stored.sandbox.inside(lambda world: object_file(world, space, BUCKET, "big"))
    assert (path.read_bytes(), size) == (b"onetwo", 6)
    assert stored.get("big").data.content == b"onetwo"
    assert stored.files() == [path.name]
    with pytest.raises(OracleError, check=lambda error: (error.status, error.code) == (404, "ObjectNotFound")):
        stored.sandbox.inside(lambda world: object_file(world, space, BUCKET, "missing"))
    with pytest.raises(OracleError, check=lambda error: (error.status, error.code) == (404, "BucketNotFound")):
        stored.sandbox.inside(lambda world: object_file(world, space, "missing", "big"))


@settings(max_examples=15, deadline=None)
@given(order=st.permutations(range(1, 7)), chosen=st.sets(st.integers(1, 6), min_size=1))
def test_any_order_and_choice_of_parts(multipart, order, chosen):
    upload = upload_of(multipart)
    parts = {number: part(multipart, upload, number, str(number).encode() * number) for number in order}
    commit(
        multipart, upload, [parts[one] for one in order if one in chosen], [one for one in order if one not in chosen]
    )
    assert multipart.get("big").data.content == b"".join(str(one).encode() * one for one in sorted(chosen))
    assert len(multipart.files()) == len(chosen)


@pytest.fixture(scope="module")
def multipart(tmp_path_factory):
    with running(tmp_path_factory.mktemp("multipart")) as here:
        storage = Storage(here)
        storage.bucket()
        yield storage


# limits, money, snapshots


def test_storage_is_limited(stored):
    stored.sandbox.inside(lambda world: limits.override(world, "storage-bytes", 100))
    stored.put("a", b"x" * 60)
    with refused(400, "StorageQuotaExceeded", "storage-bytes"):
        stored.put("b", b"x" * 41)
    stored.put("a", b"x" * 100)
    stored.put("a", b"x" * 30)
    upload = upload_of(stored)
    part(stored, upload, 1, b"x" * 70)
    with refused(400, "StorageQuotaExceeded"):
        part(stored, upload, 2, b"x")
    found = stored.sandbox.client(oci.limits.LimitsClient).get_resource_availability(
        "object-storage", "storage-bytes", stored.sandbox.tenancy
    )
    assert (found.data.used, found.data.available) == (100, 0)


def test_what_lies_in_a_bucket_is_in_the_ledger(manual):
    storage = Storage(manual)
    storage.bucket()

    def ledger() -> list[tuple[int, float]]:
        return manual.inside(
            lambda world: [
                (one.facts["bytes"], round((one.end - one.start).total_seconds() / 3600, 2)) for one in spans(world)
            ]
        )

    def to_the_hour(world: World) -> None:
        now = world.clock.now()
        world.clock.advance(3600 - now.minute * 60 - now.second - now.microsecond / 1e6)

    manual.inside(to_the_hour)
    storage.put("a", b"x" * 10)
    storage.put("b", b"x" * 10)
    manual.advance(2 * 3600)
    storage.delete("a")
    manual.advance(3600)
    storage.delete("b")
    storage.client.delete_bucket(storage.space, BUCKET)
    manual.advance(3600)
    assert ledger() == [(20, 2.0), (10, 1.0), (0, 0.0)]


def test_objects_survive_a_snapshot(stored, tmp_path):
    stored.put("a", b"before")
    file = stored.sandbox.inside(lambda world: snapshot.save(world, tmp_path / "snapshot"))
    stored.put("a", b"after")
    stored.put("b", b"after")
    stored.sandbox.inside(lambda world: snapshot.restore(world, file))
    assert stored.get("a").data.content == b"before"
    assert [one.name for one in stored.names().objects] == ["a"]


# retention rules


def test_retention_rules(manual):
    storage = Storage(manual)
    storage.bucket()
    client, space = storage.client, storage.space
    assert client.list_retention_rules(space, BUCKET).data.items == []
    storage.put("a", b"1")
    details = models.CreateRetentionRuleDetails(
        display_name="a day", duration=models.Duration(time_amount=1, time_unit="DAYS")
    )
    rule = client.create_retention_rule(space, BUCKET, details).data
    assert [one.id for one in client.list_retention_rules(space, BUCKET).data.items] == [rule.id]
    assert client.get_retention_rule(space, BUCKET, rule.id).data.display_name == "a day"
    for change in (
        lambda: storage.delete("a"),
        lambda: storage.put("a", b"2"),
        lambda: client.rename_object(space, BUCKET, models.RenameObjectDetails(source_name="a", new_name="b")),
    ):
        with refused(403, "RetentionRuleViolation", "'a day'"):
            change()
    storage.put("new", b"")
    manual.advance(86400)
    storage.delete("a")
    for_ever = models.CreateRetentionRuleDetails(display_name="for ever")
    second = client.create_retention_rule(space, BUCKET, for_ever).data
    manual.advance(10 * 365 * 86400)
    with refused(403, "RetentionRuleViolation", "'for ever'"):
        storage.delete("new")
    client.delete_retention_rule(space, BUCKET, second.id)
    storage.delete("new")


def test_a_locked_retention_rule_only_gets_longer(manual):
    storage = Storage(manual)
    storage.bucket()
    client, space = storage.client, storage.space
    now = manual.inside(lambda world: world.clock.now())

    def rule(days: int, **fields):
        duration = models.Duration(time_amount=days, time_unit="DAYS")
        return models.CreateRetentionRuleDetails(display_name="r", duration=duration, **fields)

    with refused(400, "InvalidParameter", "at least 14 days ahead"):
        client.create_retention_rule(space, BUCKET, rule(5, time_rule_locked=now + timedelta(days=13)))
    made = client.create_retention_rule(space, BUCKET, rule(5, time_rule_locked=now + timedelta(days=15))).data
    manual.advance(16 * 86400)
    with refused(403, "NotAllowed"):
        client.delete_retention_rule(space, BUCKET, made.id)

    def change(days: int):
        details = models.UpdateRetentionRuleDetails(duration=models.Duration(time_amount=days, time_unit="DAYS"))
        return client.update_retention_rule(space, BUCKET, made.id, details).data

    with refused(403, "NotAllowed"):
        change(4)
    assert change(6).duration.time_amount == 6


# pre-authenticated requests


def test_reading_by_address(stored):
    stored.put("a.txt", b"shared")
    made = stored.par()
    assert made.access_uri.endswith(f"/n/{stored.space}/b/{BUCKET}/o/a.txt")
    url = stored.sandbox.endpoint + made.access_uri
    got = requests.get(url, timeout=10)
    assert (got.status_code, got.content) == (200, b"shared")
    assert requests.get(url, headers={"Range": "bytes=1-2"}, timeout=10).content == b"ha"
    assert requests.head(url, timeout=10).headers["content-length"] == "6"
    refusal = requests.put(url, data=b"new", timeout=10)
    assert (refusal.status_code, refusal.json()["message"]) == (404, "PAR does not exist")
    assert requests.get(url.replace("a.txt", "b.txt"), timeout=10).status_code == 404
    listed = stored.client.list_preauthenticated_requests(stored.space, BUCKET).data
    assert [one.id for one in listed] == [made.id]
    assert stored.client.get_preauthenticated_request(stored.space, BUCKET, made.id).data.name == "share"
    with refused(409, "BucketNotEmpty"):
        stored.delete("a.txt")
        stored.client.delete_bucket(stored.space, BUCKET)
    stored.client.delete_preauthenticated_request(stored.space, BUCKET, made.id)
    assert requests.get(url, timeout=10).status_code == 404
    with refused(404, "NotAuthorizedOrNotFound"):
        stored.client.get_preauthenticated_request(stored.space, BUCKET, made.id)


def test_writing_by_address(stored):
    url = stored.sandbox.endpoint + stored.par("AnyObjectWrite", name=None).access_uri
    assert url.endswith("/o/")
    assert requests.put(url + "in/new.txt", data=b"sent", timeout=10).status_code == 200
    assert stored.get("in/new.txt").data.content == b"sent"
    assert requests.get(url + "in/new.txt", timeout=10).status_code == 404
    assert requests.put(url + "x", data=b"1", headers={"opc-multipart": "true"}, timeout=10).status_code == 501


def test_an_address_for_a_prefix_with_a_list(stored):
    stored.put("pub/a", b"1")
    stored.put("secret", b"2")
    made = stored.par("AnyObjectRead", name="pub/", bucket_listing_action="ListObjects")
    url = stored.sandbox.endpoint + made.access_uri
    assert requests.get(url + "pub/a", timeout=10).content == b"1"
    assert requests.get(url + "secret", timeout=10).status_code == 404
    assert [one["name"] for one in requests.get(url, params={"prefix": "pub/"}, timeout=10).json()["objects"]] == [
        "pub/a"
    ]
    assert requests.get(url, timeout=10).status_code == 404


def test_an_address_expires(manual):
    storage = Storage(manual)
    storage.bucket()
    storage.put("a.txt", b"shared")
    url = manual.endpoint + storage.par(hours=2).access_uri
    manual.advance(2 * 3600 - 1)
    assert requests.get(url, timeout=10).status_code == 200
    manual.advance(1)
    assert requests.get(url, timeout=10).status_code == 404


@pytest.mark.parametrize(
    ("options", "refusal"),
    [
        ({"name": None}, (400, "MissingParameter", "objectName")),
        ({"hours": -1}, (400, "InvalidParameter", "timeExpires must be in the future")),
        ({"bucket_listing_action": "ListObjects"}, (400, "InvalidParameter", "bucketListingAction")),
    ],
)
def test_refused_addresses(stored, options, refusal):
    with refused(*refusal):
        stored.par(**options)
