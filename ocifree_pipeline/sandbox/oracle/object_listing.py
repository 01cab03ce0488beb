"""Object Storage, the list of objects: in the order of names, folded at a delimiter, paged by ``nextStartWith``."""

from bisect import bisect_left, bisect_right
from typing import Any

from ocifree_pipeline.sandbox.oracle import errors
from ocifree_pipeline.sandbox.oracle.buckets import BUCKET, MODELS, bucket_of
from ocifree_pipeline.sandbox.oracle.wire import Call, Reply, Service

LARGEST = 1000
FIELDS = {
    one.lower(): one
    for one in ("name", "size", "etag", "timeCreated", "md5", "timeModified", "storageTier", "archivalState")
}

service = Service("objectstorage")


@service.get(f"{BUCKET}/o", operation="ListObjects", reply=f"{MODELS}.ListObjects")
def list_objects(call: Call) -> Reply:
    return listing(call)


def listing(call: Call) -> Reply:
    objects: dict[str, dict[str, Any]] = bucket_of(call).hidden["objects"]
    prefix, delimiter = call.query.get("prefix") or "", call.query.get("delimiter")
    if delimiter not in {None, "/"}:
        raise errors.invalid_parameter("delimiter can only be '/'")
    limit = call.query.number("limit", LARGEST, 1, LARGEST)
    names = _window(call, sorted(name for name in objects if name.startswith(prefix)))
    found: list[str] = []
    folded: list[str] = []
    following = None
    for name in names:
        fold = _fold(name, prefix, delimiter)
        if fold is not None and folded and folded[-1] == fold:
            continue
        if len(found) + len(folded) == limit:
            following = name
            break
        if fold is None:
            found.append(name)
        else:
            folded.append(fold)
    fields = _fields(call)
    body: dict[str, Any] = {"objects": [_row(name, objects[name], fields) for name in found]}
    if delimiter:
        body["prefixes"] = folded
    if following is not None:
        body["nextStartWith"] = following
    return Reply(body)


def _window(call: Call, names: list[str]) -> list[str]:
    """What lies between ``start`` (or ``startAfter``) and ``end``."""
    start, after, end = (call.query.get(name) for name in ("start", "startAfter", "end"))
    if start is not None and after is not None:
        raise errors.invalid_parameter("start and startAfter cannot be given together")
    low = bisect_left(names, start) if start is not None else bisect_right(names, after) if after is not None else 0
    return names[low : bisect_left(names, end) if end is not None else len(names)]


def _fold(name: str, prefix: str, delimiter: str | None) -> str | None:
    """The folder that hides this name, or None."""
    if delimiter is None:
        return None
    at = name.find(delimiter, len(prefix))
    return None if at < 0 else name[: at + 1]


def _fields(call: Call) -> list[str]:
    asked = [one.strip().lower() for text in call.query.all("fields") for one in text.split(",") if one.strip()]
    unknown = [one for one in asked if one not in FIELDS]
    if unknown:
        raise errors.invalid_parameter(f"fields must be of {', '.join(FIELDS.values())}, not {unknown[0]!r}")
    return [FIELDS[one] for one in asked]


def _row(name: str, stored: dict[str, Any], fields: list[str]) -> dict[str, Any]:
    row = {field: stored[field] for field in fields if field in stored}
    return {"name": name} | row
