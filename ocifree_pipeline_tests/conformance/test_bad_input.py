"""Wild requests to every operation that there is: an error of Oracle's shape, a process that lives, nothing changed."""

import http.client
import json
import re
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import oci
import pytest
import requests
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ocifree_pipeline.sandbox import snapshot
from ocifree_pipeline.sandbox.profiles import Profile
from ocifree_pipeline_tests.conformance.computing import Computing, computing
from ocifree_pipeline_tests.conformance.requests_from_models import Known, bodies, host, operations, path, texts
from ocifree_pipeline_tests.sandbox.harness import RunningSandbox, running

PARAMETER = re.compile(r"\{(\w+)(\*?)\}")
QUERIES = (
    *("compartmentId", "limit", "page", "sortBy", "sortOrder", "lifecycleState", "displayName", "name", "fields"),
    *("availabilityDomain", "vcnId", "subnetId", "instanceId", "vnicId", "imageId", "tenantId", "scope", "lifetime"),
    *("serviceName", "limitName", "action", "prefix", "start", "end", "delimiter", "uploadId", "uploadPartNum"),
)
HEADERS = ("if-match", "if-none-match", "opc-retry-token", "opc-request-id", "range", "opc-meta-x", "accept")


@dataclass
class Populated:
    """A sandbox that holds something of most kinds, and the state to which it returns when a request changed it."""

    sandbox: RunningSandbox
    saved: Path
    known: Known
    state: dict[str, Any] = field(init=False)

    def __post_init__(self) -> None:
        self.begin_anew()

    def begin_anew(self) -> None:
        self.sandbox.inside(lambda world: snapshot.restore(world, self.saved))
        self.state = self.now()

    def now(self) -> dict[str, Any]:
        """The state without the numbers that names are made of: a refused request may have used one up."""
        state = self.sandbox.state()
        state.pop("counters")
        return state


@pytest.fixture(scope="module")
def populated(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Populated]:
    folder = tmp_path_factory.mktemp("populated")
    profile = Profile(account="payg", a1_ocpus=4, a1_memory_gb=24)
    with running(folder, mode="manual", profile=profile) as here:
        cloud = computing(here)
        populate(cloud)
        saved = here.inside(lambda world: snapshot.save(world, folder / "populated.tar.gz"))
        yield Populated(here, saved, known_in(here.state(), cloud))


def known_in(state: dict[str, Any], cloud: Computing) -> Known:
    kinds: dict[str, list[str]] = {
        kind: [row["ocid"] for row in rows] for kind, rows in state["tables"].items() if rows
    }
    kinds |= {
        "namespace": [cloud.objects.get_namespace().data],
        "bucket": ["bucket"],
        "object": ["object"],
        "availabilitydomain": [cloud.ad],
        "image": [cloud.platform_image().id, *kinds.get("image", [])],
        "shape": ["VM.Standard.A1.Flex", "VM.Standard.E2.1.Micro"],
        "service": ["compute", "vcn"],
        "limit": ["standard-a1-core-count", "vcn-count"],
        "rtype": ["A", "TXT"],
        "domain": ["www.example.com"],
    }
    return Known(tuple((kind, tuple(names)) for kind, names in sorted(kinds.items())))


def populate(cloud: Computing) -> None:
    tenancy, client = cloud.tenancy, cloud.network.client
    models = oci.core.models
    vcn = cloud.network.vcn.id
    client.create_internet_gateway(
        models.CreateInternetGatewayDetails(compartment_id=tenancy, vcn_id=vcn, is_enabled=True, display_name="gate")
    )
    client.create_network_security_group(
        models.CreateNetworkSecurityGroupDetails(compartment_id=tenancy, vcn_id=vcn, display_name="group")
    )
    client.create_public_ip(models.CreatePublicIpDetails(compartment_id=tenancy, lifetime="RESERVED"))
    cloud.launch()
    cloud.block.create_volume(
        models.CreateVolumeDetails(compartment_id=tenancy, availability_domain=cloud.ad, size_in_gbs=50)
    )
    namespace = cloud.objects.get_namespace().data
    bucket = oci.object_storage.models.CreateBucketDetails(name="bucket", compartment_id=tenancy)
    cloud.objects.create_bucket(namespace, bucket)
    cloud.objects.put_object(namespace, "bucket", "object", b"bytes")
    quota = oci.limits.models.CreateQuotaDetails(
        compartment_id=tenancy, name="quota", description="d", statements=["zero dns quotas in tenancy"]
    )
    cloud.sandbox.client(oci.limits.QuotasClient).create_quota(quota)
    budget = oci.budget.models.CreateBudgetDetails(
        compartment_id=tenancy, amount=1, reset_period="MONTHLY", target_type="COMPARTMENT", targets=[tenancy]
    )
    cloud.sandbox.client(oci.budget.BudgetClient).create_budget(budget)
    zone = oci.dns.models.CreateZoneDetails(name="example.com", compartment_id=tenancy, zone_type="PRIMARY")
    cloud.sandbox.client(oci.dns.DnsClient).create_zone(zone)
    cloud.wait()


@st.composite
def wild(draw: st.DrawFn, known: Known) -> dict[str, Any]:
    operation = draw(st.sampled_from(operations()))
    known = replace(known, calm=draw(st.booleans()))

    def filled(match: re.Match[str]) -> str:
        return quote(draw(texts(match[1], known)) or "-", safe="/" if match[2] else "")

    target = PARAMETER.sub(filled, path(operation))
    names = draw(st.sets(st.sampled_from(QUERIES), max_size=3)) | draw(st.sampled_from([set(), {"compartmentId"}]))
    query = {name: draw(texts(name, known)) for name in sorted(names)}
    headers = draw(
        st.dictionaries(st.sampled_from(HEADERS), st.text(st.characters(min_codepoint=32, max_codepoint=126)))
    )
    streamed = st.binary(max_size=20)
    return {
        "operation": operation.name,
        "host": host(operation),
        "method": operation.method,
        "path": target + (f"?{urlencode(query)}" if query else ""),
        "headers": {name: value.strip() for name, value in headers.items()},
        "body": draw(streamed if operation.streams else bodies(operation.body, known) if operation.body else st.none()),
    }


@dataclass(frozen=True)
class Reply:
    status: int
    headers: dict[str, str]
    body: bytes


def send(here: Populated, request: dict[str, Any]) -> Reply:
    """Signed by the SDK for the real host, and sent to the plain door as it is: no library tidies the path up."""
    carries = request["method"] in {"POST", "PUT", "PATCH"}
    given = request["body"]
    body = (given if isinstance(given, bytes) else json.dumps(given).encode()) if carries else None
    url = f"https://{request['host']}{request['path']}"
    prepared = requests.Request(request["method"], url, request["headers"], data=body).prepare()
    if carries:
        prepared.headers["content-type"] = "application/json"
    signed = here.sandbox.signer()(prepared)
    with closing(http.client.HTTPConnection("127.0.0.1", here.sandbox.sandbox.port, timeout=30)) as connection:
        connection.putrequest(request["method"], signed.path_url, skip_host=True, skip_accept_encoding=True)
        for name, value in signed.headers.items():
            connection.putheader(name, value)
        connection.endheaders(body)
        answer = connection.getresponse()
        headers = {name.lower(): value for name, value in answer.getheaders()}
        return Reply(answer.status, headers, answer.read())


@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_wild_requests_are_served_or_refused_as_oracle_would(populated, data):
    request = data.draw(wild(populated.known))
    reply = send(populated, request)
    wrong = shortcomings(populated, request, reply)
    if reply.status < 400 or wrong:
        populated.begin_anew()
    assert not wrong, (wrong, reply)


def shortcomings(here: Populated, request: dict[str, Any], reply: Reply) -> list[str]:
    """What no request may lead to, however wild it is."""
    wrong = list(here.sandbox.sandbox.dispatcher.mismatches)
    here.sandbox.sandbox.dispatcher.mismatches.clear()
    if reply.status >= 500 and reply.status != 501:
        wrong.append("it failed inside the sandbox")
    if reply.status == 401:
        wrong.append("the signature is good")
    if not reply.headers.get("opc-request-id"):
        wrong.append("there is no request id")
    if reply.status >= 400 and here.now() != here.state:
        wrong.append("it was refused and changed the world all the same")
    if reply.status >= 400 and request["method"] != "HEAD" and not {"code", "message"} <= set(json.loads(reply.body)):
        wrong.append("the error has not Oracle's shape")
    return wrong
