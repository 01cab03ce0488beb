"""Open a TCP connection, through an HTTP proxy if there is one. What comes out is a socket like any other."""

from __future__ import annotations

import base64
import socket
import ssl
from collections.abc import Mapping
from urllib.parse import unquote, urlsplit

from ocifree_pipeline.deployment.errors import AuthFailed, Refused, Transient

MAX_REPLY = 16_384


def open_socket(host: str, port: int, *, proxy: str | None, timeout: float) -> socket.socket:
    """A connected socket, or Transient when nobody answers."""
    if proxy is None:
        return _connect(host, port, f"{host}:{port}", timeout)
    where = urlsplit(proxy)
    if where.hostname is None or where.port is None:
        raise Refused("the proxy has no host or port", why="it is not of the form http://host:port", fix="correct it")
    shown = f"the proxy {where.hostname}:{where.port}"
    opened = _connect(where.hostname, where.port, shown, timeout)
    try:
        if where.scheme == "https":
            opened = ssl.create_default_context().wrap_socket(opened, server_hostname=where.hostname)
        _ask_through(opened, host, port, _authorization(where.username, where.password), shown)
    except OSError as error:
        opened.close()
        raise Transient(
            f"{shown} broke off", why=error.strerror or type(error).__name__, fix="`ocifree doctor` tests the proxy"
        ) from error
    except BaseException:
        opened.close()
        raise
    return opened


def proxy_for(host: str, declared: str | None, environ: Mapping[str, str]) -> str | None:
    """The proxy for this host: the declared one, else HTTPS_PROXY or ALL_PROXY; NO_PROXY has the last word."""
    from urllib.request import proxy_bypass_environment  # type: ignore[attr-defined]

    named = {name.lower(): value for name, value in environ.items() if value}
    if proxy_bypass_environment(host, {"no": named.get("no_proxy", "")}):
        return None
    return declared or named.get("https_proxy") or named.get("all_proxy")


def _connect(host: str, port: int, shown: str, timeout: float) -> socket.socket:
    try:
        opened = socket.create_connection((host, port), timeout=timeout)
    except OSError as error:
        raise Transient(
            f"{shown} does not answer",
            why=error.strerror or str(error) or type(error).__name__,
            fix="it may still be starting; `ocifree doctor` tests the way there",
        ) from error
    # SSH speaks in short words and waits for the answer to each; the kernel would hold every second one back for 40 ms.
    opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return opened


def _ask_through(opened: socket.socket, host: str, port: int, authorization: str, shown: str) -> None:
    target = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    opened.sendall(f"CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n{authorization}\r\n".encode())
    reply = bytearray()
    # One byte at a time: an SSH server speaks first, and its greeting must stay in the socket.
    while not reply.endswith(b"\r\n\r\n"):
        byte = opened.recv(1)
        if not byte or len(reply) > MAX_REPLY:
            raise Transient(f"{shown} broke off", why="it did not finish its answer", fix="try again")
        reply += byte
    words = reply.split(b"\r\n", 1)[0].decode("latin-1")
    status = words.split(" ", 2)[1] if words.count(" ") else ""
    if status == "200":
        return
    if status == "407":
        raise AuthFailed(f"{shown} wants a password", why=words, fix="put user and password into HTTPS_PROXY")
    kind = Transient if status.startswith("5") else Refused
    raise kind(f"{shown} opens no way to {target}", why=words, fix="let the proxy connect to that port")


def _authorization(user: str | None, password: str | None) -> str:
    if user is None:
        return ""
    pair = f"{unquote(user)}:{unquote(password or '')}"
    return f"Proxy-Authorization: Basic {base64.b64encode(pair.encode()).decode()}\r\n"
