"""An unmodified Prometheus scrapes, relabels by our rules and writes into the sandbox, and agrees with our counting."""

from __future__ import annotations

import http.server
import shutil
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from ocifree_pipeline.deployment.telemetry import landscape, planned
from ocifree_pipeline.deployment.telemetry.exposition import Sample
from ocifree_pipeline.deployment.telemetry.pipeline import MADE_BY_SCRAPING, Job
from ocifree_pipeline.deployment.telemetry.relabel import Rule, relabelled
from ocifree_pipeline.sandbox.grafana import metrics, stack
from ocifree_pipeline_tests.deployment.telemetry.watched import jobs
from ocifree_pipeline_tests.sandbox.harness import running

pytestmark = pytest.mark.real("Prometheus")

JOBS = ("node", "cadvisor", "kube-state", "etcd", "cilium", "hubble", "flux", "alloy", "proxmox", "ceph", "kubelet")


def page(samples: tuple[Sample, ...]) -> str:
    lines = []
    for sample in samples:
        pairs = ",".join(f'{k}="{v}"' for k, v in sample.labels.items() if k != "__name__")
        lines.append(f"{sample.labels['__name__']}{{{pairs}}} {sample.value!r}")
    return "\n".join(lines) + "\n"


def rule(one: Rule) -> dict[str, Any]:
    given = {"action": one.action, "regex": one.regex, "replacement": one.replacement, "separator": one.separator}
    given |= {"source_labels": list(one.source_labels)} if one.source_labels else {}
    return given | ({"target_label": one.target_label} if one.target_label else {})


@contextmanager
def exposing(pages: dict[str, str]) -> Iterator[int]:
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = pages[self.path].encode()
            self.send_response(200)
            self.send_header("Content-Type", "text/plain; version=0.0.4")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()
        thread.join(timeout=5)


@pytest.mark.timeout(120)
def test_what_prometheus_sends_is_what_was_counted(tmp_path: Path) -> None:
    program = shutil.which("prometheus")
    if program is None:
        pytest.skip("prometheus is not installed (Debian: apt-get install prometheus)")
    size = landscape.imagined(2, 30, proxmox=3)
    pages: dict[str, str] = {}
    scrapes: list[dict[str, Any]] = []
    wanted: set[tuple[tuple[str, str], ...]] = set()
    with running(tmp_path / "sandbox") as sandbox, exposing(pages) as port:
        home = sandbox.sandbox.home
        assert home is not None
        offered = sandbox.inside(stack.offered)
        for job in (one for one in jobs("proxmox-ceph") if one.name in JOBS):
            target, samples = _first_target(job, size)
            pages[f"/{job.name}"] = page(samples)
            labels = {name: value for name, value in target.items() if not name.startswith("__")}
            labels.setdefault("instance", f"127.0.0.1:{port}")
            scrapes.append(
                {
                    "job_name": job.name,
                    "metrics_path": f"/{job.name}",
                    "honor_labels": job.honor_labels,
                    "static_configs": [{"targets": [f"127.0.0.1:{port}"], "labels": labels}],
                    "metric_relabel_configs": [rule(one) for one in job.rules],
                }
            )
            for sample in samples:
                kept = job.series({**labels, "__address__": f"127.0.0.1:{port}"}, sample.labels)
                if kept is not None and relabelled(kept, job.sinks[0].rules) is not None:
                    wanted.add(tuple(sorted({**kept, "cluster": "lab"}.items())))
        cloud = offered["grafana_cloud"]["prometheus"]
        configuration = {
            "global": {"scrape_interval": "1s", "external_labels": {"cluster": "lab"}},
            "scrape_configs": scrapes,
            "remote_write": [
                {
                    "url": f"{cloud['url']}/api/prom/push",
                    "basic_auth": {"username": cloud["user"], "password": offered["token"]},
                    "proxy_url": f"http://127.0.0.1:{sandbox.sandbox.proxy_port}",
                    "tls_config": {"ca_file": str(home.ca_file)},
                    "queue_config": {"batch_send_deadline": "1s"},
                    "write_relabel_configs": [rule(one) for one in jobs("proxmox-ceph")[0].sinks[0].rules],
                }
            ],
        }
        (tmp_path / "prometheus.yml").write_text(yaml.safe_dump(configuration))
        arguments = [
            f"--config.file={tmp_path / 'prometheus.yml'}",
            f"--storage.tsdb.path={tmp_path / 'data'}",
            "--web.listen-address=127.0.0.1:0",
        ]
        with (
            (tmp_path / "log").open("wb") as log,
            subprocess.Popen([program, *arguments], stdout=log, stderr=log) as child,
        ):
            try:
                deadline = time.monotonic() + 60
                got: set[tuple[tuple[str, str], ...]] = set()
                while time.monotonic() < deadline and not wanted <= got:
                    time.sleep(0.5)
                    got = sandbox.inside(_arrived)
            finally:
                child.terminate()
                child.wait(timeout=20)
    assert wanted <= got, (sorted(wanted - got)[:3], (tmp_path / "log").read_text()[-2000:])
    assert got - wanted == set()
    assert len(wanted) > 300


def _first_target(job: Job, size: landscape.Landscape) -> tuple[dict[str, str], tuple[Sample, ...]]:
    """A target that shows something; of Ceph's managers only one does."""
    for meta in planned.discovered(job.discovery, size):
        target = job.target(meta)
        samples = planned.exposed(job.name, target, size) if target is not None else ()
        if target is not None and samples:
            return target, samples
    raise LookupError(job.name)


def _arrived(world: Any) -> set[tuple[tuple[str, str], ...]]:
    """Without what every scrape adds by itself; that is the same in both."""
    now = int(world.clock.now().timestamp() * 1000)
    found = metrics.stored(world)([], 0, now + 60_000)
    return {tuple(sorted(one.items())) for one, _, _ in found if one["__name__"] not in MADE_BY_SCRAPING}
