"""Which URLs are accepted, and that no secret of one is ever shown."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from optuna_study.errors import StorageUrlError, StoreError
from optuna_study.store.engine.address import StoreAddress, mask
from optuna_study.store.engine.open import open_store


def test_sqlite_paths_are_made_absolute() -> None:
    path = StoreAddress.parse("sqlite:///storage/studies.db").path
    assert path == Path.cwd() / "storage/studies.db"
    assert StoreAddress.parse("sqlite:////srv/studies.db").path == Path("/srv/studies.db")


@pytest.mark.parametrize("scheme", ["postgresql", "postgresql+psycopg", "postgres"])
def test_postgresql_is_spoken_through_psycopg_3(scheme: str) -> None:
    server = StoreAddress.parse(f"{scheme}://ann@db:5433/studies?sslmode=require").server
    assert server is not None
    assert server.drivername == "postgresql+psycopg"
    assert server.query == {"sslmode": "require"}


def test_an_address_travels_and_shows_no_secret() -> None:
    address = StoreAddress.parse("postgresql://ann:s3cret@db/x?sslpassword=hush")
    assert pickle.loads(pickle.dumps(address)) == address
    shown = "postgresql://ann:***@db/x?sslpassword=***"
    assert (str(address), repr(address)) == (shown, f"StoreAddress('{shown}')")


@pytest.mark.parametrize(
    ("url", "sentence"),
    [
        ("", "'' is no storage URL; expected sqlite:///path/to/file.db or postgresql://"),
        ("studies.db", "'studies.db' is no storage URL"),
        ("sqlite://studies.db", "three slashes"),
        ("sqlite://", "cannot be shared with workers"),
        ("sqlite:///:memory:", "cannot be shared with workers"),
        ("sqlite:///a.db?mode=ro", "name a plain file"),
        ("mysql://ann:s3cret@db/x", "'mysql' cannot carry the queue of trials; use sqlite:///"),
        ("postgresql+psycopg2://ann:s3cret@db/x", "use postgresql+psycopg://"),
        ("sqlite+aiosqlite:///a.db", "use sqlite://"),
        ("postgresql://ann:s3cret@db", "no database named"),
        ("postgresql://ann:s3cret@db:port/x", "is no storage URL"),
        ("journal:///x", "'journal' cannot carry"),
        ("grpc://ann:s3cret@proxy:13000", "gRPC proxy passes on Optuna's own calls alone"),
        ("grpc://proxy:13000/x", "cannot carry the leases of this queue of trials"),
        ("grpcs://proxy:13000", "with PgBouncer in front of it"),
        ("GRPC+insecure://proxy:13000", "use postgresql:// directly"),
        ("grpc:proxy:13000", "gRPC proxy"),
        ("grpcjournal:///x", "'grpcjournal' cannot carry"),
    ],
)
def test_what_is_refused(url: str, sentence: str) -> None:
    with pytest.raises(StorageUrlError) as caught:
        StoreAddress.parse(url)
    assert sentence in str(caught.value)
    assert "s3cret" not in str(caught.value)
    assert caught.value.exit_code == 2


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("sqlite:////srv/a.db", "sqlite:////srv/a.db"),
        ("postgresql://ann@db/x", "postgresql://ann@db/x"),
        ("postgresql://ann:p%40ss@db:1/x", "postgresql://ann:***@db:1/x"),
        ("postgresql://ann:a/b?c#d@e@db/x", "postgresql://ann:***@db/x"),
        ("postgresql://:only@db/x", "postgresql://:***@db/x"),
        ("postgresql:///x?user=ann&password=p&host=/run", "postgresql:///x?user=ann&password=***&host=/run"),
        ("postgresql://db/x?sslPassword=p{", "postgresql://db/x?sslPassword=***"),
        ("postgresql://db/x?pass%77ord=p", "postgresql://db/x?pass%77ord=***"),
        ("postgresql://ann@corp:s3cret@db/x", "postgresql://ann@corp:***@db/x"),
        ("postgresql://an/n:s3cret@db/x", "postgresql://an/n:***@db/x"),
        ("postgresql://ann@db:5432/x", "postgresql://ann@db:5432/x"),
        ("postgresql:/ann:pw@db/x", "postgresql:/ann:***@db/x"),
        ("ann:pw@db/x", "ann:***@db/x"),
        ("not a url", "not a url"),
    ],
)  # fmt: skip
def test_every_secret_is_hidden(url: str, shown: str) -> None:
    assert mask(url) == shown


_SECRETS = st.text(
    st.characters(min_codepoint=33, max_codepoint=126), min_size=4, max_size=20
).map(lambda text: f"<{text}>")


@given(st.sampled_from(["ann", "ann@corp", "an/n"]), _SECRETS)
def test_no_password_is_shown(name: str, secret: str) -> None:
    """Also where it is not escaped, as people write it."""
    url = f"postgresql://{name}:{secret}@db/x"
    assert mask(url) == f"postgresql://{name}:***@db/x"
    try:
        address = StoreAddress.parse(url)
    except StorageUrlError as error:
        assert secret not in str(error)  # noqa: PT017 - most of these URLs are fine
    else:
        assert secret not in address.without_secrets(f"no user with {secret}")


def test_a_driver_s_message_is_cleaned() -> None:
    address = StoreAddress.parse("postgresql://ann:p%40ss@db/x?sslpassword=hush")
    said = 'connection failed:\n  password "p@ss" or p%40ss refused, key hush'
    assert address.without_secrets(said) == (
        'connection failed: password "***" or *** refused, key ***'
    )


@pytest.mark.parametrize("create", [False, True])
def test_braces_in_a_url_are_no_template(*, create: bool) -> None:
    """Optuna would read them as one, and fail with a KeyError."""
    with pytest.raises(StoreError, match="cannot be reached"):
        open_store("postgresql://ann:{p}@127.0.0.1:1/x?application_name={y}", create=create)
