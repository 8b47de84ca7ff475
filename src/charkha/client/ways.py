"""A way to answer as people write it: `ENGINE:MODEL`, and words such as `context=8192` and `task=code` after it."""

from typing import Any


def alternative(text: str) -> dict[str, Any]:
    """The alternative of a variant that a text names, as the API takes it. Raises ValueError, which says what is wrong."""
    first, *words = text.split() or [""]
    engine, separator, model = first.partition(":")
    if not (engine and separator and model):
        raise ValueError(f"'{text}' is not ENGINE:MODEL, such as openai:gpt-4o")
    made: dict[str, Any] = {"engine": engine, "model": model}
    for word in words:
        name, _, value = word.partition("=")
        if name == "context" and value.isdecimal():
            made["context_tokens"] = int(value)
        elif name == "task" and value:
            made.setdefault("tasks", []).append(value)
        else:
            raise ValueError(f"'{word}' is neither context=TOKENS nor task=WORD")
    return made
