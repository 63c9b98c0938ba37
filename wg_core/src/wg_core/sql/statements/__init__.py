"""Every statement of the toolkit, composed with SQLAlchemy Core and rendered once per backend instance.

All of them reach their rows through an index, whatever the number of jobs; the tests hold them to it.
"""

from wg_core.sql.statements.arrivals import Arrivals
from wg_core.sql.statements.base import Take
from wg_core.sql.statements.claims import CLAIMED, Claims
from wg_core.sql.statements.moves import Moves
from wg_core.sql.statements.queries import PAGE_KEYS, RECORD_COLUMNS, Queries
from wg_core.sql.statements.reports import Reports
from wg_core.sql.statements.workers import Workers

__all__ = ["CLAIMED", "PAGE_KEYS", "RECORD_COLUMNS", "Statements", "Take"]


class Statements(Arrivals, Claims, Reports, Workers, Moves, Queries):
    """The statements of one namespace in one dialect."""
