"""The controllers are ordinary clients: over a network they bring a cluster as far as inside of the sandbox."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import pytest
import requests

from ocifree_pipeline.sandbox.kubernetes import cluster as clusters
from ocifree_pipeline.sandbox.kubernetes import controllers
from ocifree_pipeline.sandbox.kubernetes.remote import Remote, over_http
from ocifree_pipeline_tests.sandbox.kubernetes.platform import CILIUM, FLUX, GATEWAY_API, conditions
from ocifree_pipeline_tests.sandbox.kubernetes.served import NODE, Served, served
from ocifree_pipeline_tests.sandbox.kubernetes.test_api import deployment
from ocifree_pipeline_tests.sandbox.kubernetes.test_flux import RELEASES, release, repository


def session(here: Served) -> requests.Session:
    configuration = here.admin.configuration
    found = requests.Session()
    found.trust_env = False
    found.cert = (configuration.cert_file, configuration.key_file)
    found.verify = configuration.ssl_ca_cert
    return found


@pytest.mark.long
def test_controllers_over_the_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    everybody = list(controllers.all_of_them())
    with monkeypatch.context() as patch, served(tmp_path) as here:
        # A bare API: nobody inside works for it.
        patch.setattr(controllers, "all_of_them", list)
        here.inside(lambda _: clusters.forget(here.world, "lab"))
        here.ask("POST", "/apis/apps/v1/namespaces/default/deployments", deployment("web", replicas=2))
        assert here.core.list_namespaced_pod("default").items == []
        patch.setattr(controllers, "all_of_them", lambda: everybody)
        state = {
            "settings": asdict(clusters.Settings()),
            "machines": {"node-1": {"running": True, "since": "2026-01-01T00:00:00Z"} | clusters.clone_fields(NODE)},
            "manifests": {},
            "repositories": {},
        }
        for name, text in (("cilium", CILIUM), (GATEWAY_API, ""), (FLUX, "")):
            state["manifests"][name] = {"text": text, "url": not text, "problem": "", "done": []}
        base = here.admin.configuration.host
        with session(here) as speaking:
            remote = Remote(over_http(speaking, base), state)
            begin = [("nodes", "node-1"), *(("manifests", name) for name in (GATEWAY_API, FLUX, "cilium"))]
            remote.converge(*begin)
            node = here.ask("GET", "/api/v1/nodes/node-1").json()
            assert conditions(node)["Ready"] == ("True", "KubeletReady")
            repository(here)
            here.ask("POST", RELEASES, release())
            remote.converge()
            found = here.ask("GET", f"{RELEASES}/metrics").json()
            assert conditions(found)["Ready"] == ("True", "InstallSucceeded")
            pods = here.core.list_namespaced_pod("default").items
            assert sorted(one.metadata.generate_name.rsplit("-", 2)[0] for one in pods) == ["metrics", "web", "web"]
            here.ask("DELETE", "/apis/apps/v1/namespaces/default/deployments/web")
            remote.converge()
            assert len(here.core.list_namespaced_pod("default").items) == 1
            revision = here.core.list_node().metadata.resource_version
            assert remote.converge() == 1
            assert here.core.list_node().metadata.resource_version == revision


def test_who_may_speaks_for_others(here: Served) -> None:
    path = "/apis/authentication.k8s.io/v1/selfsubjectreviews"
    headers = {"impersonate-user": "system:serviceaccount:default:robot"}
    who = here.ask("POST", path, {}, headers=headers).json()["status"]["userInfo"]
    assert who["username"] == "system:serviceaccount:default:robot"
    assert "system:serviceaccounts:default" in who["groups"]
    assert here.ask("GET", "/api/v1/nodes", headers=headers).status_code == 403
    bob = here.client("bob", ("developers",))
    bob.set_default_header("impersonate-user", "admin")
    from kubernetes import client as k8s

    with pytest.raises(k8s.ApiException, match="cannot impersonate resource"):
        k8s.CoreV1Api(bob).list_node()
