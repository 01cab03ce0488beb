"""Reading etcd's own file: what the sandbox writes in etcd's form is read back, and what was changed is refused."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ocifree_pipeline.deployment.errors import NotVerified
from ocifree_pipeline.sandbox.talos import etcd_file as sandbox
from ocifree_pipeline.systems.talos import etcd_file

NAMES = st.text("abcdefgh-", min_size=1, max_size=12)
TABLES = st.dictionaries(NAMES, st.fixed_dictionaries({"text": st.text(max_size=9000)}), max_size=40)


@settings(max_examples=25, deadline=None)
@given(TABLES, TABLES)
def test_every_key_is_found_with_its_value(secrets: dict[str, object], nodes: dict[str, object]) -> None:
    dump = {
        "revision": 7,
        "objects": {"secrets": {f"default/{name}": one for name, one in secrets.items()}, "nodes": nodes},
    }
    content = sandbox.write(dump)
    found = etcd_file._living(content)
    assert found.keys() == {f"/registry/secrets/default/{name}" for name in secrets} | {
        f"/registry/minions/{name}" for name in nodes
    }
    assert all(found.values())
    assert sandbox.read(content) == dump


def test_the_last_revision_counts_and_the_end_of_a_key_too() -> None:
    def stored(key: bytes, value: bytes) -> bytes:
        return sandbox._field(1, key) + sandbox._field(5, value)

    pages: list[bytes] = []
    revisions = [
        (0, sandbox._revision(2), stored(b"/a", b"old")),
        (0, sandbox._revision(3), stored(b"/b", b"gone")),
        (0, sandbox._revision(4), stored(b"/a", b"new")),
        (0, sandbox._revision(5) + b"t", stored(b"/b", b"")),
    ]
    root = sandbox._tree(revisions, pages, 4)
    bucket = [(sandbox.BUCKET, b"key", struct.pack("<QQ", root, 0))]
    heads = [sandbox._head(number, 5) for number in (0, 1)]
    content = b"".join([*heads, sandbox._page(2, sandbox.FREE, 0, b""), sandbox._leaf(3, bucket), *pages])
    assert etcd_file._living(content) == {"/a": b"new"}


@pytest.mark.parametrize(
    ("at", "why"),
    [
        (slice(16, 20), None),
        (slice(3 * 4096, 3 * 4096 + 1), "page 3 is not where it says"),
        (slice(3 * 4096 + 8, 3 * 4096 + 9), "neither a branch nor a leaf"),
    ],
)
def test_what_was_changed_is_refused(tmp_path: Path, at: slice, why: str | None) -> None:
    content = bytearray(sandbox.write({"objects": {"nodes": {"one": {"a": 1}}}}))
    content[at] = bytes(len(content[at]))
    (tmp_path / "db").write_bytes(content)
    if why is None:
        assert etcd_file.keys_in(tmp_path / "db").keys() == {"/registry/minions/one"}, "the second head is whole"
        content[4096 + 16] = 0
        (tmp_path / "db").write_bytes(content)
        why = "neither of its heads is whole"
    with pytest.raises(NotVerified) as refused:
        etcd_file.keys_in(tmp_path / "db")
    assert why in refused.value.why
