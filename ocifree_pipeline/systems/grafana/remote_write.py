"""Send samples of our own: a remote write request, which is a small protobuf message in snappy's block format."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from ocifree_pipeline.systems.grafana.http import Door

HEADERS = {
    "Content-Encoding": "snappy",
    "Content-Type": "application/x-protobuf",
    "X-Prometheus-Remote-Write-Version": "0.1.0",
}


@dataclass(frozen=True, slots=True)
class Sample:
    """A value of a series; `labels` without the name."""

    name: str
    value: float
    labels: Mapping[str, str]


def send(metrics: Door, samples: Iterable[Sample], at: float) -> None:
    """All of them with one time, in seconds."""
    import cramjam

    body = bytes(cramjam.snappy.compress_raw(encoded(samples, int(at * 1000))))
    metrics.call("POST", "/api/prom/push", "send metrics", content=body, headers=HEADERS)


def encoded(samples: Iterable[Sample], milliseconds: int) -> bytes:
    """prometheus.WriteRequest; the labels of a series are sorted by name."""
    return b"".join(_field(1, _series(one, milliseconds)) for one in samples)


def _series(sample: Sample, milliseconds: int) -> bytes:
    labels = sorted({**sample.labels, "__name__": sample.name}.items())
    pairs = b"".join(_field(1, _field(1, name.encode()) + _field(2, value.encode())) for name, value in labels)
    point = b"\x09" + struct.pack("<d", sample.value) + b"\x10" + _varint(milliseconds)
    return pairs + _field(2, point)


def _field(number: int, content: bytes) -> bytes:
    return _varint(number << 3 | 2) + _varint(len(content)) + content


def _varint(number: int) -> bytes:
    found = bytearray()
    while number > 0x7F:
        found.append(number & 0x7F | 0x80)
        number >>= 7
    found.append(number)
    return bytes(found)
