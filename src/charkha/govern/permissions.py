"""Permissions, and the four built-in roles that bundle them. A permission is `thing.act`; routes declare exactly one."""

from types import MappingProxyType

READ = frozenset(
    {
        "inference.read",
        "endpoint.read",
        "adapter.read",
        "feedback.read",
        "dataset.read",
        "run.read",
        "evaluation.read",
        "version.read",
        "release.read",
        "lineage.read",
        "system.read",
        "limit.read",
        "price.read",
        "usage.read",
        "prompt.read",
        "session.create",  # every role may open the console: as itself, so it may no more there than here
    }
)
WORK = frozenset(
    {
        "inference.create",
        "feedback.write",
        "dataset.write",
        "run.write",
        "evaluation.write",
        "endpoint.write",
        "adapter.write",
        "prompt.write",
    }
)
RELEASE = frozenset({"release.promote"})
ADMINISTER = frozenset(
    {"key.read", "key.manage", "audit.read", "session.read", "session.manage", "limit.manage", "price.manage"}
)
OWN = frozenset({"workspace.read", "workspace.manage", "system.manage"})

ALL = READ | WORK | RELEASE | ADMINISTER | OWN
ROLES = MappingProxyType(
    {
        "owner": ALL,
        "admin": READ | WORK | RELEASE | ADMINISTER,
        "developer": READ | WORK,
        "viewer": READ,
    }
)


def granted(role: str, scopes: tuple[str, ...] | None) -> frozenset[str]:
    """What a key may do: its role's permissions, narrowed to its scopes where it has any.

    A scope is a permission (`feedback.write`) or all acts on a thing (`feedback.*`).
    """
    allowed = ROLES[role]
    if scopes is None:
        return allowed
    return frozenset(permission for permission in allowed if covers(scopes, permission))


def covers(scopes: tuple[str, ...], permission: str) -> bool:
    """Whether a list of scopes contains a permission."""
    return permission in scopes or f"{permission.partition('.')[0]}.*" in scopes
