"""Signing in: a link is good once, a key as often as one likes, and nothing that was changed or invented at all."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from uuid import uuid4

import pytest
import sqlalchemy as sa

from charkha.core.clock import now
from charkha.core.errors import Forbidden, Unauthenticated
from charkha.govern import sign_in_tokens
from charkha.govern.permissions import ROLES
from charkha.govern.sessions import NewSession
from charkha.govern.tables import sign_in_links
from tests.govern.conftest import AGENT, SignInWorld, refused

pytestmark = pytest.mark.anyio


async def test_a_link_signs_in_as_the_key_that_made_it(signing_in: SignInWorld) -> None:
    begun = await signing_in.sessions.begin_with_link(await signing_in.link(), AGENT)
    session, principal = await signing_in.sessions.principal(begun.cookie)
    assert principal == signing_in.principal()
    assert (principal.actor, principal.permissions) == (f"key:{signing_in.key.id}", ROLES["developer"])
    assert session == begun.session
    assert (session.key_id, session.key_name, session.user_agent) == (signing_in.key.id, "laptop", AGENT)
    assert session.key_hint.endswith(signing_in.key.key[-4:])
    assert abs(session.expires_at - session.created_at - timedelta(days=30)) < timedelta(minutes=1)


async def test_a_scoped_keys_session_may_no_more_than_the_key(signing_in: SignInWorld) -> None:
    async with signing_in.database.workspace(signing_in.workspace_id, "test") as tx:
        made = await signing_in.keys.create(tx, name="narrow", role="admin", scopes=["session.*", "run.read"])
    await signing_in.snapshots.refresh()
    begun = await signing_in.sessions.begin_with_link(await signing_in.link(made.key), AGENT)
    _, principal = await signing_in.sessions.principal(begun.cookie)
    assert principal.permissions == {"session.create", "session.read", "session.manage", "run.read"}


async def test_a_link_is_good_once(signing_in: SignInWorld) -> None:
    token = await signing_in.link()
    await signing_in.sessions.begin_with_link(token, AGENT)
    await refused(signing_in.sessions.begin_with_link(token, AGENT))


async def test_of_many_who_use_a_link_at_once_one_gets_in(signing_in: SignInWorld) -> None:
    for _ in range(5):
        token = await signing_in.link()
        services = [signing_in.sessions, signing_in.elsewhere()] * 3
        tried = await asyncio.gather(*(each.begin_with_link(token, AGENT) for each in services), return_exceptions=True)
        assert sum(isinstance(result, NewSession) for result in tried) == 1, tried
        assert sum(isinstance(result, Unauthenticated) for result in tried) == len(services) - 1, tried
    async with signing_in.database.workspace(signing_in.workspace_id, "test") as tx:
        assert len((await signing_in.sessions.listed(tx)).data) == 5


async def test_an_expired_link_is_refused_and_stays_unused(signing_in: SignInWorld) -> None:
    token = await signing_in.link()
    link_id = sign_in_tokens.read(sign_in_tokens.LINK_PREFIX, token).id
    await signing_in.set(sign_in_links, link_id, expires_at=now() - timedelta(seconds=1))
    await refused(signing_in.sessions.begin_with_link(token, AGENT))
    async with signing_in.database.workspace(signing_in.workspace_id, "test") as tx:
        assert await tx.scalar(sa.select(sign_in_links.c.used_at)) is None


async def test_a_link_lives_fifteen_minutes(signing_in: SignInWorld) -> None:
    principal = signing_in.principal()
    async with signing_in.database.workspace(principal.workspace_id, principal.actor) as tx:
        link = await signing_in.sessions.make_link(tx, principal)
    assert abs(link.expires_at - now() - timedelta(minutes=15)) < timedelta(minutes=1)


async def test_a_revoked_keys_link_isrefused(signing_in: SignInWorld) -> None:
    token = await signing_in.link()
    async with signing_in.database.workspace(signing_in.workspace_id, "test") as tx:
        await signing_in.keys.revoke(tx, signing_in.key.id)
    await signing_in.snapshots.refresh()
    await refused(signing_in.sessions.begin_with_link(token, AGENT))


async def test_only_a_key_in_its_own_workspace_makes_a_link(signing_in: SignInWorld) -> None:
    other, _ = await signing_in.second_workspace()
    owner = signing_in.principal(signing_in.operator.key)
    elsewhere = signing_in.authenticator.in_workspace(owner, "other")
    internal = signing_in.authenticator.internal_token
    ours = signing_in.principal(internal(owner.workspace_id, "system:evaluate", owner.permissions))
    lesser = signing_in.principal(internal(owner.workspace_id, owner.actor, frozenset({"session.create"})))
    unknown = owner._replace(actor=f"key:{uuid4()}")
    for principal in (elsewhere, ours, lesser, unknown):
        async with signing_in.database.workspace(principal.workspace_id, principal.actor) as tx:
            with pytest.raises(Forbidden) as caught:
                await signing_in.sessions.make_link(tx, principal)
            assert caught.value.remedy
    for workspace_id in (other, signing_in.workspace_id):
        async with signing_in.database.workspace(workspace_id, "test") as tx:
            assert await tx.all(sa.select(sign_in_links)) == []


async def test_a_session_of_a_session_is_a_session_of_the_key(signing_in: SignInWorld) -> None:
    """The console calls the API with a token of ours that bears the key's name: that is enough for a further link."""
    _, principal = await signing_in.sessions.principal((await signing_in.begun()).cookie)
    token = signing_in.authenticator.internal_token(principal.workspace_id, principal.actor, principal.permissions)
    begun = await signing_in.sessions.begin_with_link(await signing_in.link(token), AGENT)
    assert begun.session.key_id == signing_in.key.id


async def test_a_pasted_key_signs_in(signing_in: SignInWorld) -> None:
    begun = await signing_in.sessions.begin_with_key(f" {signing_in.key.key}\n", AGENT)
    _, principal = await signing_in.sessions.principal(begun.cookie)
    assert principal == signing_in.principal()


async def test_what_is_no_key_does_not_sign_in(signing_in: SignInWorld) -> None:
    principal = signing_in.principal()
    internal = signing_in.authenticator.internal_token(principal.workspace_id, principal.actor, principal.permissions)
    pasted = ["", " ", "charkha_sk_x", "\ud800", "ключ", signing_in.key.key[:-1], internal, f"\t{internal}"]
    for text in [*pasted, f"Bearer {signing_in.key.key}", await signing_in.link()]:
        with pytest.raises(Unauthenticated) as caught:
            await signing_in.sessions.begin_with_key(text, AGENT)
        assert caught.value.remedy


@pytest.mark.parametrize("which", ["session", "link"])
async def test_every_changed_part_isrefused(signing_in: SignInWorld, which: str) -> None:
    """Each single letter of a cookie or link changed, a part left out, and the parts of two mixed."""
    service = signing_in.sessions
    whole, other = await signing_in.link(), await signing_in.link()
    use: Callable[[str], Awaitable[object]] = lambda token: service.begin_with_link(token, AGENT)  # noqa: E731
    if which == "session":
        use, whole, other = service.principal, (await signing_in.begun()).cookie, (await signing_in.begun()).cookie
    for at in range(len(whole)):
        changed = whole[:at] + ("0" if whole[at] != "0" else "1") + whole[at + 1 :]
        await refused(use(changed))
    parts, others = whole.split("."), other.split(".")
    for place in (1, 2):
        await refused(use(".".join([*parts[:place], others[place], *parts[place + 1 :]])))
        await refused(use(".".join([*parts[:place], *parts[place + 1 :]])))
    for changed in (whole.upper(), f"{whole} ", f"{whole}=", f" {whole}", whole + "\n", f"{whole}.a"):
        await refused(use(changed))
    assert await use(whole)


async def test_a_link_is_no_cookie_and_a_cookie_no_link(signing_in: SignInWorld) -> None:
    cookie, token = (await signing_in.begun()).cookie, await signing_in.link()
    for text in (token, token.removeprefix("charkha_link_")):
        await refused(signing_in.sessions.principal(text))
        await refused(signing_in.sessions.end(text))
    for text in (cookie, f"charkha_link_{cookie}"):
        await refused(signing_in.sessions.begin_with_link(text, AGENT))


async def test_what_a_browser_says_of_itself_is_made_fit_to_store(signing_in: SignInWorld) -> None:
    begun = await signing_in.sessions.begin_with_key(signing_in.key.key, "a\0b\ud800\n\x1b[31m" + "ü" * 400)
    assert begun.session.user_agent == "ab[31m" + "ü" * 294
