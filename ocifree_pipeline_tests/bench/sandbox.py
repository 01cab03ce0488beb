"""How fast the sandbox is: start to ready, simple reads per second, upload through TLS and the memory it takes.

    python -m ocifree_pipeline_tests.bench.sandbox

The sandbox is one process with one thread, so it works on one core; the clients here work on another.
"""

import json
import socket
import ssl
import statistics
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psutil
import requests

from ocifree_pipeline.sandbox import process
from ocifree_pipeline.sandbox.process import Running
from ocifree_pipeline_tests.bench.report import Line

IDENTITY = "identity.uk-london-1.oci.oraclecloud.com"
STORAGE = "objectstorage.uk-london-1.oraclecloud.com"
MEGABYTE = 1024 * 1024
CONNECTIONS = 8
READ_SECONDS = 5.0
UPLOAD_MEGABYTES = 1024


def measure() -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        starts = [start_seconds(Path(folder) / f"start{number}") for number in range(5)]
        running = process.start(Path(folder) / "sandbox")
        try:
            plain = socket.create_connection
            return {
                "start_to_ready_seconds": {"median": statistics.median(starts), "worst": max(starts)},
                "reads_per_second": {
                    "plain": reads(running, lambda: plain(("127.0.0.1", running.plain_port))),
                    "tls": reads(running, lambda: through_tls(running, IDENTITY)),
                },
                "upload": upload(running),
            }
        finally:
            running.stop()


def lines() -> list[Line]:
    found = measure()
    start, reads_, sent = found["start_to_ready_seconds"], found["reads_per_second"], found["upload"]
    memory = sent["server_rss_megabytes"]
    return [
        Line("sandbox: start to ready, median", start["median"], "s", "the slowest of five", start["worst"], ""),
        Line("sandbox: signed reads over TLS", reads_["tls"], "a second", "over the plain door", reads_["plain"], ""),
        Line("sandbox: memory during 1 GB in one piece", memory["peak"], "MB", "before it", memory["before"], ""),
        Line("sandbox: that upload", sent["megabytes_per_second"], "MB/s", "nothing to compare with", None, ""),
    ]


def start_seconds(directory: Path) -> float:
    begun = time.perf_counter()
    running = process.start(directory)
    taken = time.perf_counter() - begun
    running.stop()
    return round(taken, 3)


def reads(running: Running, connect: Callable[[], socket.socket]) -> int:
    """GetTenancy over connections that stay open. The signature is made once: the sandbox checks it every time."""
    import oci

    config = oci.config.from_file(str(running.directory / "oci.config"))
    head = signed(running, requests.Request("GET", f"https://{IDENTITY}/20160918/tenancies/{config['tenancy']}"))
    connections = [connect() for _ in range(CONNECTIONS)]
    ask(connections[0], head)  # the first reply imports the models
    counts = [0] * CONNECTIONS
    deadline = time.perf_counter() + READ_SECONDS

    def client(number: int) -> None:
        while time.perf_counter() < deadline:
            ask(connections[number], head)
            counts[number] += 1

    begun = time.perf_counter()
    threads = [threading.Thread(target=client, args=(number,)) for number in range(CONNECTIONS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    taken = time.perf_counter() - begun
    for connection in connections:
        connection.close()
    return round(sum(counts) / taken)


def upload(running: Running) -> dict[str, Any]:
    """One large object over TLS, in pieces that are never all in memory, here or there."""
    server = psutil.Process(running.pid)
    call(running, "GET", "/n")
    namespace = json.loads(call(running, "GET", "/n"))
    import oci

    tenancy = oci.config.from_file(str(running.directory / "oci.config"))["tenancy"]
    call(running, "POST", f"/n/{namespace}/b", {"name": "bench", "compartmentId": tenancy})
    head = signed(
        running,
        requests.Request(
            "PUT",
            f"https://{STORAGE}/n/{namespace}/b/bench/o/large",
            headers={"content-length": str(UPLOAD_MEGABYTES * MEGABYTE), "content-type": "application/octet-stream"},
        ),
    )
    before, peak, done = server.memory_info().rss, 0, threading.Event()

    def watch() -> None:
        nonlocal peak
        while not done.wait(0.05):
            peak = max(peak, server.memory_info().rss)

    watcher = threading.Thread(target=watch)
    watcher.start()
    piece = bytes(MEGABYTE)
    begun = time.perf_counter()
    with through_tls(running, STORAGE) as connection:
        connection.sendall(head)
        for _ in range(UPLOAD_MEGABYTES):
            connection.sendall(piece)
        status = read_reply(connection)
    taken = time.perf_counter() - begun
    done.set()
    watcher.join()
    if status != 200:
        raise RuntimeError(f"the upload was answered with {status}")
    return {
        "megabytes": UPLOAD_MEGABYTES,
        "megabytes_per_second": round(UPLOAD_MEGABYTES / taken),
        "server_rss_megabytes": {"before": before // MEGABYTE, "peak": peak // MEGABYTE},
    }


def through_tls(running: Running, host: str) -> ssl.SSLSocket:
    connection = socket.create_connection(("127.0.0.1", running.proxy_port))
    connection.sendall(f"CONNECT {host}:443 HTTP/1.1\r\n\r\n".encode())
    if b" 200 " not in connection.recv(1024):
        raise ConnectionError(f"the proxy does not play {host}")
    context = ssl.create_default_context(cafile=running.environment()["SSL_CERT_FILE"])
    return context.wrap_socket(connection, server_hostname=host)


def call(running: Running, method: str, path: str, body: dict[str, Any] | None = None) -> bytes:
    import oci

    config = oci.config.from_file(str(running.directory / "oci.config"))
    signer = oci.signer.Signer(config["tenancy"], config["user"], config["fingerprint"], config["key_file"])
    environment = running.environment()
    proxies = {"https": environment["HTTPS_PROXY"]}
    url = f"https://{STORAGE}{path}"
    reply = requests.request(
        method, url, json=body, auth=signer, proxies=proxies, verify=environment["REQUESTS_CA_BUNDLE"], timeout=60
    )
    reply.raise_for_status()
    return reply.content


def signed(running: Running, request: requests.Request) -> bytes:
    """The bytes of a request's head, signed as the SDK does it."""
    import oci

    config = oci.config.from_file(str(running.directory / "oci.config"))
    prepared = request.prepare()
    if "content-length" in request.headers:
        prepared.headers["content-length"] = request.headers["content-length"]
    signer = oci.signer.Signer(config["tenancy"], config["user"], config["fingerprint"], config["key_file"])
    signer.do_request_sign(prepared, enforce_content_headers=False)
    headers = {name.lower(): value for name, value in prepared.headers.items()}
    headers["host"] = urlsplit(request.url).netloc
    lines = [f"{name}: {value}" for name, value in headers.items()]
    return "\r\n".join([f"{request.method} {prepared.path_url} HTTP/1.1", *lines, "", ""]).encode()


def ask(connection: socket.socket, head: bytes) -> None:
    connection.sendall(head)
    status = read_reply(connection)
    if status != 200:
        raise RuntimeError(f"a read was answered with {status}")


def read_reply(connection: socket.socket) -> int:
    data = b""
    while b"\r\n\r\n" not in data:
        part = connection.recv(65536)
        if not part:
            raise ConnectionError("the sandbox closed the connection")
        data += part
    head, _, body = data.partition(b"\r\n\r\n")
    length = next(
        int(line.split(b":")[1]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length")
    )
    while len(body) < length:
        body += connection.recv(65536)
    return int(head.split(b" ")[1])


if __name__ == "__main__":
    print(json.dumps(measure(), indent=2))
