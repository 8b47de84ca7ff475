"""The console's map: its sections, their pages, the permission that each needs, and the key that opens it. Pure."""

from typing import NamedTuple


class Place(NamedTuple):
    """A page of the map. `key`: what opens it after `g`; `words`: what else the palette finds it by.

    `also` are the beginnings of other paths whose pages belong to it.
    """

    title: str
    path: str
    permission: str
    key: str
    words: str = ""
    also: tuple[str, ...] = ()

    def holds(self, path: str) -> bool:
        """Whether a path in the workspace is this page, or one that belongs to it."""
        mine = (self.path, *self.also) if self.path != "/" else self.also
        return path == self.path or any(path == each or path.startswith(f"{each}/") for each in mine)


SECTIONS: tuple[tuple[str, tuple[Place, ...]], ...] = (
    ("", (Place("Wheel", "/", "release.read", "w", "home turn loop overview"),)),
    (
        "Serve",
        (
            Place("Playground", "/playground", "inference.create", "p", "try chat ask compare"),
            Place("Inferences", "/inferences", "inference.read", "i", "log requests traces search"),
            Place("Endpoints & engines", "/endpoints", "endpoint.read", "e", "variants plans traffic models"),
            Place("Prompts", "/prompts", "prompt.read", "t", "templates variables versions tests diff"),
            Place("Caches", "/caches", "endpoint.read", "h", "hit rate saved again exact semantic"),
            Place("Adapters", "/adapters", "adapter.read", "a", "lora warm cold blend composition"),
        ),
    ),
    (
        "Learn",
        (
            Place("Feedback", "/feedback", "feedback.read", "f", "thumbs corrections review label rate"),
            Place(
                "Data sets",
                "/datasets",
                "dataset.read",
                "d",
                "examples versions upload provenance",
                ("/dataset-versions",),
            ),
            Place("Runs", "/runs", "run.read", "r", "training fine-tuning loss curves"),
        ),
    ),
    (
        "Release",
        (
            Place("Versions", "/versions", "version.read", "v", "registry scorecards evaluations"),
            Place("Releases", "/releases", "release.read", "l", "rollouts canary promote roll back"),
        ),
    ),
    (
        "Govern",
        (
            Place("Keys", "/keys", "key.read", "k", "api keys sessions revoke"),
            Place("Usage", "/usage", "usage.read", "m", "metering tokens requests money cost spend bill export"),
            Place("Limits", "/limits", "limit.read", "b", "budgets rates quota concurrency 429 spent left"),
            Place("Prices", "/prices", "price.read", "c", "cost money currency tokens"),
            Place("Audit", "/audit", "audit.read", "u", "trail who did what"),
            Place("Settings & health", "/settings", "system.read", "s", "doctor backups configuration status"),
        ),
    ),
)


def visible(permissions: frozenset[str]) -> list[tuple[str, list[Place]]]:
    """The sections with the pages that these permissions open; empty sections are left out."""
    shown = [(name, [place for place in places if place.permission in permissions]) for name, places in SECTIONS]
    return [(name, places) for name, places in shown if places]
