"""What a storage in Postgres says when it can't be opened: on one line, with a cure, and never with a password."""

from __future__ import annotations

import traceback

import anyio
import pytest

from stepwell import PostgresStorage
from stepwell.storage import StorageError
from stepwell.storage._postgres import _database, _schema
from tests.support.not_postgres import answering, closed_port, silent
from tests.support.postgres.by_hand import execute, role, with_login

pytestmark = [pytest.mark.anyio, pytest.mark.real_time]

SECRET = "hunter2"  # noqa: S105 (nobody has it)
NO_TLS = b"N"


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_database, "_CONNECT_LIMIT", 0.3)


async def refusal(dsn: str) -> str:
    """Return what is said to whoever opens it; the DSN's password is SECRET, and must not be a part of it."""
    storage = PostgresStorage(dsn, wait=0)
    with anyio.fail_after(20), pytest.raises(StorageError) as caught:
        await storage.__aenter__()
    assert SECRET not in "".join(traceback.format_exception(caught.value))
    assert "\n" not in str(caught.value)
    return str(caught.value)


def at(port: int, settings: str = "sslmode=disable") -> str:
    return f"postgresql://ada:{SECRET}@127.0.0.1:{port}/flows?{settings}"


class TestTheServer:
    async def test_at_a_closed_port_it_is_said_not_to_be_reached(self) -> None:
        port = closed_port()
        told = await refusal(at(port))
        assert told.startswith(f"postgresql://127.0.0.1:{port}/flows: the server can't be reached: ")
        assert told.endswith("is it running, and are host and port right?")

    async def test_of_an_unknown_name_is_said_not_to_be_reached(self) -> None:
        told = await refusal(f"postgresql://ada:{SECRET}@nowhere.invalid/flows")
        assert told.startswith("postgresql://nowhere.invalid/flows: the server can't be reached: ")

    async def test_of_a_name_that_can_be_none_is_refused(self) -> None:
        assert "DSN" in await refusal(f"postgresql://ada:{SECRET}@a..b/flows")

    async def test_at_a_socket_that_is_not_there_is_said_not_to_be_reached(self) -> None:
        assert "can't be reached" in await refusal(f"postgresql://ada:{SECRET}@%2Fnowhere/flows")

    async def test_that_is_too_old_is_refused(self, postgres_dsn: str, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(_schema, "_OLDEST", 99)
        for migrate in (True, False):
            with pytest.raises(StorageError, match=r": the server is Postgres \d+, and at least 99 is needed"):
                await PostgresStorage(postgres_dsn, migrate=migrate, wait=0).__aenter__()

    async def test_that_is_read_only_is_refused_where_tables_are_to_be_made(self, postgres_empty_database: str) -> None:
        settings = ("ALTER ROLE {role} SET default_transaction_read_only = on", "CREATE SCHEMA x AUTHORIZATION {role}")
        says = "in a read-only transaction; name the primary if this is a standby"
        with role(postgres_empty_database, *settings) as dsn, pytest.raises(StorageError, match=says):
            await PostgresStorage(dsn, schema="x", wait=0).__aenter__()

    async def test_that_speaks_no_tls_is_refused_at_once(self, postgres_dsn: str) -> None:
        dsn = postgres_dsn.replace("sslmode=disable", "sslmode=require")
        with pytest.raises(StorageError, match=r"rejected SSL upgrade: it speaks no TLS .* sslmode=disable"):
            await PostgresStorage(dsn, wait=3600).__aenter__()


REPLIES: dict[str, tuple[str, tuple[bytes, ...], str]] = {
    "http": ("sslmode=prefer", (b"HTTP/1.1 400 Bad Request\r\n\r\n",), "or it is no Postgres"),
    "http without tls": ("sslmode=disable", (b"HTTP/1.1 400 Bad Request\r\n\r\n",), "the server hung up"),
    "hangs up": ("sslmode=disable", (), "can't be reached|the server hung up"),
    "hangs up after tls": ("sslmode=prefer", (NO_TLS,), "the server hung up|can't be reached"),
    "tls that is none": ("sslmode=require", (b"S", b"garbage garbage garbage"), "TLS|can't be reached"),
    "unknown login": ("sslmode=disable", (b"R\0\0\0\x08\0\0\0\x63",), "unsupported authentication method"),
    "no version": (
        "sslmode=disable",
        (b"R\0\0\0\x08\0\0\0\0S\0\0\0\x18server_version\0weird\0Z\0\0\0\5I",),
        "what answers there is no Postgres",
    ),
}


class TestWhatIsNoPostgres:
    @pytest.mark.usefixtures("impatient")
    @pytest.mark.parametrize("kind", REPLIES)
    async def test_is_told_from_one_whatever_it_answers(self, kind: str) -> None:
        settings, replies, says = REPLIES[kind]
        with answering(*replies) as port:
            told = await refusal(at(port, settings))
        assert any(part in told for part in says.split("|")), told

    @pytest.mark.usefixtures("impatient")
    async def test_is_given_up_when_it_never_answers(self) -> None:
        with silent() as port:
            assert "no answer in time" in await refusal(at(port))


class TestTheLogin:
    async def test_with_a_wrong_password_is_refused_at_once(self, postgres_dsn: str) -> None:
        told = await refusal(with_login(postgres_dsn, "postgres", SECRET))
        assert "the server refused the login: password authentication failed for user" in told

    async def test_of_an_unknown_user_is_refused(self, postgres_dsn: str) -> None:
        assert "the server refused the login" in await refusal(with_login(postgres_dsn, "nobody_knows", SECRET))

    async def test_without_the_password_that_is_asked_for_is_refused(self, postgres_dsn: str) -> None:
        with role(postgres_dsn) as dsn:
            user = dsn.partition("://")[2].partition(":")[0]
            told = await refusal(with_login(postgres_dsn, user, ""))
        assert "password" in told

    async def test_to_a_database_that_is_not_there_is_refused(self, postgres_dsn: str) -> None:
        before, _, settings = postgres_dsn.rpartition("?")
        told = await refusal(f"{before.rpartition('/')[0]}/nowhere?{settings}")
        assert 'database "nowhere" does not exist; create it (CREATE DATABASE), or name another one' in told

    async def test_a_password_of_any_characters_is_taken(self, postgres_dsn: str) -> None:
        setting = "ALTER ROLE {role} PASSWORD 'p@:/?#[%25 ä'"
        with role(postgres_dsn, setting) as dsn:
            user = dsn.partition("://")[2].partition(":")[0]
            for grant in ("USAGE ON SCHEMA stepwell", "SELECT ON ALL TABLES IN SCHEMA stepwell"):
                execute(postgres_dsn, f"GRANT {grant} TO {user}")
            async with PostgresStorage(with_login(postgres_dsn, user, "p%40%3A%2F%3F%23%5B%2525%20%C3%A4"), wait=0):
                pass


class TestSettings:
    @pytest.mark.parametrize(
        ("setting", "says"),
        [
            ("sslmode=maybe", "`sslmode` parameter must be one of"),
            ("nonsense=1", 'unrecognized configuration parameter "nonsense"'),
            ("sslmode=verify-full&sslrootcert=/nowhere.crt", "the certificate, that the DSN names is not there"),
            ("target_session_attrs=best", "target_session_attrs"),
            ("sslmode=disable&target_session_attrs=standby", "; target_session_attrs names what a server must be"),
        ],
    )
    async def test_of_a_dsn_that_nobody_knows_are_refused(self, postgres_dsn: str, setting: str, says: str) -> None:
        assert says in await refusal(f"{postgres_dsn.rpartition('?')[0]}?{setting}")

    @pytest.mark.parametrize("port", ["five", "99999"])
    async def test_of_the_environment_are_refused(self, port: str, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("PGPORT", port)
        assert "DSN" in await refusal(f"postgresql://ada:{SECRET}@127.0.0.1/flows")
