"""Passwords in what user code raises: taken out before the text is cut, and nothing else is."""

from __future__ import annotations

import time

import pytest

from stepwell._failure import failure_of

SECRETS = {
    "postgres": "postgres://user:s3cret@db/x",
    "at-in-password": "postgres://user:s3@cret@db/x",
    "slash-in-password": "postgres://user:s3/cret@db/x",
    "no-password": "https://s3cret@db/x",
    "empty-user": "redis://:s3cret@db",
    "with-port": "postgres://user:s3cret@db:5432/x",
}


@pytest.mark.parametrize("url", SECRETS.values(), ids=SECRETS)
@pytest.mark.parametrize("before", [0, 3_900, 3_990, 3_996, 4_000, 5_000])
@pytest.mark.parametrize("after", [0, 3_900, 3_980, 3_995, 4_000, 100_000])
def test_a_secret_in_a_url_is_taken_out_before_the_cut(url: str, before: int, after: int) -> None:
    message = failure_of(ValueError(" " * before + url + " " * after)).message
    for length in range(3, 7):
        for start in range(len("s3cret") - length + 1):
            assert "s3cret"[start : start + length] not in message


def test_many_secrets_around_the_cut_are_taken_out() -> None:
    urls = " ".join(f"pg://u:{'S' * 400}@h{n}" for n in range(100))
    for pad in range(0, 420, 7):
        message = failure_of(ValueError(" " * pad + urls + " " * pad)).message
        assert "S" not in message
        assert "://***@h" in message


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("host=db password=s3cret dbname=x", "host=db password=*** dbname=x"),
        ("host=db password='s3 \\' cret' dbname=x", "host=db password=*** dbname=x"),
        ('connect(password="s3cret", port=1)', "connect(password=***, port=1)"),
        ("postgresql://db/x?password=s3cret&user=ada", "postgresql://db/x?password=***&user=ada"),
        ("PGPASSWORD=s3cret psql", "PGPASSWORD=*** psql"),
        ("sslpassword=s3cret;Pwd=s3cret", "sslpassword=***;Pwd=***"),
        ("if password == typed: password==x", "if password == typed: password==x"),
        ("passfile=/etc/pass password=", "passfile=/etc/pass password="),
    ],
)
def test_a_secret_in_pairs_is_taken_out(text: str, shown: str) -> None:
    assert failure_of(ValueError(text)).message == shown


def test_a_url_without_a_secret_is_kept() -> None:
    for url in ("http://host:8080/a", "http://host/a@b", "http://host:80", "mailto:a@b", "http://host/?q=a:b"):
        assert failure_of(ValueError(url)).message == url


def test_hostile_runs_of_urls_are_redacted_in_time() -> None:
    started = time.perf_counter()
    failure_of(ValueError("://:" * 100_000))
    failure_of(ValueError("://:a" * 100_000))
    failure_of(ValueError("a" * 1_000_000))
    failure_of(ValueError("password='" * 100_000))
    failure_of(ValueError("pwd=\\'" * 100_000))
    assert time.perf_counter() - started < 5
