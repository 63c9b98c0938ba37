"""MySQL and MariaDB storage for wg: `mysql://user@host/database`, `mariadb://…`."""

from wg_mysql.backend import MySQLBackend

__all__ = ["MySQLBackend"]
