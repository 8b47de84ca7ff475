"""Chat messages and the examples made of them: the one form that serving, data sets, training and evaluation share."""

import unicodedata
from typing import Any, Literal

import msgspec

Role = Literal["system", "user", "assistant", "tool"]


class Message(msgspec.Struct, frozen=True, omit_defaults=True):
    """One turn of a conversation."""

    role: Role
    content: str

    def as_dict(self) -> dict[str, Any]:
        """The message as the OpenAI API writes it."""
        return {"role": self.role, "content": self.content}


class Example(msgspec.Struct, frozen=True, omit_defaults=True):
    """One supervised example: a conversation whose wanted `answer` is known.

    `prompt` is everything the model sees. `label` is the answer when it is one of a closed set of classes.
    `inference_id` and `subject_id` tell from which answer, and from which person, the example came.
    """

    prompt: tuple[Message, ...]
    answer: str
    label: str | None = None
    inference_id: str | None = None
    subject_id: str | None = None

    def question(self) -> str:
        """The last thing that the user said: what duplicates are recognised by."""
        return next((message.content for message in reversed(self.prompt) if message.role == "user"), "")


def plain(answer: str) -> str:
    """An answer as it is compared everywhere: case, outer space and final punctuation do not matter."""
    return unicodedata.normalize("NFKC", answer).strip().rstrip(".!").strip().casefold()
