"""Feedback as forms send it and as pages name it. Pure.

A form carries a key that was made with it, so that a button pressed twice gives its feedback once.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from charkha.core.errors import Invalid
from charkha.core.messages import plain

KEYS = "123456789"


@dataclass(frozen=True)
class Choice:
    """A label that may be the right answer; `key` is the key that says so, `was_answered` that it was the answer."""

    label: str
    key: str
    was_answered: bool


def choices(labels: Sequence[str] | None, answer: str | None) -> list[Choice]:
    """The labels of an endpoint as buttons; the first nine have a key."""
    said = plain(answer or "")
    keys = [*KEYS, *[""] * len(labels or ())]
    return [Choice(label, key, plain(label) == said) for label, key in zip(labels or (), keys, strict=False)]


def body(inference_id: str, form: Mapping[str, str]) -> dict[str, Any]:
    """What POST /feedback takes, from a form's `kind` with its `value` or `text`, and its `once`."""
    sent: dict[str, Any] = {"inference_id": inference_id, "kind": form.get("kind", "")}
    if "value" in form:
        sent["value"] = _number(form["value"])
    if "text" in form:
        sent["text"] = form["text"]
    if form.get("once"):
        sent["idempotency_key"] = form["once"]
    return sent


def told(given: Mapping[str, Any]) -> str:
    """A piece of feedback in a word or two: right, wrong, corrected, score 0.70 …"""
    kind, value = given["kind"], given["value"]
    if kind == "thumb":
        return "right" if value else "wrong"
    if kind == "correction":
        return "corrected"
    if kind == "preference":
        return "preferred"
    name = given["name"] if kind == "metric" else kind
    return f"{name} {value:.3g}" if value is not None else str(name)


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise Invalid(f"'{text[:40]}' is no number.", param="value", remedy="Send a number.") from None
