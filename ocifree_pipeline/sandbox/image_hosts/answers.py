"""What a file server answers: whole files, parts of files, and why not."""

import hashlib
import json
import re
from dataclasses import dataclass
from typing import Any

from ocifree_pipeline.sandbox.door.http import Request, Response

RANGE = re.compile(r"bytes=(\d+)-(\d*)")


@dataclass(frozen=True, slots=True)
class Answer:
    response: Response
    mutating: bool = False


def refusal(status: int, message: str) -> Answer:
    return Answer(Response(status, {"content-type": "text/plain; charset=utf-8"}, message.encode() + b"\n"))


def told(status: int, value: Any, *, mutating: bool = False) -> Answer:
    return Answer(Response(status, {"content-type": "application/json"}, json.dumps(value).encode()), mutating)


def file(request: Request, content: bytes) -> Answer:
    """The file, or the part that was asked for if it is still the file that the client began with."""
    tag = f'"{hashlib.md5(content, usedforsecurity=False).hexdigest()}"'
    headers = {"content-type": "application/octet-stream", "etag": tag, "accept-ranges": "bytes"}
    if request.method not in {"GET", "HEAD"}:
        return refusal(405, "only GET and HEAD")
    asked = RANGE.fullmatch(request.headers.get("range", ""))
    if asked is None or request.headers.get("if-range", tag) != tag:
        return Answer(Response(200, headers, content))
    start, end = int(asked[1]), min(int(asked[2] or len(content)), len(content) - 1)
    if start > end:
        return Answer(Response(416, headers | {"content-range": f"bytes */{len(content)}"}))
    part = {"content-range": f"bytes {start}-{end}/{len(content)}"}
    return Answer(Response(206, headers | part, content[start : end + 1]))
