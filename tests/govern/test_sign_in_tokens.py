"""The texts of links and cookies: what we never made is refused, in one way, before anything is asked of the database."""

import asyncio
import string
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from charkha.core.errors import Unauthenticated
from charkha.govern import sign_in_tokens
from charkha.govern.keyring import Authenticator
from charkha.govern.sessions import SessionService
from charkha.govern.sign_in_tokens import COOKIE_PREFIX, LINK_PREFIX, Named
from charkha.kit.crypto import Secrets
from charkha.kit.db import Database
from charkha.kit.snapshot import Snapshots

HEX = st.text("0123456789abcdef", min_size=30, max_size=33)
SECRET = st.text(string.ascii_letters + string.digits + "-_", min_size=41, max_size=45)
NEARLY = st.lists(st.one_of(HEX, SECRET, st.just("")), max_size=5).map(".".join)
ODD = st.one_of(
    st.text(st.characters(), max_size=200),  # lone surrogates and NUL among them
    NEARLY,
    NEARLY.map(lambda text: LINK_PREFIX + text),
    st.text().map(lambda text: f"{LINK_PREFIX}{text}"),
)
PREFIXES = st.sampled_from([LINK_PREFIX, COOKIE_PREFIX])


def _service() -> SessionService:
    """Sessions without a database: whoever asked it would be told Unavailable."""
    secrets, database = Secrets(b"m" * 32, b"p" * 32), Database("postgresql://nobody@127.0.0.1:1/nothing")
    return SessionService(secrets, database, Authenticator(secrets, Snapshots(database)))


@given(PREFIXES, st.uuids(), st.uuids())
def test_what_we_make_is_read_as_it_was_made(prefix: str, workspace_id: UUID, row_id: UUID) -> None:
    token = sign_in_tokens.make(prefix, workspace_id, row_id)
    assert sign_in_tokens.read(prefix, token) == Named(workspace_id, row_id)
    assert token != sign_in_tokens.make(prefix, workspace_id, row_id)


@given(PREFIXES, ODD)
def test_reading_gives_a_row_or_the_one_refusal(prefix: str, text: str) -> None:
    named, refusal = None, ""
    try:
        named = sign_in_tokens.read(prefix, text)
    except Unauthenticated as error:
        refusal = str(error)
    if named is None:
        assert refusal == str(sign_in_tokens.not_signed_in())
    else:
        head, row, secret = text.split(".")
        assert (head, row, len(secret)) == (f"{prefix}{named.workspace_id.hex}", named.id.hex, 43)


@given(st.text(st.characters(), max_size=200))
def test_no_malformed_token_raises_anything_else(text: str) -> None:
    service = _service()
    for call in (
        service.principal(text),
        service.end(text),
        service.begin_with_link(text, "agent"),
        service.begin_with_link(LINK_PREFIX + text, "agent"),
    ):
        with pytest.raises(Unauthenticated):
            asyncio.run(call)


@given(st.text(st.characters()), st.text(st.characters()))
def test_form_tokens_are_compared_without_a_fault(cookie: str, sent: str) -> None:
    service = _service()
    assert not sign_in_tokens.same(service.csrf_token(cookie), sent)
    assert sign_in_tokens.same(service.csrf_token(cookie), service.csrf_token(cookie))
    assert sign_in_tokens.same(sent, sent)
