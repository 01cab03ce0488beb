"""Apprise itself against the services that the sandbox plays; an address is never repeated, whatever goes wrong."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ocifree_pipeline.deployment.errors import PreconditionMissing, Refused
from ocifree_pipeline.deployment.notices import Event
from ocifree_pipeline.deployment.secret_reference import SecretRef
from ocifree_pipeline.sandbox.faults import Rule
from ocifree_pipeline.sandbox.notify_hooks import services
from ocifree_pipeline.systems.notify.rendering import Message
from ocifree_pipeline.systems.notify.sending import Told, targets_of, tell
from ocifree_pipeline.systems.secrets.vault import Vault
from ocifree_pipeline_tests.sandbox.harness import RunningSandbox, running

DISCORD = f"discord://{services.DISCORD[0]}/{services.DISCORD[1]}"
SLACK = f"slack://{'/'.join(services.SLACK)}"
NTFY = "ntfys://sandbox-topic-of-nobody-else"
PLAIN = f"jsons://{services.PLAIN_HOST}/a-path-that-is-a-secret"
MESSAGE = Message("lab: oci/network failed", "Oracle said no\nfix: ocifree doctor")


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningSandbox]:
    with running(tmp_path_factory.mktemp("hooks"), mode="manual") as found:
        yield found


@pytest.fixture(autouse=True)
def _through_the_door(sandbox: RunningSandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    assert sandbox.sandbox.home is not None
    monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{sandbox.sandbox.proxy_port}")
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(sandbox.sandbox.home.ca_file))
    sandbox.faults.clear()
    sandbox.inside(lambda world: world.facts.pop("notifications", None))


@pytest.fixture
def send(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    def one(*urls: str) -> tuple[Told, ...]:
        names = [f"CHAT_{number}" for number, _ in enumerate(urls)]
        for name, url in zip(names, urls, strict=True):
            monkeypatch.setenv(name, url)
        targets = targets_of([SecretRef("env", name) for name in names])
        return tell(targets, Vault(tmp_path / "v.age", tmp_path / "i.txt"), MESSAGE, Event.FAILED)

    return one


def test_every_service_gets_title_and_body(sandbox: RunningSandbox, send: Any) -> None:
    told = send(DISCORD, SLACK, NTFY, PLAIN)
    assert [(one.target, one.service, one.error) for one in told] == [
        ("env:CHAT_0", "Discord", None), ("env:CHAT_1", "Slack", None), ("env:CHAT_2", "ntfy", None),
        ("env:CHAT_3", "JSON", None),
    ]  # fmt: skip
    messages = sandbox.inside(services.arrived)
    assert [one["service"] for one in messages] == ["discord", "slack", "ntfy", "json"]
    for one in messages:
        assert MESSAGE.title in one["title"] + one["text"]
        assert "fix: ocifree doctor" in one["text"]
    assert not any(services.DISCORD[1] in one.path for one in sandbox.recorder.query(operation="ExecuteDiscordWebhook"))


@pytest.mark.parametrize(
    ("url", "why"),
    [
        (f"discord://{services.DISCORD[0]}/another-token-that-nobody-knows-0123456789", "401"),
        (f"discord://9999999999999999999/{services.DISCORD[1]}", "404"),
        ("slack://T00000000/B00000000/anotherTokenThatNobody00", "404"),
    ],
)
def test_a_refusal_is_told_in_the_words_of_the_service_and_without_the_address(
    url: str, why: str, send: Any, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG):
        (told,) = send(url)
    assert isinstance(told.error, Refused)
    assert told.error.what == "env:CHAT_0 could not be told"
    assert why in told.error.why
    assert "ocifree notify test" in told.error.fix
    for part in url.partition("://")[2].split("/"):
        assert part not in str(told.error)
    from_apprise = "\n".join(one.getMessage() for one in caplog.records if one.name.startswith("apprise"))
    assert not from_apprise


def test_an_address_that_is_none_is_not_repeated(send: Any) -> None:
    (told,) = send("nosuchservice://a-secret-of-mine")
    assert isinstance(told.error, PreconditionMissing)
    assert told.error.what == "env:CHAT_0 holds no address that Apprise understands"
    assert "a-secret-of-mine" not in str(told.error)


def test_one_who_cannot_be_told_keeps_nobody_else_from_it(sandbox: RunningSandbox, send: Any) -> None:
    sandbox.faults.add(Rule(service="notify", operation="ExecuteDiscordWebhook", status=503, message="down", times=9))
    first, second = send(DISCORD, NTFY)
    assert first.error is not None
    assert second.error is None
    assert [one["service"] for one in sandbox.inside(services.arrived)] == ["ntfy"]


def test_a_secret_that_is_missing_is_named(tmp_path: Path) -> None:
    vault = Vault(tmp_path / "v.age", tmp_path / "i.txt")
    (told,) = tell(targets_of([SecretRef("env", "NOT_THERE")]), vault, MESSAGE, Event.TEST)
    assert isinstance(told.error, PreconditionMissing)
    assert "NOT_THERE" in told.error.what


def test_too_many_in_a_minute_are_refused(sandbox: RunningSandbox, send: Any) -> None:
    def fill(world: Any) -> None:
        entry = {"at": world.clock.stamp(), "service": "discord", "title": "", "text": "x"}
        world.facts["notifications"] = [dict(entry) for _ in range(services.A_MINUTE)]

    sandbox.inside(fill)
    (told,) = send(DISCORD)
    assert told.error is not None
    sandbox.advance(61)
    (told,) = send(DISCORD)
    assert told.error is None
