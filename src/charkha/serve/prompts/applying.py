"""A chat request before a target: the values that it brings are put into the target's prompt, and its messages after that.

Pure, and on the hot path: a target without a prompt costs a request without values three look-ups.
"""

from collections.abc import Mapping
from typing import Any

from charkha.core.errors import Invalid
from charkha.serve.dialects.checks import wrong
from charkha.serve.prompts.compiled import Compiled, Rendered
from charkha.serve.targets import Target

_SYSTEM = ("system", "developer")


def applied(request: Mapping[str, Any], target: Target) -> tuple[Mapping[str, Any], int]:
    """The request with the messages that its engine is to see, and the bytes that the prompt adds to it.

    Raises Invalid naming a value that is missing or unknown, and where there would be no message at all.
    """
    prompt, values = target.prompt, _values(request)
    if prompt is None:
        if values:
            _refuse_values(values, target)
        _check_reference(request, None, target)
        if not request["messages"]:
            raise wrong("messages", "a list of at least one message")
        return request, 0
    _check_reference(request, prompt, target)
    said = prompt.render(values, target.variables)
    messages = _joined(said, request["messages"])
    if all(each["role"] in _SYSTEM for each in messages) and not request["messages"]:
        raise Invalid(
            f"There are no messages, and the prompt {prompt.reference} has but a system message.",
            param="messages",
            remedy="Send at least one message.",
        )
    return {**request, "messages": messages}, said.size


def _values(request: Mapping[str, Any]) -> Mapping[str, str]:
    values, inner = request.get("variables"), (request.get("prompt") or {}).get("variables")
    if values is not None and inner is not None:
        raise Invalid(
            "There are values in 'variables' and in 'prompt.variables'.",
            param="variables",
            remedy="Send them in one place.",
        )
    found: Mapping[str, str] = values if values is not None else inner or {}
    return found


def _joined(said: Rendered, messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The prompt's system message unless the request brings one, the prompt's other messages, then the request's."""
    own = 0
    while own < len(messages) and messages[own]["role"] in _SYSTEM:
        own += 1
    system = [{"role": "system", "content": said.system}] if said.system and not own else []
    return [*system, *messages[:own], *said.turns, *messages[own:]]


def _refuse_values(values: Mapping[str, str], target: Target) -> None:
    for name in values:
        if name not in target.variables:
            raise Invalid(
                f"'{name[:64]}' is no variable: what answers here has no prompt with it.",
                param=f"variables.{name[:64]}",
                code="unknown_variable",
                remedy="Call an endpoint whose variant names a prompt, or leave it out.",
            )


def _check_reference(request: Mapping[str, Any], prompt: Compiled | None, target: Target) -> None:
    """A client may say which prompt it expects; what answers is the endpoint's to say, so another one is refused."""
    expected = request.get("prompt")
    if not expected:
        return
    name, number = expected.get("id"), expected.get("version")
    if (name is not None and (prompt is None or name not in (prompt.name, prompt.reference))) or (
        number is not None and (prompt is None or number != str(prompt.number))
    ):
        has = f"the prompt {prompt.reference}" if prompt else "no prompt"
        raise Invalid(
            f"'{request['model']}' answers with {has}, not with the one that is asked for.",
            param="prompt",
            code="prompt_mismatch",
            remedy="Leave prompt.id and prompt.version out, or call an endpoint whose variant names that prompt.",
        )
