"""PostgreSQL storage for wg: `postgres://user@host/database`, also `postgresql://` and `postgresql+psycopg://`."""

from wg_postgres.backend import PostgresBackend

__all__ = ["PostgresBackend"]
