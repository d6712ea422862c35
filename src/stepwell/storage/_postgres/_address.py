"""Where the database is: the DSN, read here and strictly, and how it is shown without its password.

The driver never sees the password as a part of the DSN, so none of its messages can hold it. What it would read in
another way than was meant (an @, / or # of a password that wasn't written as a code) is refused, and never shown.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final
from urllib.parse import parse_qsl, unquote, unquote_plus

from stepwell._failure import describe
from stepwell.storage._protocol import StorageError

__all__ = ["Address", "quoted_schema"]

_SCHEMES: Final = ("postgresql", "postgres")
_FORM: Final = "a DSN reads postgresql://user:password@host:5432/database"
_CODES: Final = {"@": "%40", "#": "%23", "/": "%2F", "?": "%3F", " ": "%20", "%": "%25"}
_NO_CODE: Final = re.compile(r"%(?![0-9A-Fa-f]{2})|%00")
_HOST: Final = re.compile(r"(?:\[[^\[\]]+\]|[^\[\]:]+)(?::(?P<port>[^:]+))?")
_NO_NAME: Final = re.compile(r"[/&=]")
"""in the name of a database: a DSN whose ? was forgotten has them"""
_LAST_PORT: Final = 65_535
_SHOWN: Final = re.compile(
    "host|port|user|dbname|database|passfile|service|servicefile|options|application_name|target_session_attrs|krbsrvname"
    "|gsslib|sslmode|sslcert|sslkey|sslrootcert|sslcrl|sslnegotiation|ssl_min_protocol_version|ssl_max_protocol_version"
)
"""Settings that hold no secret; one that isn't known may be a password whose name is misspelt."""
_SCHEMA: Final = re.compile(r"[a-z_][a-z0-9_]{0,62}")


class Address:
    """A DSN. `name` shows which server and database it is about, `shown` all of it but its passwords."""

    def __init__(self, dsn: str) -> None:
        """Read the DSN. Raises StorageError, which doesn't show it, for what is none."""
        if type(dsn) is not str:
            raise StorageError(f"the DSN must be text, not {type(dsn).__name__}; {_FORM}")
        rest = _rest(dsn)
        _see_codes(rest)
        main, _, query = rest.partition("?")
        authority, slash, path = main.partition("/")
        if "@" in path or "@" in query or authority.count("@") > 1:
            raise StorageError(f"the DSN has an @ too many: in user, password or database, {_written('@', '/', '?')}")
        if _NO_NAME.search(path):
            raise StorageError(
                f"the DSN can't be read: a database whose name holds /, & or =, unless as a code; {_FORM}"
            )
        login, at, hosts = authority.rpartition("@")
        user, _, password = login.partition(":")
        settings = _settings(query)
        _see_hosts(hosts, settings)
        database = path or settings.get("dbname") or settings.get("database") or ""
        begin = f"postgresql://{user}{at if user else ''}{hosts}{slash}{path}"
        self.dsn = begin + _chosen(query, lambda name: name != "password")
        self.shown = begin + _chosen(query, lambda name: _SHOWN.fullmatch(name) is not None)
        self.name = f"postgresql://{hosts or settings.get('host', '')}/{database}"
        self.password = unquote(password) or settings.get("password")


def _rest(dsn: str) -> str:
    """Return what follows the scheme."""
    scheme, found, rest = dsn.partition("://")
    if not dsn:
        raise StorageError(f"the DSN is empty; {_FORM}")
    if not found or scheme.lower() not in _SCHEMES:
        shown = repr(f"{scheme[:20]}://") if found and scheme.isidentifier() else "what was given"
        raise StorageError(f"the DSN must begin with postgresql://, not {shown}; {_FORM}")
    return rest


def _see_codes(rest: str) -> None:
    """See that nothing stands there that must be written as a code. It may belong to the password: don't show it."""
    if " " in rest or not rest.isprintable():
        raise StorageError(f"the DSN holds a space, or what can't be printed; {_written(' ')}; {_FORM}")
    if "#" in rest:
        raise StorageError(f"the DSN holds a #; {_written('#')}; {_FORM}")
    if _NO_CODE.search(rest):
        raise StorageError(f"the DSN holds a % that begins no code; {_written('%')}; {_FORM}")


def _written(*characters: str) -> str:
    return "write " + ", ".join(f"{'a space' if one == ' ' else one} as {_CODES[one]}" for one in characters)


def _settings(query: str) -> dict[str, str]:
    try:
        return dict(parse_qsl(query, strict_parsing=bool(query)))
    except ValueError:  # its text shows what was given
        raise StorageError(f"the DSN can't be read: name=value pairs, joined by &, follow the ?; {_FORM}") from None


def _see_hosts(hosts: str, settings: dict[str, str]) -> None:
    """See that each host has a name and each port is one: the driver isn't at its best with others."""
    ports = settings["port"].split(",") if "port" in settings else []
    for host in hosts.split(",") if hosts else ():
        found = _HOST.fullmatch(host)
        if found is None:
            raise StorageError(f"the DSN can't be read: a host has a name, and [] hold an IPv6 address; {_FORM}")
        if found["port"] is not None:
            ports.append(found["port"])
    for port in ports:
        if not (port.isascii() and port.isdecimal() and 0 < int(port) <= _LAST_PORT):
            raise StorageError(f"the DSN can't be read: a port is a number from 1 to {_LAST_PORT}; {_FORM}")


def _chosen(query: str, is_chosen: Callable[[str], bool]) -> str:
    """Return the query, with its ?, with the settings of which the name is chosen."""
    kept = [one for one in query.split("&") if one and is_chosen(unquote_plus(one.partition("=")[0]))]
    return f"?{'&'.join(kept)}" if kept else ""


def quoted_schema(schema: str) -> str:
    """Return the name of a schema as SQL takes it. Raises StorageError for one that isn't plain."""
    if type(schema) is not str or not _SCHEMA.fullmatch(schema):
        raise StorageError(
            f"the schema must be a lower-case name of letters, digits and _, at most 63 of them, not {describe(schema)}"
        )
    if schema.startswith("pg_") or schema == "information_schema":
        raise StorageError(f"the schema can't be {schema!r}: such names belong to Postgres itself")
    return f'"{schema}"'
