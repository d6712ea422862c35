"""What the errors of the driver, of the network and of the server mean, and what to do about them."""

from __future__ import annotations

import re
import ssl
from typing import Final

import asyncpg

from stepwell.storage._protocol import StorageError

__all__ = ["AGAIN", "DRIVER", "DatabaseAway", "SchemaError", "has_sent_nothing", "meant"]

AGAIN: Final = (asyncpg.SerializationError, asyncpg.DeadlockDetectedError, asyncpg.LockNotAvailableError)
"""Errors after which the transaction is gone and may simply be begun again."""

_AWAY: Final = (
    OSError,
    asyncpg.CannotConnectNowError,
    asyncpg.PostgresConnectionError,
    asyncpg.TooManyConnectionsError,
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
    asyncpg.TargetServerAttributeNotMatched,
)
"""Errors that pass by themselves when the server is back; TimeoutError is an OSError."""
_FOR_GOOD: Final = (ssl.SSLCertVerificationError, PermissionError)
"""Those of them that don't."""
_NO_TLS: Final = "rejected SSL upgrade"
"""how the driver says, in an error without a class of its own, what no waiting helps against"""
_ENDING: Final = re.compile(r"cannot switch to state \d+; another operation \(2\) is in progress")
"""how the driver says, before it sends anything, that the server has just told it to be ending this connection"""
_FORM: Final = "a DSN reads postgresql://user:password@host:5432/database"
_NEEDED: Final = (
    "to work, a role needs USAGE on the schema, and SELECT, INSERT and UPDATE on its tables; to purge, DELETE as well"
)


class DatabaseAway(StorageError):
    """Raised when the server can't be reached now."""


class SchemaError(Exception):
    """Raised where the schema isn't what this library needs; tells why, but not which database it is about."""


DRIVER: Final = (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, SchemaError, OSError)
"""All that is expected to go wrong."""


def has_sent_nothing(error: asyncpg.InternalClientError) -> bool:
    """Tell whether a statement went nowhere, since the server had just ended the connection, which was idle."""
    return _ENDING.match(str(error)) is not None


def meant(cause: BaseException, name: str) -> StorageError:
    """Return *cause* as an error of the storage of this *name*: which server, and what to do."""
    if isinstance(cause, StorageError):
        return cause
    passes = isinstance(cause, _AWAY) and not isinstance(cause, _FOR_GOOD) and _NO_TLS not in str(cause)
    kind = DatabaseAway if passes else StorageError
    error = kind(f"{name}: {_cure(cause)}")
    error.__cause__ = cause
    return error


def _cure(cause: BaseException) -> str:
    """Say in one line what is wrong, and what to do about it."""
    text = " ".join(str(cause).split()) or type(cause).__name__
    match cause:
        case asyncpg.PostgresError():
            return _of_server(cause, text)
        case SchemaError():
            return text
        case ssl.SSLError():
            return f"no TLS with this server: {text}; look at sslmode and sslrootcert"
        case OSError() if _NO_TLS in text:
            return f"{text}: it speaks no TLS (if that is right, say sslmode=disable), or it is no Postgres"
        case TimeoutError():
            return "the server can't be reached: no answer in time; is it running, and are host and port right?"
        case FileNotFoundError():
            return (
                f"the server can't be reached: the socket, or the certificate, that the DSN names is not there ({text})"
            )
        case OSError():
            return f"the server can't be reached: {text}; is it running, and are host and port right?"
        case asyncpg.TargetServerAttributeNotMatched():
            return f"{text}; target_session_attrs names what a server must be"
        case ValueError() | OverflowError():  # the driver's, about what it was given, also by the environment
            return f"{text}; {_FORM}"
        case asyncpg.InternalClientError() if has_sent_nothing(cause):
            return "the server is ending its connections; is it about to stop?"
        case asyncpg.InterfaceError():
            return text
        case _:
            return f"what answers there is no Postgres ({type(cause).__name__}: {text}); is the port right?"


def _of_server(cause: asyncpg.PostgresError, text: str) -> str:
    match cause:
        case asyncpg.InvalidPasswordError() | asyncpg.InvalidAuthorizationSpecificationError():
            return f"the server refused the login: {text}; check the user, the password, and pg_hba.conf"
        case asyncpg.InvalidCatalogNameError():
            return f"{text}; create it (CREATE DATABASE), or name another one"
        case asyncpg.InsufficientPrivilegeError():
            return f"{text}; {_NEEDED}; to make the tables, run `stepwell migrate` as a role that may CREATE"
        case asyncpg.ReadOnlySQLTransactionError():
            return f"{text}; name the primary if this is a standby, or set default_transaction_read_only to off"
        case asyncpg.UndefinedTableError() | asyncpg.InvalidSchemaNameError():
            return f"{text}; the tables are missing: run `stepwell migrate`"
        case asyncpg.DuplicateTableError() | asyncpg.UndefinedColumnError():
            return f"{text}; is the schema that of something else? Give Stepwell one of its own"
        case asyncpg.PostgresConnectionError():
            return f"the server hung up: {text}; is it running, and is it Postgres?"
        case asyncpg.TooManyConnectionsError():
            return f"{text}; raise max_connections, or give the storage fewer connections"
        case asyncpg.DiskFullError():
            return f"{text}; the server's disk is full: free some space"
        case _:
            return text
