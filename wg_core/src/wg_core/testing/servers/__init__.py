"""Private servers for tests: real ones, on a free port of the loopback, that may be killed, paused and restarted.

::

    with RedisServer() as server:
        backend = open_backend(server.url, namespace="shop")
        server.kill()                    # SIGKILL: what was answered must be there after
        server.restart()                 # the same port, the same data

`PostgresServer` (with a streaming `standby()`), `MariaDBServer` and `PgBouncerServer` are used in the same way.

A server object belongs to the thread that uses it; any number of them may run side by side. The data lies in a
temporary folder that `close` removes. When the test process itself is killed, a guard process ends the server.
Servers that refuse to run as root run as an unprivileged account then.
"""

from wg_core.testing.servers._programs import ServerError, find_binary
from wg_core.testing.servers.base import HOST, PORTS, PrivateServer, ServerCertificate
from wg_core.testing.servers.mariadb import MariaDBServer
from wg_core.testing.servers.pgbouncer import PgBouncerServer
from wg_core.testing.servers.postgres import PostgresServer, StandbyServer
from wg_core.testing.servers.redis import RedisServer

__all__ = [
    "HOST",
    "PORTS",
    "MariaDBServer",
    "PgBouncerServer",
    "PostgresServer",
    "PrivateServer",
    "RedisServer",
    "ServerCertificate",
    "ServerError",
    "StandbyServer",
    "find_binary",
]
