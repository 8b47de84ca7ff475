"""Roles bundle permissions; scopes only ever narrow them."""

from hypothesis import given
from hypothesis import strategies as st

from charkha.govern.permissions import ALL, ROLES, covers, granted

SCOPES = st.lists(st.sampled_from(sorted(ALL) + sorted({f"{p.partition('.')[0]}.*" for p in ALL}) + ["nonsense"]))


@given(st.sampled_from(sorted(ROLES)), SCOPES)
def test_scopes_never_widen_a_role(role: str, scopes: list[str]) -> None:
    narrowed = granted(role, tuple(scopes))
    assert narrowed <= ROLES[role]
    assert all(covers(tuple(scopes), permission) for permission in narrowed)


def test_roles_are_ordered_and_promotion_is_not_a_developers() -> None:
    assert ROLES["viewer"] < ROLES["developer"] < ROLES["admin"] < ROLES["owner"] == ALL
    assert "release.promote" not in ROLES["developer"]
    changing = {permission for permission in ALL if not permission.endswith(".read")}
    assert ROLES["viewer"] & changing == {"session.create"}, "to sign in as oneself, which gives nobody more"
    assert {"session.read", "session.manage"} <= ROLES["admin"] - ROLES["developer"]


def test_no_scopes_at_all_leave_the_role_whole_and_an_empty_list_nothing() -> None:
    assert granted("admin", None) == ROLES["admin"]
    assert granted("admin", ()) == frozenset()
    assert granted("developer", ("feedback.*",)) == {"feedback.read", "feedback.write"}
