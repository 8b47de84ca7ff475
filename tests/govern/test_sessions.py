"""Sessions of the console: as mighty as their key, ended with it, by signing out, or by an administrator."""

import asyncio
import time
from datetime import timedelta

import pytest
import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from charkha.core.clock import now
from charkha.core.errors import Forbidden, NotFound
from charkha.core.ids import uuid7
from charkha.govern import audit, keyring, sessions, sign_in_tokens
from charkha.govern.tables import sessions as session_rows
from charkha.govern.tables import sign_in_links
from tests.govern.conftest import AGENT, SignInWorld, refused

pytestmark = pytest.mark.anyio


async def test_another_workspaces_row_never_matches(signing_in: SignInWorld) -> None:
    """The same ids and secret under another workspace's name: not even where that workspace has such a row."""
    other, key = await signing_in.second_workspace()
    begun = await signing_in.begun()
    foreign = begun.cookie.replace(signing_in.workspace_id.hex, other.hex)
    assert foreign != begun.cookie
    await refused(signing_in.sessions.principal(foreign))
    mine = {"id": begun.session.id, "hash": signing_in.secrets.hash_token(begun.cookie), "user_agent": AGENT}
    async with signing_in.database.workspace(other, "test") as tx:
        await tx.insert(session_rows, **mine, key_id=key.id, expires_at=now() + timedelta(days=1))
    await refused(signing_in.sessions.principal(foreign))
    with pytest.raises(IntegrityError):  # a session of a key of another workspace cannot even be stored
        async with signing_in.database.workspace(other, "test") as tx:
            values = {**mine, "id": uuid7(), "expires_at": now() + timedelta(days=1)}
            await tx.insert(session_rows, **values, key_id=signing_in.key.id)
    assert (await signing_in.sessions.principal(begun.cookie))[0] == begun.session


async def test_a_revoked_key_ends_its_sessions_when_the_process_knows(signing_in: SignInWorld) -> None:
    """Although the session's row is remembered: within a second, as for the key itself."""
    await signing_in.snapshots.start()
    begun = await signing_in.begun()
    await signing_in.sessions.principal(begun.cookie)
    async with signing_in.database.workspace(signing_in.workspace_id, "test") as tx:
        version = await signing_in.keys.revoke(tx, signing_in.key.id)
    revoked_at = time.monotonic()
    while signing_in.snapshots.version < version:
        await asyncio.sleep(0.01)
    assert time.monotonic() - revoked_at < 1.5
    await refused(signing_in.sessions.principal(begun.cookie))
    await refused(signing_in.elsewhere().principal(begun.cookie))


async def test_an_expired_key_ends_its_sessions(signing_in: SignInWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    async with signing_in.database.workspace(signing_in.workspace_id, "test") as tx:
        made = await signing_in.keys.create(tx, name="brief", days=1)
    await signing_in.snapshots.refresh()
    begun = await signing_in.sessions.begin_with_key(made.key, AGENT)
    assert await signing_in.sessions.principal(begun.cookie)
    later = time.time() + 90_000
    monkeypatch.setattr(keyring.time, "time", lambda: later)
    await refused(signing_in.sessions.principal(begun.cookie))


async def test_a_session_expires(signing_in: SignInWorld) -> None:
    begun = await signing_in.begun()
    await signing_in.set(session_rows, begun.session.id, expires_at=now() - timedelta(seconds=1))
    await refused(signing_in.sessions.principal(begun.cookie))
    await refused(signing_in.sessions.end(begun.cookie))


async def test_a_remembered_session_expires_all_the_same(
    signing_in: SignInWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun = await signing_in.begun()
    assert await signing_in.sessions.principal(begun.cookie)
    monkeypatch.setattr(sessions, "now", lambda: begun.session.expires_at)
    await refused(signing_in.sessions.principal(begun.cookie))


async def test_who_signs_out_is_out(signing_in: SignInWorld) -> None:
    begun, another = await signing_in.begun(), await signing_in.begun()
    await signing_in.sessions.principal(begun.cookie)
    await signing_in.sessions.end(begun.cookie)
    await refused(signing_in.sessions.principal(begun.cookie))
    await refused(signing_in.sessions.end(begun.cookie))
    assert await signing_in.sessions.principal(another.cookie)


async def test_who_signs_out_twice_at_once_is_out_once(signing_in: SignInWorld) -> None:
    begun = await signing_in.begun()
    tried = await asyncio.gather(
        *(each.end(begun.cookie) for each in (signing_in.sessions, signing_in.elsewhere())), return_exceptions=True
    )
    assert sorted(type(result).__name__ for result in tried) == ["NoneType", "Unauthenticated"]


async def test_a_revoked_session_is_refused_here_at_once_and_elsewhere_soon(
    signing_in: SignInWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sessions, "REMEMBERED_SECONDS", 0.3)
    elsewhere, begun = signing_in.elsewhere(), await signing_in.begun()
    await signing_in.sessions.principal(begun.cookie)
    await elsewhere.principal(begun.cookie)
    async with signing_in.database.workspace(signing_in.workspace_id, "test") as tx:
        await signing_in.sessions.revoke(tx, begun.session.id)
    await refused(signing_in.sessions.principal(begun.cookie))
    await asyncio.sleep(0.35)
    await refused(elsewhere.principal(begun.cookie))
    async with signing_in.database.workspace(signing_in.workspace_id, "test") as tx:
        with pytest.raises(NotFound):
            await signing_in.sessions.revoke(tx, begun.session.id)


async def test_a_remembered_session_is_not_read_again_and_the_memory_is_bounded(
    signing_in: SignInWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert sessions.REMEMBERED_SECONDS <= 2
    monkeypatch.setattr(sessions, "REMEMBERED_SECONDS", 60.0)  # however slow this machine is
    monkeypatch.setattr(sessions, "REMEMBERED_SESSIONS", 2)
    cookies = [(await signing_in.begun()).cookie for _ in range(3)]
    read, really = [], signing_in.sessions._read

    async def counted(named: sign_in_tokens.Named) -> object:
        read.append(named.id)
        return await really(named)

    monkeypatch.setattr(signing_in.sessions, "_read", counted)
    for _ in range(5):
        await signing_in.sessions.principal(cookies[0])
    assert len(read) == 1
    for cookie in cookies:
        await signing_in.sessions.principal(cookie)
        assert len(signing_in.sessions._known) <= 2
    await signing_in.sessions.principal(cookies[0])
    assert len(read) == 4, "the one read first was forgotten for the third"


async def test_sessions_are_listed_newest_first_and_by_workspace(signing_in: SignInWorld) -> None:
    other, key = await signing_in.second_workspace()
    begun = [(await signing_in.begun()).session for _ in range(3)]
    foreign = (await signing_in.sessions.begin_with_key(key.key, AGENT)).session
    async with signing_in.database.workspace(signing_in.workspace_id, "test") as tx:
        first = await signing_in.sessions.listed(tx, limit=2)
        rest = await signing_in.sessions.listed(tx, after=first.next, limit=2)
        with pytest.raises(NotFound):
            await signing_in.sessions.revoke(tx, foreign.id)
    assert [*first.data, *rest.data] == begun[::-1]
    assert rest.next is None
    async with signing_in.database.workspace(other, "test") as tx:
        assert (await signing_in.sessions.listed(tx)).data == [foreign]


async def test_all_is_audited_under_the_keys_name_and_without_secrets(signing_in: SignInWorld) -> None:
    token = await signing_in.link()
    begun = await signing_in.sessions.begin_with_link(token, AGENT)
    await signing_in.sessions.end(begun.cookie)
    again = await signing_in.begun()
    async with signing_in.database.workspace(signing_in.workspace_id, "key:admin") as tx:
        await signing_in.sessions.revoke(tx, again.session.id)
        trail = (await audit.listed(tx)).data
        stored = str([await tx.all(sa.select(table)) for table in (session_rows, sign_in_links)])
    done = [(row.action, row.actor) for row in trail if row.action.startswith("session.")]
    actor = f"key:{signing_in.key.id}"
    assert done == [
        ("session.revoked", "key:admin"),
        ("session.begun", actor),
        ("session.ended", actor),
        ("session.begun", actor),
        ("session.link_created", actor),
    ]
    for secret in (text.split(".")[2] for text in (token, begun.cookie, again.cookie)):
        assert secret not in str(trail)
        assert secret not in stored


async def test_a_form_needs_the_token_of_its_own_session(signing_in: SignInWorld) -> None:
    cookie, other = (await signing_in.begun()).cookie, (await signing_in.begun()).cookie
    token = signing_in.sessions.csrf_token(cookie)
    signing_in.sessions.check_csrf(cookie, token)
    assert signing_in.elsewhere().csrf_token(cookie) == token, "each process takes the forms of the others"
    for sent in (
        None,
        "",
        token[:-1],
        f"{token} ",
        token.upper(),
        signing_in.sessions.csrf_token(other),
        "ü",
        "\ud800",
    ):
        with pytest.raises(Forbidden, match="another sign-in") as caught:
            signing_in.sessions.check_csrf(cookie, sent)
        assert caught.value.remedy == "Reload the page and try again."
