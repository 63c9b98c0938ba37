"""SQLite storage for wg: `sqlite:jobs.db`, `sqlite:///path/jobs.db`, `sqlite::memory:`."""

from wg_sqlite.backend import SQLiteBackend

__all__ = ["SQLiteBackend"]
