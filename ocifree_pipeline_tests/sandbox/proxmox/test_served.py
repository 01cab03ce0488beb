"""The API over TLS, asked by an unmodified proxmoxer and by plain requests."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests
from proxmoxer.core import AuthenticationError, ResourceException
from proxmoxer.tools import Tasks

from ocifree_pipeline.sandbox import instruments
from ocifree_pipeline.sandbox.faults import Rule
from ocifree_pipeline.sandbox.machines import power
from ocifree_pipeline_tests.sandbox.proxmox.rig import ROOT
from ocifree_pipeline_tests.sandbox.proxmox.served import Served, served


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with served(tmp_path_factory.mktemp("served"), 2, clustered=True) as here:
        yield here


@pytest.fixture
def alone(tmp_path: Path) -> Iterator[Served]:
    with served(tmp_path, 2) as here:
        yield here


def plain_session(here: Served) -> requests.Session:
    """Without what the environment says about certificates and proxies."""
    session = requests.Session()
    session.trust_env = False
    session.verify = here.authority()
    return session


def url(here: Served, path: str, name: str = "pve1") -> str:
    return f"https://127.0.0.1:{here.port(name)}/api2/json{path}"


def test_a_password_and_a_token_get_in_and_see_both_nodes(cluster):
    root = cluster.client()
    assert root.version.get()["version"] == "9.2.11"
    root.access.users.post(userid="ci@pve")
    made = root.access.users("ci@pve").token("tok").post()
    root.access.acl.put(path="/", roles="PVEAuditor", users="ci@pve", tokens="ci@pve!tok")
    token = cluster.client("pve2", user="ci@pve", token_name="tok", token_value=made["value"])
    assert [row["node"] for row in token.nodes.get()] == ["pve1", "pve2"]
    assert "value" not in str(root.access.users("ci@pve").token.get()), "a secret is shown once"
    with pytest.raises(ResourceException, match="Token already exists"):
        root.access.users("ci@pve").token("tok").post()
    assert made["value"] not in str(cluster.inside(lambda rig: rig.world.to_json()))


def test_a_token_with_separated_privileges_has_what_it_and_its_user_have(cluster):
    root = cluster.client()
    root.access.users.post(userid="sep@pve")
    made = root.access.users("sep@pve").token("tok").post(privsep=1)
    root.access.acl.put(path="/", roles="Administrator", users="sep@pve")
    token = cluster.client(user="sep@pve", token_name="tok", token_value=made["value"])
    with pytest.raises(ResourceException, match=r"403 .*Permission check failed \(/, Sys.Audit\)"):
        token.cluster.status.get()
    root.access.acl.put(path="/", roles="PVEAuditor", tokens="sep@pve!tok")
    assert token.cluster.status.get()
    with pytest.raises(ResourceException, match="403"):
        token.access.roles.post(roleid="Mine", privs="VM.Audit")


def test_a_token_of_root_is_not_root(cluster):
    made = cluster.client().access.users("root@pam").token("tok").post(privsep=0)
    token = cluster.client(token_name="tok", token_value=made["value"])
    assert token.cluster.status.get()
    with pytest.raises(ResourceException, match=r"Permission check failed \(user != root@pam\)"):
        token.cluster.config.post(clustername="other")
    with pytest.raises(ResourceException, match="API tokens are not allowed"):
        token.access.password.put(userid="root@pam", password="newsecret")


@pytest.mark.parametrize(
    ("call", "given", "status", "says"),
    [
        ("GET /nodes/pve9/status", {}, 500, "hostname lookup 'pve9' failed"),
        ("GET /nothing", {}, 501, "Method 'GET /nothing' not implemented"),
        ("POST /access/users", {"userid": "a@pve", "enable": "True"}, 400, "Parameter verification failed."),
        ("POST /access/roles", {"roleid": "Old", "privs": "VM.Monitor"}, 400, "Parameter verification failed."),
        ("GET /nodes/pve1/tasks/UPID:pve1:0:0:0:x::root@pam:/status", {}, 400, "Parameter verification failed."),
        (
            "POST /cluster/config",
            {"clustername": "x"},
            500,
            "cluster config '/etc/pve/corosync.conf' already exists",
        ),
        ("GET /cluster/ha/groups", {}, 500, "ha groups have been migrated to rules"),
        ("GET /nodes/pve1/qemu/100/config", {}, 500, "does not exist"),
    ],
)
def test_the_reason_phrase_says_what_is_wrong(cluster, call, given, status, says):
    verb, path = call.split()
    session = plain_session(cluster)
    login = session.post(url(cluster, "/access/ticket"), data={"username": "root@pam", "password": ROOT}, timeout=10)
    ticket = login.json()["data"]
    session.cookies.set("PVEAuthCookie", ticket["ticket"])
    headers = {"CSRFPreventionToken": ticket["CSRFPreventionToken"]}
    reply = session.request(verb, url(cluster, path), data=given, headers=headers, timeout=10)
    assert (reply.status_code, reply.headers["connection"]) == (status, "close")
    assert says in reply.reason
    assert says in reply.json()["message"]
    session.close()


def test_a_ticket_needs_its_token_to_write(cluster):
    session = plain_session(cluster)
    data = {"username": "root@pam", "password": ROOT}
    ticket = session.post(url(cluster, "/access/ticket"), data=data, timeout=10).json()["data"]["ticket"]
    session.cookies.set("PVEAuthCookie", ticket)
    reply = session.post(url(cluster, "/access/users"), data={"userid": "x@pve"}, timeout=10)
    assert (reply.status_code, reply.reason) == (401, "Permission denied - invalid csrf token")
    assert session.get(url(cluster, "/version"), timeout=10).ok
    session.cookies.clear()
    assert session.get(url(cluster, "/version"), timeout=10).reason == "No ticket"
    cluster.wait(7300)
    session.cookies.set("PVEAuthCookie", ticket)
    assert session.get(url(cluster, "/version"), timeout=10).status_code == 401, "two hours are over"
    session.close()


def test_a_wrong_password_is_refused(cluster):
    with pytest.raises(AuthenticationError, match="401"):
        cluster.client(password="wrong")


def test_a_call_for_another_node_is_passed_on_unless_it_is_away(cluster):
    root = cluster.client()
    assert root.nodes("pve2").status.get()["pveversion"].startswith("pve-manager/9.2.11")
    cluster.inside(lambda rig: rig.off("pve2"))
    with pytest.raises(ResourceException, match="595"):
        root.nodes("pve2").status.get()
    with pytest.raises(ResourceException, match="no quorum"):
        root.access.users.post(userid="late@pve")
    cluster.inside(lambda rig: rig.on("pve2"))
    assert root.nodes("pve2").status.get()


def test_a_fault_strikes_by_path(cluster):
    rule = Rule(service="pve", operation="GET /cluster/status", status=500, message="got timeout")
    cluster.inside(lambda rig: instruments.of(rig.world).faults.add(rule))
    root = cluster.client()
    with pytest.raises(ResourceException, match="got timeout"):
        root.cluster.status.get()
    assert root.cluster.status.get()


def test_joining_over_the_api_voids_tickets_and_changes_the_certificate(alone):
    first, second = alone.client("pve1"), alone.client("pve2")
    assert alone.done(first, first.cluster.config.post(clustername="lab", link0="address=10.0.1.11")) == "OK"
    with pytest.raises(ResourceException, match="424"):
        second.cluster.config.join.get()
    info = first.cluster.config.join.get()
    (row,) = info["nodelist"]
    upid = second.cluster.config.join.post(hostname="10.0.1.11", fingerprint=row["pve_fp"], password=ROOT)
    assert ROOT not in upid
    alone.wait(20)
    with pytest.raises((requests.exceptions.ConnectionError, ResourceException, AuthenticationError)):
        second.nodes("pve2").tasks(upid).status.get()
    again = alone.client("pve2")
    assert Tasks.blocking_status(again, upid)["exitstatus"] == "OK"
    assert [one["online"] for one in first.cluster.status.get()[1:]] == [1, 1]
    log = [row["t"] for row in again.nodes("pve2").tasks(upid).log.get()]
    assert log[-1] == "TASK OK"
    assert ROOT not in str(alone.inside(lambda rig: rig.world.to_json()))


def test_nothing_older_than_tls_1_2_is_spoken_and_the_certificate_names_its_node(alone):
    context = ssl.create_default_context(cafile=alone.authority())
    with (
        socket.create_connection(("127.0.0.1", alone.port("pve1")), timeout=10) as plain,
        context.wrap_socket(plain, server_hostname="pve1") as tls,
    ):
        names = tls.getpeercert()["subjectAltName"]
    assert ("IP Address", "10.0.1.11") in names
    assert ("DNS", "pve1") in names
    context.minimum_version, context.maximum_version = ssl.TLSVersion.TLSv1_1, ssl.TLSVersion.TLSv1_1
    with (
        socket.create_connection(("127.0.0.1", alone.port("pve1")), timeout=10) as plain,
        pytest.raises(ssl.SSLError),
    ):
        context.wrap_socket(plain, server_hostname="pve1")


def test_a_node_without_power_answers_nobody(alone):
    alone.inside(lambda rig: power.power_off(rig.machine("pve2")))
    assert alone.port("pve2") is None
