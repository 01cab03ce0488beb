"""The binary form of bodies: what is written is read, and no bytes end in anything but an object or a refusal."""

from __future__ import annotations

import base64
import contextlib

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ocifree_pipeline.sandbox.kubernetes import protobuf
from ocifree_pipeline.sandbox.kubernetes.statuses import Refusal


def varint(number: int) -> bytes:
    out = b""
    while number > 127:
        out += bytes([number & 127 | 128])
        number >>= 7
    return out + bytes([number])


def put(number: int, value: bytes | str | int) -> bytes:
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    data = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | 2) + varint(len(data)) + data


def body(kind: str, *fields: bytes) -> bytes:
    return protobuf.MAGIC + put(1, put(1, "v1") + put(2, kind)) + put(2, b"".join(fields)) + put(3, "") + put(4, "")


texts = st.text(min_size=1, max_size=20)


@given(
    name=texts, data=st.dictionaries(texts, st.binary(max_size=300), max_size=4), labels=st.dictionaries(texts, texts)
)
def test_a_secret_is_read_as_it_was_written(name: str, data: dict[str, bytes], labels: dict[str, str]) -> None:
    metadata = put(1, name) + b"".join(put(11, put(1, key) + put(2, value)) for key, value in labels.items())
    entries = [put(2, put(1, key) + put(2, value)) for key, value in data.items()]
    found = protobuf.decoded(body("Secret", put(1, metadata), *entries, put(3, "Opaque")))
    assert (found["kind"], found["apiVersion"], found["type"]) == ("Secret", "v1", "Opaque")
    assert found["metadata"] == {"name": name} | ({"labels": labels} if labels else {})
    assert {key: base64.b64decode(value) for key, value in found.get("data", {}).items()} | {
        key: b"" for key, value in data.items() if not value
    } == data


@given(st.binary(max_size=60))
@example(b"\x08")
@example(b"\xff" * 12)
def test_no_bytes_bring_it_down(noise: bytes) -> None:
    for given_body in (noise, protobuf.MAGIC + noise, body("Secret", noise)):
        with contextlib.suppress(Refusal):
            assert "metadata" in protobuf.decoded(given_body)


def test_a_kind_without_a_table_is_refused() -> None:
    with pytest.raises(Refusal, match="of a Deployment") as raised:
        protobuf.decoded(body("Deployment"))
    assert raised.value.code == 415
