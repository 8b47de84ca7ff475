"""Examples as the tokens that the engine would see: the chat template of the model, an answer, its end-of-turn token.

Training and scoring must condition on exactly the tokens that serving produces; the template is the GGUF's own, and the
answer is tokenised apart from the prompt because that is how a generated answer comes about.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from charkha.core.messages import Example, Message


@dataclass(frozen=True)
class Encoded:
    """An example in tokens. `answer` ends with the end-of-turn token; `truncated` tells that user text was cut."""

    prompt: tuple[int, ...]
    answer: tuple[int, ...]
    truncated: bool = False

    def __len__(self) -> int:
        return len(self.prompt) + len(self.answer)


def prompt_tokens(tokenizer: Any, messages: Sequence[Message]) -> tuple[int, ...]:
    """The tokens of a conversation up to where the assistant begins to speak."""
    text = tokenizer.apply_chat_template(
        [message.as_dict() for message in messages], tokenize=False, add_generation_prompt=True
    )
    return tuple(tokenizer(text, add_special_tokens=False)["input_ids"])


def answer_tokens(tokenizer: Any, answer: str) -> tuple[int, ...]:
    """The tokens of a whole answer: the text, then the end of the turn."""
    return (*tokenizer(answer, add_special_tokens=False)["input_ids"], tokenizer.eos_token_id)


def encode(tokenizer: Any, example: Example, max_length: int) -> Encoded | None:
    """The example in at most `max_length` tokens, cut from the left of the last user text if it is longer.

    None if it does not fit even without that text.
    """
    answer = answer_tokens(tokenizer, example.answer)
    messages = example.prompt
    prompt = prompt_tokens(tokenizer, messages)
    excess = len(prompt) + len(answer) - max_length
    if excess <= 0:
        return Encoded(prompt, answer)
    words = tokenizer(example.question(), add_special_tokens=False)["input_ids"]
    cut = excess
    while cut <= len(words):
        messages = with_question(example.prompt, tokenizer.decode(words[cut:]))
        prompt = prompt_tokens(tokenizer, messages)
        if len(prompt) + len(answer) <= max_length:
            return Encoded(prompt, answer, truncated=True)
        cut += 1  # the cut has changed how the rest is split into tokens
    return None


def with_question(messages: Sequence[Message], text: str) -> tuple[Message, ...]:
    """The conversation with its last user message saying `text`."""
    last = max((index for index, message in enumerate(messages) if message.role == "user"), default=None)
    return tuple(
        msgspec.structs.replace(message, content=text) if index == last else message
        for index, message in enumerate(messages)
    )
