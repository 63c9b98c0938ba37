"""How the server is, and whether its settings suit a queue."""

from __future__ import annotations

import time
from typing import Any

from wg_core.errors import BackendRejectedError
from wg_core.protocol import Health
from wg_redis._server import Server

DETAILS = ("used_memory", "maxmemory", "connected_clients", "uptime_in_seconds", "role", "aof_enabled")


def health(server: Server) -> Health:
    """See `Backend.health`."""
    info = _info(server)
    begun = time.perf_counter()  # after the first call, which may have had to connect
    server.command("PING")
    latency = time.perf_counter() - begun
    details: dict[str, Any] = {name: _number(info[name]) for name in DETAILS if name in info}
    return Health(
        latency_seconds=latency,
        server=_product(info),
        warnings=tuple(_warnings(info, _save_points(server))),
        details={"jobs": server.command("HLEN", server.prefix + "heads")} | details,
    )


def _info(server: Server) -> dict[str, str]:
    """Return what INFO says; nothing when we may not ask."""
    try:
        text = server.command("INFO").decode()
    except BackendRejectedError:
        return {}
    lines = (line.partition(":") for line in text.splitlines() if ":" in line)
    return {name: value for name, _, value in lines}


def _save_points(server: Server) -> str | None:
    """Return when snapshots are written ('' for never); None when we may not ask, as on many managed servers."""
    try:
        reply = server.command("CONFIG", "GET", "save")
    except BackendRejectedError:
        return None
    pairs = reply.items() if isinstance(reply, dict) else zip(reply[::2], reply[1::2], strict=True)
    return {name.decode(): value.decode() for name, value in pairs}.get("save")


def _product(info: dict[str, str]) -> str:
    if "valkey_version" in info:
        return f"Valkey {info['valkey_version']}"
    return f"Redis {info['redis_version']}" if "redis_version" in info else "Redis (INFO is not permitted)"


def _warnings(info: dict[str, str], save_points: str | None) -> list[str]:
    warnings = []
    policy = info.get("maxmemory_policy", "noeviction")
    if policy != "noeviction":
        warnings.append(
            f"maxmemory-policy is {policy}: a full server would throw jobs away; set it to noeviction, so that it "
            f"refuses new ones instead"
        )
    if info.get("aof_enabled") == "0" and save_points == "":
        warnings.append(
            "persistence is off: all jobs are lost when the server stops; set appendonly yes (and appendfsync always "
            "to lose nothing at a crash)"
        )
    if info.get("role") == "slave":
        warnings.append("this is a replica: jobs can be read here, not enqueued or run; use the URL of its primary")
    return warnings


def _number(text: str) -> int | str:
    return int(text) if text.isdecimal() else text
