"""The unmodified SDK at the proxy door: real host names, TLS, no endpoint configured, and faults on the way."""

import json
import os
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import oci
import pytest
from oci.identity import models

from ocifree_pipeline.sandbox import process
from ocifree_pipeline.sandbox.process import Running
from ocifree_pipeline_tests.sandbox.harness import RunningSandbox, running

IDENTITY = "https://identity.uk-london-1.oci.oraclecloud.com"
CLIENTS = 200

SCRIPT = """
import json, oci
config = oci.config.from_file()
identity = oci.identity.IdentityClient(config)
tenancy = config["tenancy"]
details = oci.identity.models.CreateCompartmentDetails(compartment_id=tenancy, name="by-env", description="d")
made = identity.create_compartment(details)
oci.wait_until(identity, identity.get_compartment(made.data.id), "lifecycle_state", "ACTIVE")
names = [one.name for one in oci.pagination.list_call_get_all_results(identity.list_compartments, tenancy).data]
print(json.dumps({
    "endpoint": identity.base_client.endpoint,
    "names": names,
    "home": identity.get_tenancy(tenancy).data.home_region_key,
    "request_id": made.headers["opc-request-id"],
}))
"""


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A sandbox in a process of its own, as `ocifree sandbox up` starts it."""
    here = process.start(tmp_path_factory.mktemp("alone") / "sandbox")
    yield here
    here.stop()


def clean_environment(variables: dict[str, str]) -> dict[str, str]:
    """Only what a program needs to start, and the variables under test."""
    return {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ} | variables


def test_a_few_variables_are_enough_for_the_sdk(alone):
    chosen = {name: alone.environment()[name] for name in ("HTTPS_PROXY", "REQUESTS_CA_BUNDLE", "OCI_CONFIG_FILE")}
    ran = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        env=clean_environment(chosen),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    told = json.loads(ran.stdout)
    assert told["endpoint"] == f"{IDENTITY}/20160918"
    assert (told["names"], told["home"]) == (["by-env"], "LHR")
    (entry,) = alone.call("GET", "records", query={"operation": "CreateCompartment"})["entries"]
    assert (entry["host"], entry["verified"]) == (IDENTITY.removeprefix("https://"), True)
    assert entry["request_id"] == told["request_id"]


# what goes wrong on the way


@pytest.fixture
def proxied(sandbox: RunningSandbox, monkeypatch: pytest.MonkeyPatch) -> RunningSandbox:
    """The sandbox of the test, and this process pointed at its proxy by variables alone."""
    assert sandbox.sandbox.home is not None
    monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{sandbox.sandbox.proxy_port}")
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(sandbox.sandbox.home.ca_file))
    return sandbox


def identity(sandbox: RunningSandbox, **options: Any) -> Any:
    once = {"retry_strategy": oci.retry.NoneRetryStrategy(), "timeout": (5, 30)}
    return oci.identity.IdentityClient(sandbox.config, **(once | options))


def details(sandbox: RunningSandbox, name: str = "apps") -> models.CreateCompartmentDetails:
    return models.CreateCompartmentDetails(compartment_id=sandbox.tenancy, name=name, description="d")


def impatient_retries() -> Any:
    """The SDK's own retries, without its pauses."""
    return oci.retry.RetryStrategyBuilder(
        max_attempts=3, retry_base_sleep_time_seconds=0.01, retry_max_wait_between_calls_seconds=0.01
    ).get_retry_strategy()


def fault(sandbox: RunningSandbox, moment: str, **fields: Any) -> None:
    from ocifree_pipeline.sandbox.faults import Rule

    sandbox.faults.add(Rule(operation="CreateCompartment", moment=moment, **fields))  # type: ignore[arg-type]


CUT = r"reset by peer|EOF occurred|closed connection"
"""OpenSSL shows a reset under TLS as an end; test_proxy sees the reset itself."""


@pytest.mark.parametrize(
    ("moment", "error", "says", "committed"),
    [
        ("before", oci.exceptions.ServiceError, "InternalError", False),
        ("after", oci.exceptions.ServiceError, "InternalError", True),
        ("drop", oci.exceptions.RequestException, CUT, False),
        ("reset", oci.exceptions.RequestException, CUT, True),
        ("truncate", oci.exceptions.RequestException, "(?i)IncompleteRead|broken", True),
    ],
)
def test_the_sdk_meets_every_fault_on_the_wire(proxied, moment, error, says, committed):
    fault(proxied, moment)
    with pytest.raises(error, match=says):
        identity(proxied).create_compartment(details(proxied))
    made = proxied.inside(lambda world: [one.body["name"] for one in world.all("compartment")])
    assert ("apps" in made) is committed
    assert [one.moment for one in proxied.faults.fired] == [moment]
    assert identity(proxied).get_tenancy(proxied.tenancy).status == 200


def test_a_slow_reply_is_given_up_by_a_client_in_a_hurry(proxied):
    fault(proxied, "slow", delay=30)
    with pytest.raises(oci.exceptions.RequestException, match=r"(?i)timed out"):
        identity(proxied, timeout=(5, 0.2)).create_compartment(details(proxied))
    fault(proxied, "slow", delay=0.01)
    assert identity(proxied).create_compartment(details(proxied, "patient")).data.name == "patient"
    assert proxied.inside(lambda world: len(world.table("compartment"))) == 3


@pytest.mark.parametrize("moment", ["after", "reset", "truncate"])
def test_a_lost_reply_is_found_again_by_the_retry_token(proxied, moment):
    """With its retries on, the SDK sends the same token again, and nothing is made twice."""
    fault(proxied, moment, times=2)
    client = identity(proxied, retry_strategy=impatient_retries())
    made = client.create_compartment(details(proxied)).data
    entries = proxied.recorder.query(operation="CreateCompartment")
    assert [(one.fault > 0, one.replayed) for one in entries] == [(True, False), (True, True), (False, True)]
    assert proxied.inside(lambda world: [one.ocid for one in world.all("compartment")][1:]) == [made.id]


# many at once


def test_hundreds_of_requests_all_with_good_signatures(proxied):
    client = identity(proxied)
    for number in range(152):
        made = client.create_compartment(details(proxied, f"c{number}"))
        client.get_compartment(made.data.id)
        client.update_compartment(
            made.data.id,
            models.UpdateCompartmentDetails(description="changed"),
            if_match=client.get_compartment(made.data.id).headers["etag"],
        )
    assert proxied.recorder.total == 608
    assert proxied.recorder.count(verified=True, status=200) == 608
    assert len({one.request_id for one in proxied.recorder}) == 608


def test_two_hundred_clients_at_once_do_not_hear_each_other(proxied):
    """Each has a connection of its own, all of them open at the same time; the harness looks for leftovers after it."""
    together = threading.Barrier(CLIENTS, timeout=100)

    def client(number: int) -> None:
        here = identity(proxied, timeout=(60, 60))
        here.get_tenancy(proxied.tenancy)
        together.wait()
        made = here.create_compartment(details(proxied, f"client-{number}"))
        assert made.data.name == f"client-{number}"
        assert made.headers["opc-request-id"].startswith(f"{made.request.header_params['opc-request-id']}/")
        together.wait()
        (own,) = here.list_compartments(proxied.tenancy, name=f"client-{number}").data
        assert own.id == made.data.id
        here.base_client.session.close()

    with ThreadPoolExecutor(CLIENTS) as pool:
        for done in [pool.submit(client, number) for number in range(CLIENTS)]:
            done.result()
    assert proxied.recorder.query(verified=False) == []
    operations = Counter(entry.operation for entry in proxied.recorder)
    assert operations == dict.fromkeys(("GetTenancy", "CreateCompartment", "ListCompartments"), CLIENTS)
    names = proxied.inside(lambda world: {one.body["name"] for one in world.all("compartment")})
    assert len(names) == CLIENTS + 1


def test_a_world_that_stops_under_load_leaves_no_task(tmp_path: Path, monkeypatch):
    with running(tmp_path) as here:
        assert here.sandbox.home is not None
        monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{here.sandbox.proxy_port}")
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(here.sandbox.home.ca_file))
        stop = threading.Event()

        def client() -> None:
            mine = identity(here)
            while not stop.is_set():
                try:
                    mine.list_regions()
                except oci.exceptions.RequestException:
                    return

        threads = [threading.Thread(target=client) for _ in range(8)]
        for thread in threads:
            thread.start()
        while here.recorder.total < 20:
            stop.wait(0.01)
    stop.set()
    for thread in threads:
        thread.join(timeout=30)
        assert not thread.is_alive()
