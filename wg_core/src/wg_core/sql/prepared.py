"""Statements rendered once: SQLAlchemy composes and compiles them, the DBAPI cursor runs the text.

SQLAlchemy's own execution costs some 50 µs a call, more than a whole SQLite transaction. Only integers, strings,
bytes and None travel in our columns, so neither parameters nor results need its processing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ClauseElement
from sqlalchemy.engine import Dialect
from sqlalchemy.engine.interfaces import Compiled
from sqlalchemy.sql.compiler import SQLCompiler


@dataclass(frozen=True, slots=True)
class Prepared:
    """The text of one statement for a positional DBAPI (`qmark` or `format`), and the order of its parameters."""

    text: str
    names: tuple[str, ...]
    constants: Mapping[str, Any]
    """Values that SQLAlchemy made parameters of although they never change."""

    def arguments(self, parameters: Mapping[str, Any]) -> tuple[Any, ...]:
        """Return the values in the order of the text; KeyError names one that is missing."""
        if self.constants:
            parameters = {**self.constants, **parameters}
        return tuple([parameters[name] for name in self.names])


def prepare(statement: ClauseElement, dialect: Dialect) -> Prepared:
    """Compile a SQLAlchemy Core statement for a dialect with a positional parameter style."""
    compiled: Compiled = statement.compile(dialect=dialect)
    assert isinstance(compiled, SQLCompiler)
    names = tuple(compiled.positiontup or ())
    constants = {name: compiled.params[name] for name in names if compiled.params[name] is not None}
    return Prepared(text=str(compiled), names=names, constants=constants)
