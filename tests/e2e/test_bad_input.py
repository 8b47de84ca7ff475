"""Files and data that cannot be used: each gets one clear error with its remedy, and changes nothing."""

import struct
from pathlib import Path
from typing import Any

import pytest

from charkha.client import ApiError, Charkha
from charkha.testing.tiny import make_tiny_adapter, make_tiny_gguf
from tests.e2e.house import ENDPOINT, House, ask
from tests.e2e.miniature import MODEL
from tests.e2e.tiny_examples import as_json, questions

BASE = f"{MODEL}@0"


def _refused(client: Charkha, content: bytes, base: str = BASE) -> ApiError:
    before = len(client.versions.list(name="refused").data)
    with pytest.raises(ApiError) as error:
        client.adapters.upload(content, name="refused", base=base)
    assert 400 <= error.value.status < 500, error.value
    assert error.value.message.count(". ") >= 1, "what is wrong, and then what to do"
    assert len(client.versions.list(name="refused").data) == before
    return error.value


def test_hostile_adapter_files_are_refused_and_the_engine_lives(house: House, tmp_path: Path) -> None:
    task = house.running.task
    good = make_tiny_adapter(tmp_path / "good.gguf", task.model_gguf, 9, base_hash=task.base_hash).read_bytes()
    hostile = {
        "empty": b"",
        "no gguf": b"PK\x03\x04" + bytes(100),
        "cut short": good[: len(good) // 2],
        "a header alone": good[:64],
        "a flipped version": good[:4] + struct.pack("<I", 99) + good[8:],
        "more tensors than bytes": good[:8] + struct.pack("<Q", 2**62) + good[16:],
        "more keys than bytes": good[:16] + struct.pack("<Q", 2**62) + good[24:],
        "a whole model": task.model_gguf.read_bytes(),
    }
    pid = house.running.part("engine-local").pid
    with house.client() as client:
        for what, content in hostile.items():
            print(f"{what}: {_refused(client, content)}")
        assert ask(client, ENDPOINT, house.running).text
    assert house.running.part("engine-local").pid == pid


def test_an_adapter_of_another_base_is_refused(house: House, tmp_path: Path) -> None:
    other = make_tiny_gguf(tmp_path / "other.gguf", house.running.task.model_gguf, 5, layers=3, width=32)
    adapter = make_tiny_adapter(tmp_path / "other-adapter.gguf", other)
    with house.client() as client:
        _refused(client, adapter.read_bytes())
        named = make_tiny_adapter(
            tmp_path / "named.gguf", house.running.task.model_gguf, base_hash="0" * 64
        ).read_bytes()
        _refused(client, named)
        _refused(client, named, base="brought@1")  # an adapter is no base


@pytest.mark.parametrize(
    "examples",
    [
        [],
        [{"input": "only text"}],
        [{"label": "only label"}],
        [{"messages": []}],
        [{"prompt": [{"role": "user", "content": 5}], "answer": "a"}],
        ["text"],
        [None],
    ],
    ids=str,
)
def test_data_that_is_none_is_refused(house: House, examples: list[Any]) -> None:
    with house.client() as client, pytest.raises(ApiError) as error:
        client.datasets.upload("wrong", examples)
    assert 400 <= error.value.status < 500
    assert error.value.remedy


def test_one_class_cannot_be_learned(house: House) -> None:
    endpoint = house.endpoint("one-class")
    one = [example for example in questions(house.running.task) if example.label == "bird"]
    with house.client() as client:
        version = client.datasets.upload("one class", as_json(one))
        with pytest.raises(ApiError, match="nothing to tell apart") as error:
            client.runs.start(dataset_version_id=version.id, endpoint_id=client.endpoints.get(endpoint).id)
    assert error.value.status == 400


def test_the_same_key_with_other_feedback_is_a_conflict(house: House) -> None:
    with house.client() as client:
        answer = ask(client, ENDPOINT, house.running)
        about = {"inference_id": answer.inference_id, "idempotency_key": str(answer.inference_id)}
        first = client.feedback.give("score", value=0.5, **about)
        assert client.feedback.give("score", value=0.5, **about).id == first.id
        with pytest.raises(ApiError) as error:
            client.feedback.give("score", value=0.75, **about)
        assert error.value.status == 409


def test_an_invented_inference_is_unknown(house: House) -> None:
    with house.client() as client, pytest.raises(ApiError) as error:
        client.feedback.give("thumb", inference_id="01900000-0000-7000-8000-000000000000", value=True)
    assert error.value.status == 404
