"""The control API: what the hand can move, and how it says no."""

import json
import threading
from pathlib import Path
from typing import Any

import oci
import pytest
import requests
from oci.identity import models

from ocifree_pipeline_tests.sandbox.harness import RunningSandbox, other_keys, owner_keys, running


def call(sandbox: RunningSandbox, method: str, path: str, body: Any = None, **options: Any) -> requests.Response:
    headers = {"authorization": f"Bearer {sandbox.sandbox.token}"} | options.pop("headers", {})
    url = f"{sandbox.endpoint}/_sandbox/{path}"
    return sandbox.session.request(method, url, json=body, headers=headers, timeout=10, **options)


def done(sandbox: RunningSandbox, method: str, path: str, body: Any = None) -> Any:
    reply = call(sandbox, method, path, body)
    assert reply.status_code == 200, reply.text
    return reply.json()


def make_compartment(sandbox: RunningSandbox, name: str) -> Any:
    details = models.CreateCompartmentDetails(compartment_id=sandbox.tenancy, name=name, description="d")
    return sandbox.client(oci.identity.IdentityClient).create_compartment(details).data


def compartments(sandbox: RunningSandbox) -> set[str]:
    return {one.name for one in sandbox.client(oci.identity.IdentityClient).list_compartments(sandbox.tenancy).data}


@pytest.mark.parametrize("given", [None, "", "Bearer", "Bearer wrong", "Basic wrong", "Bearer ünï"])
def test_only_who_can_read_the_ready_file_may_move_the_sandbox(sandbox, given):
    headers = {} if given is None else {"authorization": given.encode()}
    reply = requests.post(f"{sandbox.endpoint}/_sandbox/reset", headers=headers, timeout=10)
    assert (reply.status_code, reply.json()["code"]) == (401, "NotAuthenticated")


@pytest.mark.parametrize(
    ("method", "path", "body", "refusal"),
    [
        ("GET", "nothing", None, (404, "POST /_sandbox/reset")),
        ("PUT", "status", None, (404, "there is no PUT")),
        ("PUT", "links", {"between": ["10.0.0.1"]}, (400, "addresses of two machines")),
        ("PUT", "links", {"between": ["10.0.0.1", "10.0.0.2"]}, (400, "no machine of the sandbox")),
        ("PUT", "links", {"between": [], "how": 1}, (400, "known are between, cut, traffic")),
        ("PUT", "machines", {"machine": "10.0.0.1"}, (400, "no machine of the sandbox")),
        ("POST", "clock", {"forward": 1}, (400, "known are advance, mode, rate")),
        ("POST", "clock", {"advance": "1"}, (400, "advance must be a number")),
        ("POST", "clock", {"advance": True}, (400, "advance must be a number")),
        ("POST", "clock", {"advance": -1}, (400, "never runs backwards")),
        ("POST", "clock", {"mode": "sometimes"}, (400, "immediate, seconds, manual")),
        ("POST", "clock", {"mode": ["manual"]}, (400, "immediate, seconds, manual")),
        ("POST", "clock", {"rate": 0}, (400, "above 0")),
        ("POST", "clock", [1], (400, "JSON object")),
        ("POST", "faults", {"operation": 5}, (400, "operation has a wrong type")),
        ("POST", "faults", {"when": "before"}, (400, "known are service")),
        ("POST", "faults", {"moment": "never"}, (400, "choose one of before")),
        ("POST", "faults", {"probability": 2}, (400, "between 0 and 1")),
        ("POST", "faults", {"status": 200}, (400, "is no error")),
        ("DELETE", "faults/9", None, (404, "no fault rule 9")),
        ("GET", "records?colour=red", None, (400, "they have at, host")),
        ("GET", "records?status=many", None, (400, "status cannot be")),
        ("GET", "records?limit=0", None, (400, "above 0")),
        ("POST", "reset", {"profile": {"colour": "red"}}, (400, "it has region")),
        ("POST", "reset", {"profile": {"a1_ocpus": "4"}}, (400, "must be int")),
        ("POST", "reset", {"profile": {"account": "rich"}}, (400, "free or payg")),
        ("POST", "reset", {"profile": 1}, (400, "must be an object")),
        ("POST", "reset", {"seed": "x"}, (400, "must be an integer")),
        ("POST", "snapshot", {}, (400, "path is required")),
        ("POST", "snapshot", {"path": "here.tar"}, (400, "must be absolute")),
        ("POST", "snapshot", {"path": "/nonexistent/directory/file"}, (400, "No such file")),
        ("POST", "restore", {"path": "/nonexistent/directory/file"}, (400, "No such file")),
        ("PUT", "capacity", {"process": "luck"}, (400, "process")),
        ("PUT", "capacity", {"process": "trace", "windows": [{"from": 5, "to": 4, "ocpus": 1}]}, (400, "never opens")),
        ("PUT", "limits", {"name": "luck", "amount": 1}, (404, "no limit 'luck'")),
        ("PUT", "limits", {"name": "standard-a1-core-count", "amount": -1}, (400, "whole number")),
        ("PUT", "limits", {"name": "standard-a1-core-count", "amount": 1, "ad": 5}, (400, "availability domain")),
        ("PUT", "ban", {"answer": 500}, (400, "401 or 404")),
        ("PUT", "load", {"instance": "none", "cpu": 1}, (404, "no instance none")),
        ("POST", "restore", {"path": "/dev/null"}, (400, "not a snapshot")),
    ],
)
def test_wrong_requests_change_nothing_and_say_what_is_wrong(sandbox, method, path, body, refusal):
    before = sandbox.state()
    reply = call(sandbox, method, path, body)
    status, says = refusal
    assert (reply.status_code, says in reply.json()["message"]) == (status, True), reply.text
    assert sandbox.state() == before
    assert not sandbox.faults.rules


@pytest.mark.parametrize("body", [b"{", b"\xff", b"[" * 100_000, b"x" * 9_000_000])
def test_bodies_that_are_no_json_are_refused(sandbox, body):
    headers = {"authorization": f"Bearer {sandbox.sandbox.token}"}
    reply = sandbox.session.post(f"{sandbox.endpoint}/_sandbox/clock", data=body, headers=headers, timeout=10)
    assert reply.status_code in {400, 413}
    assert reply.json()["message"]


def test_status_tells_what_there_is(sandbox):
    make_compartment(sandbox, "apps")
    status = done(sandbox, "GET", "status")
    assert (status["tenancy"], status["region"], status["account"]) == (sandbox.tenancy, "uk-london-1", "free")
    assert (status["plainPort"], status["proxyPort"]) == (sandbox.sandbox.port, sandbox.sandbox.proxy_port)
    assert status["resources"] == {"apikey": 1, "compartment": 2, "user": 1}
    assert (status["requests"], status["faults"]) == (1, 0)


def test_the_clock_is_moved_and_what_is_due_happens(manual):
    made = make_compartment(manual, "apps")
    begun = done(manual, "GET", "clock")
    assert (begun["mode"], [one["transition"] for one in begun["pending"]]) == ("manual", ["set_state"])
    moved = done(manual, "POST", "clock", {"advance": 3600})
    assert moved["pending"] == []
    assert moved["now"] > begun["now"]
    assert manual.inside(lambda world: world.get("compartment", made.id).state) == "ACTIVE"
    assert done(manual, "POST", "clock", {"mode": "seconds", "rate": 60})["rate"] == 60
    assert done(manual, "POST", "clock", {"skewSeconds": 400})["skewSeconds"] == 400
    with pytest.raises(oci.exceptions.ServiceError, match="NotAuthenticated"):
        compartments(manual)


def test_faults_are_added_proved_and_taken_back(sandbox):
    rule = {"operation": "Create*", "moment": "before", "status": 429, "code": "TooManyRequests", "times": 1}
    added = done(sandbox, "POST", "faults", rule)
    assert (added["number"], added["status"]) == (1, 429)
    with pytest.raises(oci.exceptions.ServiceError, match="TooManyRequests"):
        make_compartment(sandbox, "apps")
    (fired,) = done(sandbox, "GET", "faults")["fired"]
    assert (fired["rule"], fired["operation"]) == (1, "CreateCompartment")
    assert done(sandbox, "DELETE", "faults/1")["rules"] == []
    done(sandbox, "POST", "faults", {"times": None, "probability": 0.5, "delay": 1.5, "headers": {"retry-after": "1"}})
    assert done(sandbox, "DELETE", "faults") == {"rules": [], "fired": []}


def test_records_are_queried_counted_and_cleared(sandbox):
    for name in ("a", "b"):
        make_compartment(sandbox, name)
    compartments(sandbox)
    chosen = done(sandbox, "GET", "records?operation=CreateCompartment&status=200&verified=true&limit=1")
    assert (chosen["count"], len(chosen["entries"])) == (2, 1)
    assert chosen["entries"][0]["mutating"] is True
    count = done(sandbox, "GET", "records/count")
    assert (count["count"], count["verified"], count["mutating"]) == (3, 3, 2)
    assert count["byOperation"] == {"CreateCompartment": 2, "ListCompartments": 1}
    assert done(sandbox, "DELETE", "records") == {"count": 0}
    assert sandbox.recorder.total == 0


def test_capacity_is_a_process_that_the_hand_describes(sandbox):
    assert done(sandbox, "GET", "capacity")["process"] == "plenty"
    trace = {"process": "trace", "windows": [{"ad": "*AD-2", "from": 60, "to": 120, "ocpus": 2}]}
    assert done(sandbox, "PUT", "capacity", trace)["windows"][0]["ocpus"] == 2
    assert done(sandbox, "GET", "capacity")["process"] == "trace"


def test_limits_are_set_by_hand_and_given_back(sandbox):
    client = sandbox.client(oci.limits.LimitsClient)
    name = "standard-a1-core-count"

    def values() -> set[int]:
        return {one.value for one in client.list_limit_values(sandbox.tenancy, "compute", name=name).data}

    before = values()
    done(sandbox, "PUT", "limits", {"name": name, "amount": 4})
    assert values() == {4} != before
    done(sandbox, "PUT", "limits", {"name": name, "amount": None})
    assert values() == before


@pytest.mark.parametrize(("answer", "code"), [(401, "NotAuthenticated"), (404, "NotAuthorizedOrNotFound")])
def test_a_tenancy_is_banned_and_pardoned(sandbox, answer, code):
    done(sandbox, "PUT", "ban", {"answer": answer})
    with pytest.raises(oci.exceptions.ServiceError, match=code):
        compartments(sandbox)
    done(sandbox, "DELETE", "ban")
    assert compartments(sandbox) == set()


def test_mails_are_read_and_never_sent(sandbox):
    from ocifree_pipeline.sandbox import outbox

    sandbox.inside(lambda world: outbox.send(world, ["me@example.com"], "Budget alert: zero", "text", budget="b"))
    (message,) = done(sandbox, "GET", "outbox")["messages"]
    assert (message["to"], message["subject"], message["about"]) == (
        ["me@example.com"],
        "Budget alert: zero",
        {"budget": "b"},
    )


def test_how_busy_an_instance_is_can_be_said(sandbox):
    from ocifree_pipeline.sandbox import idle

    made = sandbox.inside(lambda world: world.add("instance", {"shape": "VM.Standard.E2.1.Micro"}))
    body = {"instance": made.ocid, "cpu": 50, "network": 10.5, "memory": 0}
    assert done(sandbox, "PUT", "load", body)["cpu"] == 50
    assert [one[1:] for one in made.hidden[idle.LOADS]] == [[50, 10.5, 0]]
    assert call(sandbox, "PUT", "load", body | {"cpu": 101}).status_code == 400


def test_a_reset_begins_anew_with_the_same_key(sandbox):
    make_compartment(sandbox, "apps")
    done(sandbox, "POST", "faults", {"operation": "none"})
    status = done(sandbox, "POST", "reset", {"profile": {"account": "payg", "region": "eu-frankfurt-1"}, "seed": 99})
    assert (status["account"], status["region"], status["seed"]) == ("payg", "eu-frankfurt-1", 99)
    assert (status["requests"], status["faults"], status["resources"]["compartment"]) == (0, 0, 1)
    config = oci.config.from_file(str(sandbox.sandbox.home.config_file))
    assert config["tenancy"] == status["tenancy"] != sandbox.tenancy
    client = oci.identity.IdentityClient(config, service_endpoint=sandbox.endpoint)
    assert client.get_tenancy(config["tenancy"]).data.home_region_key == "FRA"


def test_the_same_seed_gives_the_same_tenancy(sandbox):
    first = done(sandbox, "POST", "reset", {"seed": 5})["tenancy"]
    assert done(sandbox, "POST", "reset", {"seed": 6})["tenancy"] != first
    assert done(sandbox, "POST", "reset", {"seed": 5})["tenancy"] == first


def test_a_snapshot_of_one_sandbox_comes_alive_in_another(tmp_path: Path):
    file = tmp_path / "kept.tar.gz"
    with running(tmp_path / "one") as one:
        make_compartment(one, "kept")
        assert done(one, "POST", "snapshot", {"path": str(file)})["bytes"] == file.stat().st_size
        tenancy = one.tenancy
    assert oct(file.stat().st_mode & 0o777) == "0o600"
    with running(tmp_path / "two", seed=8) as two:
        key = two.sandbox.home.key_file
        key.write_text(other_keys().private_pem)
        assert other_keys().private_pem != owner_keys().private_pem
        assert done(two, "POST", "restore", {"path": str(file)})["tenancy"] == tenancy != two.tenancy
        config = oci.config.from_file(str(two.sandbox.home.config_file))
        client = oci.identity.IdentityClient(config, service_endpoint=two.endpoint)
        assert [one.name for one in client.list_compartments(tenancy).data] == ["kept"]


def test_a_failure_inside_is_a_500_and_is_logged(sandbox, monkeypatch, caplog):
    def fail() -> int:
        raise RuntimeError("on purpose")

    monkeypatch.setattr(sandbox.sandbox.world, "settle", fail)
    reply = call(sandbox, "GET", "status")
    assert (reply.status_code, reply.json()["code"]) == (500, "InternalError")
    assert "on purpose" in caplog.text


def test_a_stop_is_heard(sandbox):
    heard = threading.Event()

    async def listen() -> None:
        await sandbox.sandbox.stopped.wait()
        heard.set()

    import asyncio

    asyncio.run_coroutine_threadsafe(listen(), sandbox.loop)
    assert not heard.is_set()
    assert done(sandbox, "POST", "stop") == {"stopping": True}
    assert heard.wait(10)


def test_the_answers_hold_no_secret(sandbox):
    replies = [done(sandbox, "GET", path) for path in ("status", "clock", "faults", "records", "records/count")]
    text = json.dumps(replies)
    assert sandbox.sandbox.token not in text
    assert "PRIVATE" not in text
