"""What each program exposes about a landscape: names, labels and values as the real ones show them, noise included.

Only families that we ship are complete; of the rest there is enough to see that it is dropped.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from ocifree_pipeline.deployment.telemetry.exposition import Sample
from ocifree_pipeline.deployment.telemetry.landscape import DISKS, CephState, Landscape, Node, Pod

BUCKETS = ("0.005", "0.01", "0.025", "0.05", "0.1", "0.25", "0.5", "1", "2.5", "5", "10", "+Inf")
CPU_MODES = {
    "idle": 0.0,
    "iowait": 0.02,
    "irq": 0.0,
    "nice": 0.0,
    "softirq": 0.01,
    "steal": 0.01,
    "system": 0.3,
    "user": 0.66,
}
CERTIFICATE_SECONDS = 365 * 86400

Samples = Iterator[Sample]


def one(name: str, value: float, /, **labels: str) -> Sample:
    return Sample({"__name__": name, **labels}, float(value))


def _histogram(name: str, count: float, /, **labels: str) -> Samples:
    for bucket in BUCKETS:
        yield one(f"{name}_bucket", count, le=bucket, **labels)
    yield one(f"{name}_sum", count * 0.004, **labels)
    yield one(f"{name}_count", count, **labels)


def _runtime(now: float) -> Samples:
    """What every Go program tells about itself."""
    for name in ("go_goroutines", "go_threads", "go_memstats_alloc_bytes", "go_memstats_heap_inuse_bytes"):
        yield one(name, 42)
    for quantile in ("0", "0.25", "0.5", "0.75", "1"):
        yield one("go_gc_duration_seconds", 0.0001, quantile=quantile)
    yield one("process_cpu_seconds_total", now % 1e6)
    yield one("process_resident_memory_bytes", 5e7)
    yield one("process_start_time_seconds", now - 86400)


# nodes ----------------------------------------------------------------------------------------------------------------


def node_exporter(landscape: Landscape, node: Node) -> Samples:
    yield from _runtime(landscape.now)
    up = max(0.0, landscape.now - node.booted)
    for cpu in range(node.cpus):
        for mode, share in CPU_MODES.items():
            part = 1 - node.cpu_share if mode == "idle" else node.cpu_share * share
            yield one("node_cpu_seconds_total", up * part, cpu=str(cpu), mode=mode)
    yield one("node_boot_time_seconds", node.booted)
    for name, factor in (("node_load1", 1.0), ("node_load5", 0.9), ("node_load15", 0.8)):
        yield one(name, node.cpus * node.cpu_share * factor)
    used = node.memory_bytes * node.memory_share
    for name, value in (
        ("MemTotal", node.memory_bytes),
        ("MemAvailable", node.memory_bytes - used),
        ("MemFree", (node.memory_bytes - used) / 2),
        ("Buffers", 1e8),
        ("Cached", 1e9),
        ("SwapTotal", 0),
    ):
        yield one(f"node_memory_{name}_bytes", value)
    mounts = [
        ("/dev/sda4", "xfs", "/var"),
        ("/dev/sda1", "vfat", "/boot/EFI"),
        ("tmpfs", "tmpfs", "/run"),
        ("overlay", "overlay", "/etc"),
    ]
    mounts += [("tmpfs", "tmpfs", f"/var/lib/kubelet/pods/{pod.uid}/token") for pod in landscape.on(node.name)]
    for device, fstype, mountpoint in mounts:
        labels = {"device": device, "fstype": fstype, "mountpoint": mountpoint}
        free = 1 - node.disk_share if mountpoint == "/var" else 0.5
        yield one("node_filesystem_size_bytes", node.disk_bytes, **labels)
        yield one("node_filesystem_avail_bytes", node.disk_bytes * free, **labels)
        yield one("node_filesystem_readonly", 0, **labels)
        yield one("node_filesystem_files", 1e6, **labels)
    for device in (*DISKS, "loop0", "dm-0"):
        for name in ("read_bytes", "written_bytes", "io_time_seconds", "reads_completed"):
            yield one(f"node_disk_{name}_total", up * 1000, device=device)
    for device in (
        "eth0",
        "lo",
        "cilium_host",
        "cilium_net",
        *(f"lxc{pod.uid[:8]}" for pod in landscape.on(node.name)),
    ):
        for name in ("receive_bytes", "transmit_bytes", "receive_errs", "transmit_errs"):
            yield one(f"node_network_{name}_total", up * 2000, device=device)
    for resource in ("cpu", "io", "memory"):
        yield one(f"node_pressure_{resource}_waiting_seconds_total", up * 0.001)
    yield one("node_timex_offset_seconds", 0.0002)
    yield one("node_vmstat_oom_kill", 0)
    yield one("node_uname_info", 1, machine="aarch64", nodename=node.name, release="6.18.0-talos", sysname="Linux")


def kubelet(landscape: Landscape, node: Node) -> Samples:
    yield from _runtime(landscape.now)
    yield one("kubelet_running_pods", len(landscape.on(node.name)))
    for state in ("running", "exited"):
        yield one("kubelet_running_containers", len(landscape.on(node.name)), container_state=state)
    yield one("kubelet_certificate_manager_client_ttl_seconds", node.booted + CERTIFICATE_SECONDS - landscape.now)
    for operation in ("create_container", "start_container", "stop_container", "list_podsandbox", "version"):
        yield from _histogram("kubelet_runtime_operations_duration_seconds", 100, operation_type=operation)
    for verb in ("GET", "POST", "PATCH"):
        yield from _histogram("rest_client_request_duration_seconds", 1000, host="127.0.0.1:7445", verb=verb)


def cadvisor(landscape: Landscape, node: Node) -> Samples:
    up = max(0.0, landscape.now - node.booted)
    for slice_ in (
        "/",
        "/kubepods",
        "/kubepods/besteffort",
        "/kubepods/burstable",
        "/system",
        "/system/kubelet",
        "/podruntime",
    ):
        yield from _container(up, id=slice_, container="", image="", name="", namespace="", pod="")
    yield one(
        "container_network_receive_bytes_total",
        up,
        id="/",
        interface="eth0",
        namespace="",
        pod="",
        container="",
        image="",
        name="",
    )
    for pod in landscape.on(node.name):
        shared = {"namespace": pod.namespace, "pod": pod.name}
        sandbox = f"/kubepods/pod{pod.uid}"
        yield from _container(up, id=sandbox, container="", image="", name="", **shared)
        yield from _container(
            up, id=f"{sandbox}/pause", container="POD", image="registry.k8s.io/pause:3.10", name="pause", **shared
        )
        for container in pod.containers:
            ident = f"{sandbox}/{container.name}"
            yield from _container(
                up, id=ident, container=container.name, image="example.org/image:1", name=ident, **shared
            )
        if not pod.host_network:
            for interface in ("eth0", "lo", "sit0", "ip6tnl0"):
                for way in ("receive", "transmit"):
                    for what in ("bytes", "errors", "packets", "packets_dropped"):
                        yield one(
                            f"container_network_{way}_{what}_total",
                            up * 10,
                            id=sandbox,
                            container="",
                            image="",
                            interface=interface,
                            name="",
                            **shared,
                        )


def _container(up: float, /, **labels: str) -> Samples:
    yield one("container_cpu_usage_seconds_total", up * 0.01, cpu="total", **labels)
    yield one("container_cpu_cfs_periods_total", up * 10, **labels)
    yield one("container_cpu_cfs_throttled_periods_total", 0, **labels)
    for name in ("usage_bytes", "working_set_bytes", "rss", "cache", "swap"):
        yield one(f"container_memory_{name}", 5e7, **labels)
    for name in ("fs_usage_bytes", "processes", "threads", "start_time_seconds", "spec_memory_limit_bytes"):
        yield one(f"container_{name}", 1e6, **labels)


# Kubernetes -----------------------------------------------------------------------------------------------------------


def kube_state_metrics(landscape: Landscape) -> Samples:
    for node in landscape.nodes:
        name = node.name
        yield one(
            "kube_node_info",
            1,
            node=name,
            kernel_version="6.18.0-talos",
            os_image="Talos",
            container_runtime_version="containerd://2.1",
            kubelet_version="v1.36.3",
            kubeproxy_version="",
            provider_id="",
            pod_cidr="10.244.0.0/24",
            system_uuid=name,
            internal_ip=node.address,
        )
        yield one("kube_node_spec_unschedulable", node.unschedulable, node=name)
        for condition, is_true in (
            ("Ready", node.ready),
            ("MemoryPressure", False),
            ("DiskPressure", False),
            ("PIDPressure", False),
            ("NetworkUnavailable", False),
        ):
            unknown = condition == "Ready" and not node.ready
            for status, holds in (("true", is_true), ("false", not is_true and not unknown), ("unknown", unknown)):
                yield one("kube_node_status_condition", holds, node=name, condition=condition, status=status)
        for resource, unit, value in (
            ("cpu", "core", node.cpus),
            ("memory", "byte", node.memory_bytes),
            ("pods", "integer", 110),
            ("ephemeral_storage", "byte", node.disk_bytes),
            ("hugepages_2Mi", "byte", 0),
        ):
            yield one("kube_node_status_allocatable", value, node=name, resource=resource, unit=unit)
            yield one("kube_node_status_capacity", value, node=name, resource=resource, unit=unit)
    for pod in landscape.pods:
        yield from _pod(pod)
    for work in landscape.workloads:
        yield from _workload(work.kind, work.namespace, work.name, work.wanted, work.ready)


def _pod(pod: Pod) -> Samples:
    who = {"namespace": pod.namespace, "pod": pod.name, "uid": pod.uid}
    kind, name = pod.owner
    yield one(
        "kube_pod_info",
        1,
        node=pod.node,
        host_ip="10.0.0.1",
        pod_ip=pod.address,
        created_by_kind=kind,
        created_by_name=name or pod.name,
        priority_class="",
        host_network=str(pod.host_network).lower(),
        **who,
    )
    for phase in ("Pending", "Running", "Succeeded", "Failed", "Unknown"):
        yield one("kube_pod_status_phase", phase == pod.phase, phase=phase, **who)
    for condition in ("true", "false", "unknown"):
        yield one("kube_pod_status_ready", condition == "true", condition=condition, **who)
    yield one("kube_pod_start_time", 1, **who)
    for container in pod.containers:
        this = {**who, "container": container.name}
        yield one("kube_pod_container_status_restarts_total", container.restarts, **this)
        yield one("kube_pod_container_status_ready", container.ready, **this)
        if container.waiting:
            yield one("kube_pod_container_status_waiting_reason", 1, reason=container.waiting, **this)
        for resource, unit in (("cpu", "core"), ("memory", "byte")):
            yield one("kube_pod_container_resource_requests", 1, node=pod.node, resource=resource, unit=unit, **this)
            yield one("kube_pod_container_resource_limits", 1, node=pod.node, resource=resource, unit=unit, **this)


def _workload(kind: str, namespace: str, name: str, wanted: int, ready: int) -> Samples:
    who = {"namespace": namespace, kind.lower(): name}
    match kind:
        case "Deployment":
            yield one("kube_deployment_spec_replicas", wanted, **who)
            yield one("kube_deployment_status_replicas_available", ready, **who)
            yield one("kube_deployment_metadata_generation", 1, **who)
        case "StatefulSet":
            yield one("kube_statefulset_replicas", wanted, **who)
            yield one("kube_statefulset_status_replicas_ready", ready, **who)
        case "DaemonSet":
            yield one("kube_daemonset_status_desired_number_scheduled", wanted, **who)
            yield one("kube_daemonset_status_number_ready", ready, **who)


def apiserver(landscape: Landscape) -> Samples:
    yield from _runtime(landscape.now)
    for kind in ("mutating", "readOnly"):
        yield one("apiserver_current_inflight_requests", 1, request_kind=kind)
    yield one("apiserver_storage_size_bytes", 4e7, storage_cluster_id="etcd-0")
    for resource in ("pods", "nodes", "secrets", "configmaps", "deployments", "events"):
        for verb in ("GET", "LIST", "WATCH", "PATCH"):
            yield from _histogram(
                "apiserver_request_duration_seconds", 1000, resource=resource, verb=verb, scope="cluster"
            )


def etcd(landscape: Landscape, *, has_leader: bool = True) -> Samples:
    yield from _runtime(landscape.now)
    yield one("etcd_server_has_leader", has_leader)
    yield one("etcd_server_leader_changes_seen_total", 1)
    yield one("etcd_server_proposals_failed_total", 0)
    yield one("etcd_mvcc_db_total_size_in_bytes", 4e7)
    yield one("etcd_server_quota_backend_bytes", 2 * 2**30)
    yield from _histogram("etcd_disk_wal_fsync_duration_seconds", landscape.now % 1e6)


# what runs on it ------------------------------------------------------------------------------------------------------


def cilium(landscape: Landscape) -> Samples:
    yield from _runtime(landscape.now)
    yield one("cilium_unreachable_nodes", sum(not node.ready for node in landscape.nodes))
    yield one("cilium_controllers_failing", 0)
    for state in ("ready", "regenerating", "waiting-for-identity"):
        yield one("cilium_endpoint_state", 10 if state == "ready" else 0, endpoint_state=state)
    for direction in ("EGRESS", "INGRESS"):
        yield one("cilium_forward_count_total", landscape.now % 1e7, direction=direction)
        for reason in ("Policy denied", "Unsupported L3 protocol"):
            yield one("cilium_drop_count_total", 0, direction=direction, reason=reason)
    for scope in ("total", "regeneration", "policy"):
        yield from _histogram("cilium_endpoint_regeneration_time_stats_seconds", 50, scope=scope)


def hubble(landscape: Landscape) -> Samples:
    for verdict in ("FORWARDED", "DROPPED"):
        for kind, subtype in (("Trace", "to-endpoint"), ("Trace", "to-stack"), ("L7", "DNS")):
            for protocol in ("TCP", "UDP", "DNS"):
                yield one(
                    "hubble_flows_processed_total",
                    landscape.now % 1e6,
                    verdict=verdict,
                    type=kind,
                    subtype=subtype,
                    protocol=protocol,
                )
    yield one("hubble_drop_total", 0, reason="POLICY_DENIED", protocol="TCP")


def flux(landscape: Landscape, controller: str) -> Samples:
    yield from _runtime(landscape.now)
    for result in ("error", "requeue", "requeue_after", "success"):
        yield one("controller_runtime_reconcile_total", 10, controller=controller, result=result)
    for name in ("cilium", "alloy-cluster", "alloy-node"):
        yield from _histogram(
            "gotk_reconcile_duration_seconds", 20, kind="HelmRelease", name=name, namespace="flux-system"
        )


def alloy(landscape: Landscape, *, failed: float = 0) -> Samples:
    yield from _runtime(landscape.now)
    yield one(
        "alloy_build_info",
        1,
        version="v1.18.1",
        branch="HEAD",
        revision="0",
        goversion="go1.26.5",
        goos="linux",
        goarch="arm64",
        tags="",
    )
    shared = {
        "component_id": "prometheus.remote_write.cloud",
        "component_path": "/",
        "remote_name": "cloud",
        "url": "https://example.grafana.net/api/prom/push",
    }
    yield one("prometheus_remote_storage_samples_total", landscape.now % 1e7, **shared)
    yield one("prometheus_remote_storage_samples_failed_total", failed, **shared)
    logs = {"component_id": "loki.write.cloud", "component_path": "/", "host": "logs.example", "tenant": ""}
    yield one("loki_write_sent_bytes_total", landscape.now % 1e7, **logs)
    yield one("loki_write_dropped_entries_total", 0, reason="rate_limited", **logs)
    for component in range(30):
        yield one("alloy_component_evaluation_slow_seconds", 0, component_id=str(component), component_path="/")
    yield from _histogram("alloy_component_evaluation_seconds", 100, component_id="x", component_path="/")


def tailscale(landscape: Landscape) -> Samples:
    yield one("tailscaled_health_messages", 0, type="warning")
    for path in ("direct_ipv4", "derp"):
        yield one("tailscaled_inbound_bytes_total", landscape.now % 1e6, path=path)
        yield one("tailscaled_outbound_bytes_total", landscape.now % 1e6, path=path)


# below it -------------------------------------------------------------------------------------------------------------


def proxmox(landscape: Landscape, params: Mapping[str, str]) -> Samples:
    """prometheus-pve-exporter; `cluster` and `node` say which half of it answers."""
    if params.get("cluster") == "1":
        yield one("pve_up", all(node.online for node in landscape.proxmox), id="cluster/pve")
        quorate = sum(node.online for node in landscape.proxmox) * 2 > len(landscape.proxmox)
        yield one(
            "pve_cluster_info",
            1,
            id="cluster/pve",
            nodes=str(len(landscape.proxmox)),
            quorate=str(int(quorate)),
            version="3",
        )
        for node in landscape.proxmox:
            ident = f"node/{node.name}"
            yield one("pve_up", node.online, id=ident)
            yield one("pve_node_info", 1, id=ident, level="", name=node.name, nodeid="1")
            yield from _resource(ident)
        for ident, name, runs in landscape.guests:
            yield one("pve_up", runs, id=ident)
            yield one("pve_guest_info", 1, id=ident, name=name, node="", type="qemu", template="0", tags="")
            yield from _resource(ident)
            for way in ("receive", "transmit"):
                yield one(f"pve_network_{way}_bytes_total", 1, id=ident)
        for node in landscape.proxmox:
            for storage in ("local", "ceph"):
                yield one("pve_disk_size_bytes", 5e10, id=f"storage/{node.name}/{storage}")
                yield one("pve_disk_usage_bytes", 1e10, id=f"storage/{node.name}/{storage}")
    if params.get("node") == "1":
        yield one("pve_onboot_status", 1, id="qemu/100", node="", type="qemu")


def _resource(ident: str) -> Samples:
    for name, value in (
        ("cpu_usage_ratio", 0.2),
        ("cpu_usage_limit", 2),
        ("memory_usage_bytes", 5e9),
        ("memory_size_bytes", 1.2e10),
        ("disk_usage_bytes", 1e10),
        ("disk_size_bytes", 5e10),
        ("uptime_seconds", 1e5),
    ):
        yield one(f"pve_{name}", value, id=ident)


def ceph(landscape: Landscape, state: CephState) -> Samples:
    """The manager's module `prometheus`, on the manager that is active."""
    yield one("ceph_health_status", state.health)
    for check in state.checks:
        yield one("ceph_health_detail", 1, name=check, severity="HEALTH_WARN")
    for name, in_quorum in state.monitors.items():
        yield one("ceph_mon_quorum_status", in_quorum, ceph_daemon=f"mon.{name}")
        yield one("ceph_mon_metadata", 1, ceph_daemon=f"mon.{name}", hostname=name, ceph_version="19.2")
    for name, (is_up, is_in) in state.osds.items():
        yield one("ceph_osd_up", is_up, ceph_daemon=name)
        yield one("ceph_osd_in", is_in, ceph_daemon=name)
        for metric in ("op_r", "op_w", "apply_latency_ms", "commit_latency_ms"):
            yield one(f"ceph_osd_{metric}", 1, ceph_daemon=name)
    yield one("ceph_cluster_total_bytes", state.total_bytes)
    yield one("ceph_cluster_total_used_bytes", state.used_bytes)
    for number, pool in enumerate(state.pools, start=1):
        ident = str(number)
        yield one(
            "ceph_pool_metadata",
            1,
            pool_id=ident,
            name=pool,
            type="replicated",
            description="replica:2",
            compression_mode="none",
        )
        yield one("ceph_pool_stored", state.used_bytes / 2, pool_id=ident)
        yield one("ceph_pool_max_avail", (state.total_bytes - state.used_bytes) / 2, pool_id=ident)
        for metric, value in (
            ("total", state.groups),
            ("active", state.groups),
            ("clean", state.groups - state.degraded),
            ("degraded", state.degraded),
            ("peering", 0),
            ("stale", 0),
        ):
            yield one(f"ceph_pg_{metric}", value, pool_id=ident)
