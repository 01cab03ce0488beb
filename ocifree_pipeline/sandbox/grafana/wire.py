"""What senders put on the wire: remote write, Loki's push and OTLP traces, as protobuf or JSON, snappy or gzip.

The messages are few and small, so their fields are read by number here instead of through generated classes.
"""

from __future__ import annotations

import gzip
import json
import re
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

Labels = dict[str, str]
NANOS = 1_000_000_000
MOST_BYTES = 64 * 1024 * 1024


class Malformed(ValueError):
    """The body is not what its content type says."""


@dataclass(frozen=True, slots=True)
class Series:
    """A series of a remote write request; times are milliseconds."""

    labels: Labels
    samples: tuple[tuple[int, float], ...]


@dataclass(frozen=True, slots=True)
class Line:
    """A log line of a stream; the time is in nanoseconds."""

    time: int
    text: str


@dataclass(frozen=True, slots=True)
class Stream:
    labels: Labels
    lines: tuple[Line, ...]


@dataclass(frozen=True, slots=True)
class Span:
    """A span with the attributes of its resource; times are nanoseconds."""

    trace: str
    span: str
    parent: str
    name: str
    start: int
    end: int
    attributes: Labels
    resource: Labels


# protobuf -------------------------------------------------------------------------------------------------------------


def fields(data: bytes) -> Iterator[tuple[int, Any]]:
    """Field numbers with their values: numbers, or bytes. Malformed when the message breaks off."""
    at = 0
    try:
        while at < len(data):
            key, at = _varint(data, at)
            number, kind = key >> 3, key & 7
            if kind == 0:
                value, at = _varint(data, at)
                yield number, value
            elif kind == 1:
                yield number, data[at : at + 8] if len(data) >= at + 8 else _broken()
                at += 8
            elif kind == 2:
                size, at = _varint(data, at)
                if at + size > len(data):
                    _broken()
                yield number, data[at : at + size]
                at += size
            elif kind == 5:
                at += 4
            else:
                raise Malformed(f"proto: illegal wireType {kind}")
    except IndexError:
        _broken()


def _varint(data: bytes, at: int) -> tuple[int, int]:
    result = shift = 0
    while True:
        byte = data[at]
        at += 1
        result |= (byte & 0x7F) << shift
        if byte < 0x80:
            return result, at
        shift += 7
        if shift > 63:
            raise Malformed("proto: integer overflow")


def _broken() -> Any:
    raise Malformed("unexpected EOF")


def _signed(value: int) -> int:
    return value - (1 << 64) if value >= 1 << 63 else value


def _text(value: Any) -> str:
    try:
        return bytes(value).decode()
    except UnicodeDecodeError as error:
        raise Malformed("proto: a string field holds invalid UTF-8") from error


# bodies ---------------------------------------------------------------------------------------------------------------


def unpacked(body: bytes, encoding: str, *, most: int = MOST_BYTES) -> bytes:
    """The body without its compression. Snappy here is the block format, which carries its length in front."""
    try:
        if encoding == "snappy":
            import cramjam

            if _varint(body, 0)[0] > most:
                raise Malformed(f"the body unpacks to more than {most} bytes")
            return bytes(cramjam.snappy.decompress_raw(body))
        if encoding == "gzip":
            return gzip.decompress(body)
    except (OSError, EOFError, zlib.error, IndexError, RuntimeError) as error:
        raise Malformed(f"{encoding}: corrupt input") from error
    except Exception as error:
        if type(error).__name__ == "DecompressionError":
            raise Malformed(f"{encoding}: corrupt input") from error
        raise
    if encoding in {"", "identity"}:
        return body
    raise Malformed(f"unsupported content encoding {encoding!r}")


@contextmanager
def _of_its_types() -> Iterator[None]:
    """A field of another type than the message defines is as malformed as one that breaks off."""
    try:
        yield
    except Malformed:
        raise
    except (TypeError, ValueError, OverflowError, struct.error) as error:
        raise Malformed("proto: wrong wireType for a field") from error


@_of_its_types()
def write_request(data: bytes) -> list[Series]:
    """prometheus.WriteRequest, version 1."""
    return [_series(value) for number, value in fields(data) if number == 1]


def _series(data: bytes) -> Series:
    labels: Labels = {}
    samples = []
    for number, value in fields(data):
        if number == 1:
            pair = dict(fields(value))
            labels[_text(pair.get(1, b""))] = _text(pair.get(2, b""))
        elif number == 2:
            sample = dict(fields(value))
            samples.append(
                (_signed(int(sample.get(2, 0))), float(struct.unpack("<d", sample.get(1, bytes(8)))[0])),
            )
    return Series(labels, tuple(samples))


@_of_its_types()
def push_request(data: bytes) -> list[Stream]:
    """logproto.PushRequest."""
    return [_stream(value) for number, value in fields(data) if number == 1]


def _stream(data: bytes) -> Stream:
    labels, lines = "", []
    for number, value in fields(data):
        if number == 1:
            labels = _text(value)
        elif number == 2:
            entry = dict(fields(value))
            when = dict(fields(entry.get(1, b"")))
            time = _signed(int(when.get(1, 0))) * NANOS + int(when.get(2, 0))
            lines.append(Line(time, _text(entry.get(2, b""))))
    return Stream(stream_labels(labels), tuple(lines))


PAIR = re.compile(r'\s*([a-zA-Z_][a-zA-Z0-9_]*)\s*=\s*("(?:[^"\\]|\\.)*")\s*(,|$)')


def stream_labels(text: str) -> Labels:
    """`{app="x", pod="y"}`."""
    inner = text.strip()
    if not (inner.startswith("{") and inner.endswith("}")):
        raise Malformed(f"error parsing labels {text!r}")
    inner, at, found = inner[1:-1].strip(), 0, {}
    while at < len(inner):
        match = PAIR.match(inner, at)
        if match is None:
            raise Malformed(f"error parsing labels {text!r}")
        found[match[1]] = json.loads(match[2])
        at = match.end()
    return found


def push_json(body: bytes) -> list[Stream]:
    try:
        streams = json.loads(body)["streams"]
        return [
            Stream(
                {str(key): str(value) for key, value in one["stream"].items()},
                tuple(Line(int(entry[0]), str(entry[1])) for entry in one["values"]),
            )
            for one in streams
        ]
    except (ValueError, KeyError, TypeError, AttributeError, IndexError, RecursionError) as error:
        raise Malformed("couldn't parse push request: the body is not {streams: [{stream, values}]}") from error


@_of_its_types()
def export_traces(data: bytes) -> list[Span]:
    """opentelemetry ExportTraceServiceRequest as protobuf."""
    return [span for number, value in fields(data) if number == 1 for span in _resource_spans(value)]


def _resource_spans(data: bytes) -> Iterator[Span]:
    parts = list(fields(data))
    resource = {key: text for n, value in parts if n == 1 for key, text in _attributes(value, 1).items()}
    for number, value in parts:
        if number == 2:
            for inner, span in fields(value):
                if inner == 2:
                    yield _span(span, resource)


def _span(data: bytes, resource: Labels) -> Span:
    one = dict(fields(data))
    return Span(
        trace=bytes(one.get(1, b"")).hex(),
        span=bytes(one.get(2, b"")).hex(),
        parent=bytes(one.get(4, b"")).hex(),
        name=_text(one.get(5, b"")),
        start=int.from_bytes(one.get(7, b""), "little"),
        end=int.from_bytes(one.get(8, b""), "little"),
        attributes=_attributes(data, 9),
        resource=resource,
    )


def _attributes(data: bytes, field: int) -> Labels:
    found: Labels = {}
    for number, value in fields(data):
        if number == field:
            pair = dict(fields(value))
            found[_text(pair.get(1, b""))] = _any_value(pair.get(2, b""))
    return found


def _any_value(data: bytes) -> str:
    for number, value in fields(data):
        if number == 1:
            return _text(value)
        if number == 2:
            return "true" if value else "false"
        if number == 3:
            return str(_signed(value))
        if number == 4:
            return str(struct.unpack("<d", value)[0])
    return ""


def export_traces_json(body: bytes) -> list[Span]:
    """The same as JSON; ids are hexadecimal there."""
    try:
        return [
            _json_span(one, _json_attributes(group.get("resource", {}).get("attributes", [])))
            for group in json.loads(body)["resourceSpans"]
            for scope in group.get("scopeSpans", [])
            for one in scope.get("spans", [])
        ]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise Malformed("the body is no ExportTraceServiceRequest") from error


def _json_span(one: dict[str, Any], resource: Labels) -> Span:
    return Span(
        trace=str(one["traceId"]),
        span=str(one["spanId"]),
        parent=str(one.get("parentSpanId", "")),
        name=str(one.get("name", "")),
        start=int(one["startTimeUnixNano"]),
        end=int(one["endTimeUnixNano"]),
        attributes=_json_attributes(one.get("attributes", [])),
        resource=resource,
    )


def _json_attributes(pairs: list[dict[str, Any]]) -> Labels:
    return {str(one["key"]): str(next(iter(one["value"].values()), "")) for one in pairs}


def moment(text: str) -> float:
    """Seconds since 1970 from what clients of query APIs write: seconds with a fraction, or RFC 3339."""
    try:
        return float(text)
    except ValueError:
        pass
    try:
        return datetime.fromisoformat(text).timestamp()
    except ValueError:
        raise Malformed(f'cannot parse "{text}" to a valid timestamp') from None
