"""How a DSN is read, and that its password is never shown."""

from __future__ import annotations

import traceback

import pytest

from stepwell.storage import StorageError
from stepwell.storage._postgres._address import Address, quoted_schema

SECRET = "hunter2"  # noqa: S105 (nobody has it)


@pytest.mark.parametrize(
    ("dsn", "name"),
    [
        ("postgresql://ada:hunter2@db:5432/flows", "postgresql://db:5432/flows"),
        ("postgres://ada@db/flows?sslmode=require", "postgresql://db/flows"),
        ("PostgreSQL://db", "postgresql://db/"),
        ("postgresql://", "postgresql:///"),
        ("postgresql:///flows?host=/run/postgresql&port=5433", "postgresql:///run/postgresql/flows"),
        ("postgresql://%2Frun%2Fpostgresql/flows", "postgresql://%2Frun%2Fpostgresql/flows"),
        (
            "postgresql://ada:hunter2@one:5432,two:5433,[::1]:5434/flows",
            "postgresql://one:5432,two:5433,[::1]:5434/flows",
        ),
        ("postgresql://[fe80::1%25eth0]/flows", "postgresql://[fe80::1%25eth0]/flows"),
        ("postgresql://db?dbname=flows&password=hunter2", "postgresql://db/flows"),
    ],
)
def test_a_name_says_which_server_and_database(dsn: str, name: str) -> None:
    assert Address(dsn).name == name


@pytest.mark.parametrize(
    ("dsn", "without", "password"),
    [
        ("postgresql://ada:hunter2@db/flows", "postgresql://ada@db/flows", "hunter2"),
        (
            "postgresql://ada:h%40%2F%25:[2@db/flows?sslmode=require",
            "postgresql://ada@db/flows?sslmode=require",
            "h@/%:[2",
        ),
        ("postgresql://:hunter2@db/flows", "postgresql://db/flows", "hunter2"),
        ("postgresql://ada@db/flows", "postgresql://ada@db/flows", None),
        ("postgresql://ada:@db/flows", "postgresql://ada@db/flows", None),
        ("postgresql://db/flows?user=ada&password=hunter2", "postgresql://db/flows?user=ada", "hunter2"),
        ("postgresql://db/flows?pass%77ord=hunter2", "postgresql://db/flows", "hunter2"),
    ],
)
def test_the_driver_gets_the_password_beside_the_dsn(dsn: str, without: str, password: str | None) -> None:
    address = Address(dsn)
    assert (address.dsn, address.password) == (without, password)
    assert address.shown == without


@pytest.mark.parametrize("setting", ["sslpassword=hunter2", "pasword=hunter2"])
def test_a_setting_that_may_be_a_secret_goes_to_the_driver_and_is_not_shown(setting: str) -> None:
    address = Address(f"postgresql://db/flows?sslkey=key.pem&{setting}")
    assert address.dsn.endswith(f"&{setting}")
    assert address.shown == "postgresql://db/flows?sslkey=key.pem"


BAD = [
    ("", "is empty"),
    ("flows.db", "must begin with postgresql://, not what was given"),
    ("/var/lib/flows.db", "must begin with postgresql://, not what was given"),
    ("postgresq://ada:hunter2@db/flows", "not 'postgresq://'"),
    ("postgresql//ada:hunter2@db/flows", "must begin with postgresql://"),
    ("postgresql:/ada:hunter2@db/flows", "must begin with postgresql://"),
    ("mysql://ada:hunter2@db/flows", "not 'mysql://'"),
    (" postgresql://ada:hunter2@db/flows", "must begin with postgresql://"),
    ("postgresql://ada:hunter2@db/flows\n", "holds a space, or what can't be printed; write a space as %20"),
    ("postgresql://ada:hunter2@d b/flows", "holds a space"),
    ("postgresql://ada:hunter2@db:port/flows", "a port is a number from 1 to 65535"),
    ("postgresql://ada:hunter2@db:0/flows", "a port is a number from 1 to 65535"),
    ("postgresql://ada:hunter2@db:65536/flows", "a port is a number from 1 to 65535"),
    ("postgresql://ada:hunter2@db:²/flows", "a port is a number from 1 to 65535"),
    ("postgresql://ada:hunter2@db/flows?port=99999", "a port is a number from 1 to 65535"),
    ("postgresql://ada:hunter2@[::1/flows", r"\[\] hold an IPv6 address"),
    ("postgresql://ada:hunter2@::1]/flows", r"\[\] hold an IPv6 address"),
    ("postgresql://ada:hunter2@::1/flows", r"\[\] hold an IPv6 address"),
    ("postgresql://ada:hunter2@one,,two/flows", "a host has a name"),
    ("postgresql://ada:hunter2@:5432/flows", "a host has a name"),
    ("postgresql://ada:hun@ter2@db/flows", "an @ too many: .* write @ as %40"),
    ("postgresql://ada:12/hunter2@db/flows", "an @ too many: .* / as %2F"),
    ("postgresql://ada:12?hunter2@db/flows", r"an @ too many: .* \? as %3F"),
    ("postgresql://ada:12?a=hunter2@db/flows", "an @ too many"),
    ("postgresql://ada:12#hunter2@db/flows", "holds a #; write # as %23"),
    ("postgresql://ada:hunter2%@db/flows", "a % that begins no code; write % as %25"),
    ("postgresql://ada:hunter2%zz@db/flows", "a % that begins no code"),
    ("postgresql://ada:hunter2%00@db/flows", "a % that begins no code"),
    ("postgresql://db/flows?hunter2", "name=value pairs"),
    ("postgresql://db/flows&password=hunter2", "a database whose name holds"),
    ("postgresql://db//flows", "a database whose name holds"),
]


@pytest.mark.promise("I39")
@pytest.mark.parametrize(("dsn", "says"), BAD)
def test_what_is_no_dsn_is_refused_and_not_shown(dsn: str, says: str) -> None:
    with pytest.raises(StorageError, match=says) as caught:
        Address(dsn)
    assert SECRET not in "".join(traceback.format_exception(caught.value))
    assert "\n" not in str(caught.value)


def test_a_dsn_that_is_no_text_is_refused() -> None:
    with pytest.raises(StorageError, match="must be text, not bytes"):
        Address(b"postgresql://ada:hunter2@db/flows")  # type: ignore[arg-type]


@pytest.mark.parametrize("schema", ["stepwell", "_x", "a1_b2", "x" * 63])
def test_a_plain_schema_is_taken(schema: str) -> None:
    assert quoted_schema(schema) == f'"{schema}"'


@pytest.mark.parametrize(
    ("schema", "says"),
    [
        ("", "a lower-case name"),
        ("a-b", "not 'a-b'"),
        ("A", "a lower-case name"),
        ('"; drop', "a lower-case name"),
        ("x" * 64, "at most 63"),
        ("stepwell\n", "a lower-case name"),
        ("ä", "a lower-case name"),
        ("1a", "a lower-case name"),
        ("pg_x", "belong to Postgres itself"),
        ("information_schema", "belong to Postgres itself"),
    ],
)
def test_a_schema_that_is_not_plain_is_refused(schema: str, says: str) -> None:
    with pytest.raises(StorageError, match=says):
        quoted_schema(schema)
