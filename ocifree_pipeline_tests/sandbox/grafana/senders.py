"""What real agents put on the wire, written by hand from the published message definitions."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping

import cramjam


def varint(number: int) -> bytes:
    number &= (1 << 64) - 1
    parts = []
    while True:
        parts.append(number & 0x7F | (0x80 if number > 0x7F else 0))
        number >>= 7
        if not number:
            return bytes(parts)


def message(field: int, content: bytes) -> bytes:
    return varint(field << 3 | 2) + varint(len(content)) + content


def number(field: int, value: int) -> bytes:
    return varint(field << 3) + varint(value)


def double(field: int, value: float) -> bytes:
    return varint(field << 3 | 1) + struct.pack("<d", value)


def snappy(content: bytes) -> bytes:
    return bytes(cramjam.snappy.compress_raw(content))


def write_request(series: Iterable[tuple[Mapping[str, str], Iterable[tuple[int, float]]]]) -> bytes:
    """A remote write body; times in milliseconds."""
    body = b""
    for labels, samples in series:
        pairs = b"".join(
            message(1, message(1, name.encode()) + message(2, value.encode())) for name, value in sorted(labels.items())
        )
        points = b"".join(message(2, double(1, value) + number(2, time)) for time, value in samples)
        body += message(1, pairs + points)
    return snappy(body)


def push_request(streams: Iterable[tuple[str, Iterable[tuple[int, str]]]]) -> bytes:
    """A Loki push body; times in nanoseconds."""
    body = b""
    for labels, lines in streams:
        entries = b"".join(
            message(2, message(1, number(1, time // 10**9) + number(2, time % 10**9)) + message(2, line.encode()))
            for time, line in lines
        )
        body += message(1, message(1, labels.encode()) + entries)
    return snappy(body)


def traces_request(resource: Mapping[str, str], name: str, trace: bytes, start: int, end: int) -> bytes:
    """One root span with the attributes of its resource."""
    attributes = b"".join(
        message(1, message(1, key.encode()) + message(2, message(1, value.encode()))) for key, value in resource.items()
    )
    span = (
        message(1, trace)
        + message(2, trace[:8])
        + message(5, name.encode())
        + varint(7 << 3 | 1)
        + start.to_bytes(8, "little")
        + varint(8 << 3 | 1)
        + end.to_bytes(8, "little")
    )
    return message(1, message(1, attributes) + message(2, message(2, span)))
