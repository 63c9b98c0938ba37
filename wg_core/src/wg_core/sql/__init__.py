"""The SQL toolkit: a whole backend for SQL stores, but for the short list of what differs between them.

For authors of a backend: subclass `SqlBackend`, give it an `open` that makes three objects, and register the class
under the entry-point group `wg.backends`:

* a `Flavor`: the SQLAlchemy dialect (positional parameters), the claim, how new jobs are inserted unless they are
  known, upserts, list parameters, the store's clock, and what its errors mean;
* `Connections`: lends cursors in read and write transactions; `PooledConnections` does it for a database server, with
  `POOL_OPTIONS` for its pool and a `ServerClock`;
* a `Waiter`: `PollingWaiter` polls anything cheap that changes with every commit; write your own where the store can
  call.

`read_options` turns URL queries and keywords into checked options. Statements are composed with SQLAlchemy Core and
rendered once; the text then runs on the driver's own cursor, so columns hold only integers, strings, bytes and null.
The conformance suite in `wg_core.testing` tells whether it all works.
"""

from wg_core.sql.backend import SqlBackend
from wg_core.sql.clock import ServerClock
from wg_core.sql.connections import POOL_OPTIONS, Connections, PoolOptions, make_pool, no_free_connection
from wg_core.sql.flavor import Flavor, Row, ServerReport, Window
from wg_core.sql.options import Option, at_least, boolean, one_of, read_options, seconds
from wg_core.sql.pooled import PooledConnections
from wg_core.sql.prepared import Prepared, prepare
from wg_core.sql.querylog import QUERY_LOG_OPTIONS, QueryLog
from wg_core.sql.statements import CLAIMED, Statements
from wg_core.sql.tables import Tables
from wg_core.sql.transaction import ConflictError, Cursor, Transaction
from wg_core.sql.waiting import Bell, PollingWaiter, Queues, Waiter

__all__ = [
    "CLAIMED",
    "POOL_OPTIONS",
    "QUERY_LOG_OPTIONS",
    "Bell",
    "ConflictError",
    "Connections",
    "Cursor",
    "Flavor",
    "Option",
    "PollingWaiter",
    "PoolOptions",
    "PooledConnections",
    "Prepared",
    "QueryLog",
    "Queues",
    "Row",
    "ServerClock",
    "ServerReport",
    "SqlBackend",
    "Statements",
    "Tables",
    "Transaction",
    "Waiter",
    "Window",
    "at_least",
    "boolean",
    "make_pool",
    "no_free_connection",
    "one_of",
    "prepare",
    "read_options",
    "seconds",
]
