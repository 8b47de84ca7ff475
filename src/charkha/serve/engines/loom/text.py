"""Text to tokens and back: the model's own tokenizer and chat template, and answers that come token by token.

Owns what a client sees of tokens: no half characters, nothing of a stop string, nothing after it.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jinja2.sandbox import ImmutableSandboxedEnvironment
from tokenizers import Tokenizer
from tokenizers.decoders import DecodeStream


class Text:
    """The tokenizer and chat template of a Hugging Face directory."""

    def __init__(self, directory: Path) -> None:
        """Raises OSError or ValueError for a directory that has none."""
        self.tokenizer = Tokenizer.from_file(str(directory / "tokenizer.json"))
        self.file = directory / "tokenizer.json"
        config: dict[str, Any] = json.loads((directory / "tokenizer_config.json").read_text())
        self._names = {
            name: _content(config.get(name)) for name in ("bos_token", "eos_token", "pad_token", "unk_token")
        }
        environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)
        environment.globals["raise_exception"] = _refuse
        self._template = environment.from_string((directory / "chat_template.jinja").read_text())
        self.ends = _ends(directory, self.tokenizer, self._names["eos_token"])

    def chat(self, messages: Sequence[dict[str, str]]) -> list[int]:
        """The tokens of a conversation up to where the assistant begins to speak. Raises ValueError if it cannot be one."""
        text = self._template.render(messages=messages, add_generation_prompt=True, **self._names)
        return self.plain(text)

    def plain(self, text: str) -> list[int]:
        """The tokens of a text as it stands."""
        tokens: list[int] = self.tokenizer.encode(text, add_special_tokens=False).ids
        return tokens

    def piece(self, token: int) -> str:
        """One token as text, for log probabilities; half a character is a replacement character."""
        text: str = self.tokenizer.decode([token], skip_special_tokens=False)
        return text


class Writer:
    """An answer's text as its tokens come. `finished` tells that a stop string was met."""

    def __init__(self, text: Text, stops: Sequence[str]) -> None:
        self._tokenizer, self._stops = text.tokenizer, tuple(stops)
        self._decoding = DecodeStream(skip_special_tokens=True)
        self._held, self._told = "", 0
        self._tokens: list[int] = []
        self.finished = False

    def feed(self, token: int) -> str:
        """What may be told now."""
        self._tokens.append(token)
        self._held += self._decoding.step(self._tokenizer, token) or ""
        return self._tell(_longest_start(self._held, self._stops))

    def close(self) -> str:
        """What is left when no token comes any more."""
        if self.finished:
            return ""
        whole: str = self._tokenizer.decode(self._tokens, skip_special_tokens=True)
        held = self._told + len(self._held)
        self._held += whole[held:]  # half a character that was waited for
        return self._tell(0)

    def _tell(self, kept: int) -> str:
        """Cut at a stop string, or keep back the last `kept` characters, which may begin one."""
        met = [place for stop in self._stops if (place := self._held.find(stop)) >= 0]
        if met:
            self.finished = True
            told, self._held = self._held[: min(met)], ""
        else:
            cut = len(self._held) - kept
            told, self._held = self._held[:cut], self._held[cut:]
        self._told += len(told)
        return told


def _longest_start(text: str, stops: Sequence[str]) -> int:
    """How many characters at the end of `text` may be the beginning of a stop string."""
    longest = max((len(stop) for stop in stops), default=0)
    lengths = range(min(longest - 1, len(text)), 0, -1)
    return next((each for each in lengths if any(stop.startswith(text[-each:]) for stop in stops)), 0)


def _ends(directory: Path, tokenizer: Any, eos: str) -> frozenset[int]:
    """The tokens that end an answer."""
    generation = directory / "generation_config.json"
    told = json.loads(generation.read_text()).get("eos_token_id") if generation.is_file() else None
    tokens = told if isinstance(told, list) else [told]
    return frozenset(token for token in (*tokens, tokenizer.token_to_id(eos)) if isinstance(token, int))


def _content(token: Any) -> str:
    return str(token.get("content", "")) if isinstance(token, dict) else str(token or "")


def _refuse(message: str) -> None:
    raise ValueError(message)
