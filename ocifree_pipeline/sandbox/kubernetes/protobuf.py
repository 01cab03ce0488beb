"""Bodies in Kubernetes' binary form, for the few kinds that `kubectl` sends so: four bytes, an envelope, a message.

A message is read by a table of its fields. A kind that has no table is refused like any format that is not known.
"""

import base64
from collections.abc import Iterator
from typing import Any, Literal

from ocifree_pipeline.sandbox.kubernetes import statuses
from ocifree_pipeline.sandbox.kubernetes.trees import Tree

TYPE = "application/vnd.kubernetes.protobuf"
MAGIC = b"k8s\x00"
VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5

Form = Literal["text", "bytes", "integer", "boolean", "texts", "text map", "bytes map"]
Message = dict[int, tuple[str, "Form | Message"]]


class Broken(Exception):
    """The bytes are no message."""


PRECONDITIONS: Message = {1: ("uid", "text"), 2: ("resourceVersion", "text")}
DELETE_OPTIONS: Message = {
    1: ("gracePeriodSeconds", "integer"),
    2: ("preconditions", PRECONDITIONS),
    4: ("propagationPolicy", "text"),
    5: ("dryRun", "texts"),
}
METADATA: Message = {
    1: ("name", "text"),
    2: ("generateName", "text"),
    3: ("namespace", "text"),
    5: ("uid", "text"),
    6: ("resourceVersion", "text"),
    11: ("labels", "text map"),
    12: ("annotations", "text map"),
    14: ("finalizers", "texts"),
}
RESOURCE: Message = {
    1: ("namespace", "text"),
    2: ("verb", "text"),
    3: ("group", "text"),
    4: ("version", "text"),
    5: ("resource", "text"),
    6: ("subresource", "text"),
    7: ("name", "text"),
}
ACCESS: Message = {
    1: ("resourceAttributes", RESOURCE),
    2: ("nonResourceAttributes", {1: ("path", "text"), 2: ("verb", "text")}),
}
KINDS: dict[str, Message] = {
    "ConfigMap": {
        1: ("metadata", METADATA),
        2: ("data", "text map"),
        3: ("binaryData", "bytes map"),
        4: ("immutable", "boolean"),
    },
    "DeleteOptions": DELETE_OPTIONS,
    "Eviction": {1: ("metadata", METADATA), 2: ("deleteOptions", DELETE_OPTIONS)},
    "Namespace": {1: ("metadata", METADATA)},
    "Secret": {
        1: ("metadata", METADATA),
        2: ("data", "bytes map"),
        3: ("type", "text"),
        4: ("stringData", "text map"),
        5: ("immutable", "boolean"),
    },
    "SelfSubjectAccessReview": {1: ("metadata", METADATA), 2: ("spec", ACCESS)},
    "ServiceAccount": {1: ("metadata", METADATA)},
}


def decoded(body: bytes) -> Tree:
    """The object in a body. Refusal when it is broken, or of a kind that is not known in this form."""
    if not body.startswith(MAGIC):
        raise statuses.bad_request("the provided data does not appear to be a protobuf message")
    try:
        envelope: Message = {1: ("type", {1: ("apiVersion", "text"), 2: ("kind", "text")}), 2: ("raw", "bytes")}
        unknown = _read(body[len(MAGIC) :], envelope)
        kind = unknown.get("type", {}).get("kind", "")
        if kind not in KINDS:
            raise statuses.unsupported_media_type(f"{TYPE} of a {kind}", ("application/json", "application/yaml"))
        found = _read(base64.b64decode(unknown.get("raw", "")), KINDS[kind])
    except (Broken, UnicodeDecodeError):
        raise statuses.bad_request("the provided data is no protobuf message") from None
    # Only what is empty is left out of the binary form, so metadata is there even when nothing is in it.
    return dict(unknown["type"]) | {"metadata": {}} | _without_empty(found)


def _without_empty(tree: Tree) -> Tree:
    """The binary form writes empty texts where JSON leaves them out."""
    return {
        name: _without_empty(value) if isinstance(value, dict) else value
        for name, value in tree.items()
        if value not in ("", None)
    }


def _read(data: bytes, message: Message) -> Tree:
    found: Tree = {}
    for number, value in _fields(data):
        if number not in message:
            continue
        name, form = message[number]
        if isinstance(form, dict):
            found[name] = _read(_bytes(value), form)
        elif form in {"text map", "bytes map"}:
            entry = _read(_bytes(value), {1: ("key", "text"), 2: ("value", "text" if form == "text map" else "bytes")})
            found.setdefault(name, {})[entry.get("key", "")] = entry.get("value", "")
        elif form == "texts":
            found.setdefault(name, []).append(_bytes(value).decode())
        else:
            found[name] = _plain(value, form)
    return found


def _plain(value: Any, form: str) -> Any:
    if form == "text":
        return _bytes(value).decode()
    if form == "bytes":
        return base64.b64encode(_bytes(value)).decode()
    if not isinstance(value, int):
        raise Broken
    return bool(value) if form == "boolean" else value


def _bytes(value: Any) -> bytes:
    if not isinstance(value, bytes):
        raise Broken
    return value


def _fields(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    at = 0
    while at < len(data):
        tag, at = _varint(data, at)
        kind = tag & 7
        if kind == VARINT:
            value, at = _varint(data, at)
            yield tag >> 3, value
            continue
        length = {FIXED64: 8, FIXED32: 4}.get(kind, -1)
        if kind == BYTES:
            length, at = _varint(data, at)
        if length < 0 or at + length > len(data):
            raise Broken
        yield tag >> 3, data[at : at + length]
        at += length


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while at < len(data) and shift < 70:
        byte = data[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if not byte & 0x80:
            return value, at
    raise Broken
