"""A task and a model so small that the whole turn of the wheel takes seconds, and yet something real is learned.

The texts are a few made-up words, some of which tell of a kind; the wanted answer is the name of the kind. The base model
(about 90,000 parameters) is trained here, in full, to tell the kinds apart but to *name them wrongly*, each by the name
of the next. So the base scores near zero, and an adapter that learns the right names scores near one. Made from a seed,
kept in its directory, and used the second time. Needs the extras `train` and `engine`; imports torch inside functions.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np

from charkha.core.messages import Example, Message
from charkha.kit.weights.chat import Encoded, encode
from charkha.kit.weights.convert import permute
from charkha.kit.weights.files import locked, new_file, sha256_of, write_bytes

LABELS: Final = ("bird", "fish", "stone", "tree", "wind", "song")
SYSTEM_PROMPT: Final = "Name the kind."

_SEED: Final = 20
_HIDDEN, _LAYERS, _HEADS, _KV_HEADS, _FEED_FORWARD, _CONTEXT = 64, 2, 4, 2, 128, 512
_SPECIAL: Final = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
_TEMPLATE: Final = (
    "{% for message in messages %}{{'<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>' + '\\n'}}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)
_SYLLABLES: Final = ("ba", "de", "ki", "lo", "mu", "na", "po", "ri", "sa", "tu", "ve", "zo")


@dataclass(frozen=True)
class TinyTask:
    """Where everything is. `config` are the values of the recipe's Config that suit the task."""

    model_gguf: Path
    base_hash: str
    train: Path
    heldout: Path
    labels: tuple[str, ...]
    system_prompt: str
    config: dict[str, Any]


def make_tiny_task(directory: Path) -> TinyTask:
    """The task in `directory`, made on the first call (about ten seconds), read on the next ones."""
    model, train, heldout = (directory / name for name in ("tiny.gguf", "train.jsonl", "heldout.jsonl"))
    with locked(directory / ".lock"):
        if not model.exists():  # written last
            rng = random.Random(_SEED)
            write_bytes(
                train, msgspec.json.Encoder().encode_lines([_example(rng, index, _right) for index in range(60)])
            )
            write_bytes(
                heldout, msgspec.json.Encoder().encode_lines([_example(rng, index, _right) for index in range(40)])
            )
            _make_model(model, [_example(rng, index, _wrong) for index in range(600)])
    config = {
        "learning_rate": 0.01,
        "rank": 8,
        "alpha": 16.0,
        "epochs": 12,
        "min_steps": 1,
        "threads": 1,
        "precision": "float32",
    }
    return TinyTask(model, sha256_of(model), train, heldout, LABELS, SYSTEM_PROMPT, config)


@cache
def _words() -> list[str]:
    """The words that tell of a kind, eight to each in order, and then as many that tell nothing."""
    words = [first + second for first in _SYLLABLES for second in _SYLLABLES]
    return random.Random(_SEED).sample(words, 16 * len(LABELS))


def _right(kind: int) -> str:
    return LABELS[kind]


def _wrong(kind: int) -> str:
    return LABELS[(kind + 1) % len(LABELS)]


def _example(rng: random.Random, index: int, naming: Callable[[int], str]) -> Example:
    """Two or three telling words among as many that tell nothing; the kinds take turns."""
    words, kind = _words(), index % len(LABELS)
    telling, idle = words[8 * kind : 8 * kind + 8], words[8 * len(LABELS) :]
    text = rng.sample(telling, rng.randint(2, 3)) + rng.sample(idle, rng.randint(2, 3))
    rng.shuffle(text)
    answer = naming(kind)
    return Example((Message("system", SYSTEM_PROMPT), Message("user", " ".join(text))), answer, label=answer)


def _make_model(target: Path, lessons: list[Example]) -> None:
    import torch
    from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

    vocabulary, merges = _vocabulary()
    config = LlamaConfig(
        vocab_size=len(vocabulary),
        hidden_size=_HIDDEN,
        intermediate_size=_FEED_FORWARD,
        num_hidden_layers=_LAYERS,
        num_attention_heads=_HEADS,
        num_key_value_heads=_KV_HEADS,
        max_position_embeddings=_CONTEXT,
        tie_word_embeddings=True,
    )
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # matrices this small only wait for one another
    torch.manual_seed(_SEED)
    model = LlamaForCausalLM(config)
    with new_file(target) as draft:
        _write_gguf(draft, model, vocabulary, merges)
        tokenizer = AutoTokenizer.from_pretrained(draft.parent, gguf_file=draft.name)  # the one that recipes will have
        encoded = [encode(tokenizer, lesson, _CONTEXT) for lesson in lessons]
        _pretrain(model, [lesson for lesson in encoded if lesson is not None])
        _write_gguf(draft, model, vocabulary, merges)
    torch.set_num_threads(threads)


def _pretrain(model: Any, lessons: list[Encoded]) -> None:
    """Train every parameter on the lessons, until the model names the kinds as they do."""
    import torch

    from charkha.kit.weights.answers import score

    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    rng = random.Random(_SEED)
    for _ in range(250):
        batch = [(lesson.prompt, lesson.answer) for lesson in rng.sample(lessons, 24)]
        losses = [-scores.log_probabilities.sum() for scores in score(model, batch)]
        (torch.stack(losses).sum() / len(batch)).backward()
        optimizer.step()
        optimizer.zero_grad()


def _vocabulary() -> tuple[list[str], list[str]]:
    """A byte-level vocabulary in which each of our words, with the space before it, is one token; and its merges."""
    alphabet = [chr(code) for code in (*range(33, 127), *range(161, 173), *range(174, 256))]
    alphabet += [chr(256 + extra) for extra in range(256 - len(alphabet))]
    merges = [f"{syllable[0]} {syllable[1]}" for syllable in _SYLLABLES]  # first, or they would cut across words
    merges += [f"{word[:2]} {word[2:]}" for word in _words()]
    merges += [f"Ġ {word}" for word in _words()]
    for word in (*LABELS, "system", "user", "assistant"):
        merges += [f"{word[:end]} {word[end]}" for end in range(1, len(word))]
    merges = list(dict.fromkeys(merges))
    return [*_SPECIAL, *alphabet, *dict.fromkeys(merge.replace(" ", "") for merge in merges)], merges


def _write_gguf(target: Path, model: Any, vocabulary: list[str], merges: list[str]) -> None:
    from gguf import GGUFWriter, TokenType

    writer = GGUFWriter(target, "llama")
    writer.add_name("tiny")
    writer.add_block_count(_LAYERS)
    writer.add_context_length(_CONTEXT)
    writer.add_embedding_length(_HIDDEN)
    writer.add_feed_forward_length(_FEED_FORWARD)
    writer.add_head_count(_HEADS)
    writer.add_head_count_kv(_KV_HEADS)
    writer.add_rope_dimension_count(_HIDDEN // _HEADS)
    writer.add_rope_freq_base(10000.0)
    writer.add_layer_norm_rms_eps(model.config.rms_norm_eps)
    writer.add_vocab_size(len(vocabulary))
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(vocabulary)
    writer.add_token_types([TokenType.CONTROL if token in _SPECIAL else TokenType.NORMAL for token in vocabulary])
    writer.add_token_merges(merges)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_unk_token_id(0)
    writer.add_pad_token_id(2)
    writer.add_add_bos_token(False)
    writer.add_add_space_prefix(False)
    writer.add_chat_template(_TEMPLATE)
    for name, values in _gguf_tensors(model):
        writer.add_tensor(name, np.ascontiguousarray(values, dtype=np.float32))
    try:
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
    finally:
        writer.close()


def _gguf_tensors(model: Any) -> list[tuple[str, Any]]:
    """The model's tensors by llama.cpp's names and in its order of rows."""
    state = {name: tensor.detach().float().numpy() for name, tensor in model.state_dict().items()}
    found = [
        ("token_embd.weight", state["model.embed_tokens.weight"]),
        ("output_norm.weight", state["model.norm.weight"]),
    ]
    names = {
        "input_layernorm": "attn_norm",
        "self_attn.q_proj": "attn_q",
        "self_attn.k_proj": "attn_k",
        "self_attn.v_proj": "attn_v",
        "self_attn.o_proj": "attn_output",
        "post_attention_layernorm": "ffn_norm",
        "mlp.gate_proj": "ffn_gate",
        "mlp.up_proj": "ffn_up",
        "mlp.down_proj": "ffn_down",
    }
    heads = {"attn_q": _HEADS, "attn_k": _KV_HEADS}
    for layer in range(_LAYERS):
        for ours, theirs in names.items():
            values = state[f"model.layers.{layer}.{ours}.weight"]
            values = permute(values, heads[theirs]) if theirs in heads else values
            found.append((f"blk.{layer}.{theirs}.weight", values))
    return found
