"""What each service accepts, how much of it, and how it says no. The state is ``world.facts["notifications"]``."""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ocifree_pipeline.sandbox.clock import parse
from ocifree_pipeline.sandbox.door.http import Request, Response
from ocifree_pipeline.sandbox.world import World

DISCORD = ("1126894567890123456", "inThisSandboxOnly-discord-webhook-token-0123456789")
SLACK = ("T0SANDBOX", "B0SANDBOX", "inThisSandboxOnly0123456")
PLAIN_HOST = "hooks.ocifree.example"
A_MINUTE = 30
DISCORD_LONGEST = 2000
NTFY_LONGEST = 4096
TOKEN = re.compile(r"(?<=/)[^/]{20,}$")


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    body: Any = ""
    headers: Mapping[str, str] = field(default_factory=dict)

    def response(self) -> Response:
        if isinstance(self.body, str):
            kind, content = "text/plain; charset=utf-8", self.body.encode()
        else:
            kind, content = "application/json", json.dumps(self.body).encode()
        return Response(self.status, {"content-type": kind} | dict(self.headers), content)


def arrived(world: World) -> list[dict[str, Any]]:
    """What was accepted, oldest first."""
    return list(world.facts.get("notifications", ()))


def without_token(path: str) -> str:
    """A record of requests holds no token, as a log of a real service would not."""
    return TOKEN.sub("...", path)


def _keep(world: World, service: str, title: str, text: str) -> None:
    kept: list[dict[str, Any]] = world.facts.setdefault("notifications", [])
    kept.append({"at": world.clock.stamp(), "service": service, "title": title, "text": text})


def _read(request: Request, body: bytes) -> dict[str, Any] | None:
    if request.method != "POST":
        return None
    try:
        found = json.loads(body)
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


def _discord(world: World, request: Request, body: bytes) -> Answer:
    found = re.fullmatch(r"/api/(?:v\d+/)?webhooks/(\d+)/([^/]+)", request.path)
    if found is None:
        return Answer(404, {"message": "404: Not Found", "code": 0})
    if found[1] != DISCORD[0]:
        return Answer(404, {"message": "Unknown Webhook", "code": 10015})
    if found[2] != DISCORD[1]:
        return Answer(401, {"message": "Invalid Webhook Token", "code": 50027})
    wait = _seconds_to_wait(world, "discord")
    if wait:
        limited = {"message": "You are being rate limited.", "retry_after": wait, "global": False}
        return Answer(429, limited, {"retry-after": f"{wait:g}"})
    sent = _read(request, body)
    if sent is None:
        return Answer(400, {"message": "The request body contains invalid JSON.", "code": 50109})
    embeds = sent.get("embeds") or []
    text = str(sent.get("content") or "\n".join(str(one.get("description", "")) for one in embeds))
    if not text.strip():
        return Answer(400, {"message": "Cannot send an empty message", "code": 50006})
    if len(str(sent.get("content") or "")) > DISCORD_LONGEST:
        error = {"code": "BASE_TYPE_MAX_LENGTH", "message": f"Must be {DISCORD_LONGEST} or fewer in length."}
        return Answer(400, {"message": "Invalid Form Body", "code": 50035, "errors": {"content": {"_errors": [error]}}})
    _keep(world, "discord", str(embeds[0].get("title", "")) if embeds else "", text)
    return Answer(204)


def _slack(world: World, request: Request, body: bytes) -> Answer:
    if request.path != f"/services/{'/'.join(SLACK)}":
        return Answer(404, "no_service")
    if _seconds_to_wait(world, "slack"):
        return Answer(429, "rate_limited", {"retry-after": "30"})
    sent = _read(request, body)
    if sent is None:
        return Answer(400, "invalid_payload")
    parts = [str(sent.get("text") or ""), *(str(one.get("text", "")) for one in sent.get("attachments") or [])]
    text = "\n".join(part for part in parts if part)
    if not text:
        return Answer(400, "no_text")
    titles = [str(one.get("title") or "") for one in sent.get("attachments") or []]
    _keep(world, "slack", titles[0] if titles else "", text)
    return Answer(200, "ok")


def _ntfy(world: World, request: Request, body: bytes) -> Answer:
    sent = _read(request, body)
    topic = sent.get("topic") if sent else None
    if sent is None or not isinstance(topic, str) or not re.fullmatch(r"[-_A-Za-z0-9]{1,64}", topic):
        return Answer(400, {"code": 40009, "http": 400, "error": "invalid request: topic invalid"})
    if _seconds_to_wait(world, "ntfy"):
        return Answer(429, {"code": 42901, "http": 429, "error": "limit reached: too many requests"})
    text = str(sent.get("message") or "triggered")
    if len(text.encode()) > NTFY_LONGEST:
        return Answer(413, {"code": 41301, "http": 413, "error": "attachment too large, or bandwidth limit reached"})
    _keep(world, "ntfy", str(sent.get("title") or ""), text)
    return Answer(200, {"id": world.fresh("ntfy", 12), "event": "message", "topic": topic, "message": text})


def _plain(world: World, request: Request, body: bytes) -> Answer:
    """What Apprise's JSON service posts to."""
    sent = _read(request, body)
    if sent is None:
        return Answer(400, "a POST with a JSON object is expected")
    _keep(world, "json", str(sent.get("title") or ""), str(sent.get("message") or ""))
    return Answer(200, "ok")


def _seconds_to_wait(world: World, service: str) -> float:
    """0 while the service takes more; as many messages a minute as Discord takes for a webhook."""
    now = world.clock.now()
    lately = [
        one for one in arrived(world) if one["service"] == service and (now - parse(one["at"])).total_seconds() < 60
    ]
    return 0.0 if len(lately) < A_MINUTE else 60.0 - (now - parse(lately[0]["at"])).total_seconds()


HOSTS: dict[str, tuple[str, Callable[[World, Request, bytes], Answer]]] = {
    "discord.com": ("ExecuteDiscordWebhook", _discord),
    "hooks.slack.com": ("PostSlackWebhook", _slack),
    "ntfy.sh": ("PublishNtfy", _ntfy),
    PLAIN_HOST: ("PostJson", _plain),
}
