"""The roles of Charkha's database: one that owns, one that logs in, three that may each do a part of the work.

`charkha_owner` owns the database and runs migrations; it is no superuser, so that forced row-level security holds
for it too. `charkha` is what processes log in as: it has no rights of its own (NOINHERIT) and becomes one of
`charkha_app` (row-level security), `charkha_ingest` (insert only) or `charkha_system` (what must cross workspaces)
with the connection option `-c role=charkha_app`. What each may touch is granted by the migrations.

The same SQL prepares a PostgreSQL of your own: give `roles_sql(...)` to psql as a superuser, then set
CHARKHA_DATABASE_URL (login `charkha`) and CHARKHA_MIGRATION_URL (login `charkha_owner`).
"""

from typing import Any

import psycopg
from psycopg import sql

Connection = psycopg.Connection[Any]


OWNER = "charkha_owner"
LOGIN = "charkha"
WORK_ROLES = ("charkha_app", "charkha_ingest", "charkha_system")

_ROLE = """DO $roles$ BEGIN
  CREATE ROLE {role} {attributes};
EXCEPTION WHEN duplicate_object THEN ALTER ROLE {role} {attributes};
END $roles$"""
_PLAIN = "NOSUPERUSER NOCREATEDB NOCREATEROLE NOBYPASSRLS NOREPLICATION"


def ensure_roles(
    connection: Connection,
    owner_password: str,
    login_password: str,
    database: str = LOGIN,
) -> None:
    """Make the roles and the database what they should be; doing it again changes nothing.

    `connection` is a superuser's, in autocommit (a database cannot be made inside a transaction). Passwords are sent
    as SCRAM verifiers, so that no log of the server can hold one.
    """
    owner = _verifier(connection, OWNER, owner_password)
    login = _verifier(connection, LOGIN, login_password)
    exists = connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [database]).fetchone()
    for statement in _role_statements(owner, login):
        connection.execute(statement)
    if exists is None:
        connection.execute(_create_database(database))
    for statement in _database_statements(database):
        connection.execute(statement)


def roles_sql(owner_password: str, login_password: str, database: str = LOGIN) -> str:
    """The same as a script for psql, to be run once by a superuser; it ends with an error if the database exists."""
    statements = [
        *_role_statements(owner_password, login_password),
        _create_database(database),
        *_database_statements(database),
    ]
    return "".join(f"{statement.as_string(None)};\n" for statement in statements)


def _verifier(connection: Connection, role: str, password: str) -> str:
    return connection.pgconn.encrypt_password(password.encode(), role.encode(), b"scram-sha-256").decode()


def _role_statements(owner_password: str, login_password: str) -> list[sql.Composed]:
    login = {OWNER: ("INHERIT", owner_password), LOGIN: ("NOINHERIT", login_password)}
    statements = [
        _role(name, sql.SQL(f"LOGIN {inherit} {_PLAIN} PASSWORD ") + sql.Literal(password))
        for name, (inherit, password) in login.items()
    ]
    for name in WORK_ROLES:
        statements.append(_role(name, sql.SQL(f"NOLOGIN NOINHERIT {_PLAIN}")))
        statements.append(
            sql.SQL("GRANT {} TO {} WITH INHERIT FALSE, SET TRUE").format(sql.Identifier(name), sql.Identifier(LOGIN))
        )
    return statements


def _role(name: str, attributes: sql.Composable) -> sql.Composed:
    return sql.SQL(_ROLE).format(role=sql.Identifier(name), attributes=attributes)


def _create_database(database: str) -> sql.Composed:
    return sql.SQL("CREATE DATABASE {} OWNER {}").format(sql.Identifier(database), sql.Identifier(OWNER))


def _database_statements(database: str) -> list[sql.Composed]:
    """Nobody else may connect. The work roles may make temporary tables: the spool is shipped through one."""
    name = sql.Identifier(database)
    workers = sql.SQL(", ").join(map(sql.Identifier, WORK_ROLES))
    return [
        sql.SQL("REVOKE ALL ON DATABASE {} FROM PUBLIC").format(name),
        sql.SQL("GRANT CONNECT ON DATABASE {} TO {}").format(name, sql.Identifier(LOGIN)),
        sql.SQL("GRANT TEMPORARY ON DATABASE {} TO {}").format(name, workers),
    ]
