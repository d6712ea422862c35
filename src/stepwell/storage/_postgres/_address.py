"""Where the database is: the DSN, and how it is shown without its password."""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import parse_qsl, unquote, urlsplit

from stepwell.storage._protocol import StorageError

__all__ = ["Address", "quoted_schema"]

_SCHEMES: Final = ("postgresql", "postgres")
_SCHEMA: Final = re.compile(r"[a-z_][a-z0-9_]{0,62}")
_FORM: Final = "a DSN reads postgresql://user:password@host:5432/database"


class Address:
    """A DSN. `name` shows it without its password."""

    def __init__(self, dsn: str) -> None:
        """Read the DSN. Raises StorageError, which doesn't show it, for what is none."""
        if type(dsn) is not str:
            raise StorageError(f"the DSN must be text, not {type(dsn).__name__}; {_FORM}")
        try:
            parts = urlsplit(dsn)
            port = parts.port
        except ValueError:
            raise StorageError(
                f"the DSN can't be read: a port is a number, and [] hold an IPv6 host; {_FORM}"
            ) from None
        if parts.scheme not in _SCHEMES:
            raise StorageError(f"the DSN must begin with postgresql://, not {_shown_scheme(dsn)}; {_FORM}")
        query = dict(parse_qsl(parts.query))
        host = parts.hostname or query.get("host", "")
        database = parts.path.lstrip("/") or query.get("dbname") or query.get("database") or ""
        self.dsn = dsn
        self.name = f"postgresql://{host}{'' if port is None else f':{port}'}/{database}"
        secrets = (parts.password, unquote(parts.password or ""), query.get("password"))
        self._secrets = tuple(sorted({secret for secret in secrets if secret}, key=len, reverse=True))

    def redacted(self, text: str) -> str:
        """Return *text* without the password."""
        for secret in self._secrets:
            text = text.replace(secret, "***")
        return text


def _shown_scheme(dsn: str) -> str:
    scheme, found, _ = dsn.partition("://")
    return repr(f"{scheme[:20]}://") if found and scheme.isidentifier() else "what was given"


def quoted_schema(schema: str) -> str:
    """Return the name of a schema as SQL takes it. Raises StorageError for one that isn't plain."""
    if type(schema) is not str or not _SCHEMA.fullmatch(schema) or schema.startswith("pg_"):
        raise StorageError(
            f"the schema must be a lower-case name of letters, digits and _, at most 63 of them, not {schema!r}"
        )
    return f'"{schema}"'
