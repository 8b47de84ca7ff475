"""The official `openai` client against the running installation: every operation, and every way to ask wrongly."""

from collections.abc import Iterator

import httpx
import openai
import pytest

from tests.e2e.house import ENDPOINT, House
from tests.e2e.miniature import MODEL
from tests.e2e.tiny_examples import questions

HELLO = [{"role": "user", "content": "ba de ki"}]


@pytest.fixture
def client(house: House) -> Iterator[openai.OpenAI]:
    with official(house, house.keys["developer"]) as made:
        yield made


def official(house: House, key: str) -> openai.OpenAI:
    """The official client, as the welcome of `up` shows it; errors are not tried again."""
    http = httpx.Client(trust_env=False, timeout=60)
    return openai.OpenAI(base_url=f"{house.running.url}/v1", api_key=key, max_retries=0, http_client=http)


def test_models_are_the_base_and_the_endpoints(client: openai.OpenAI) -> None:
    names = [model.id for model in client.models.list()]
    assert {MODEL, ENDPOINT} <= set(names)
    assert client.models.retrieve(ENDPOINT).id == ENDPOINT


def test_an_endpoint_answers_as_its_model_was_taught(house: House, client: openai.OpenAI) -> None:
    question = questions(house.running.task)[0].prompt[0].content
    answer = client.chat.completions.create(model=ENDPOINT, messages=[{"role": "user", "content": question}])
    assert (answer.model, answer.choices[0].finish_reason) == (ENDPOINT, "stop")
    assert answer.choices[0].message.content in house.running.task.labels
    assert answer.usage is not None
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens


def test_a_stream_is_the_answer_in_pieces(client: openai.OpenAI) -> None:
    asked = {"model": MODEL, "messages": HELLO, "temperature": 0, "max_tokens": 24}
    whole = client.chat.completions.create(**asked)  # type: ignore[call-overload]
    options = {"include_usage": True}
    chunks = list(client.chat.completions.create(**asked, stream=True, stream_options=options))  # type: ignore[call-overload]
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert text == whole.choices[0].message.content
    assert len({chunk.id for chunk in chunks}) == 1
    assert chunks[-1].usage.completion_tokens == whole.usage.completion_tokens


def test_completions_and_embeddings(client: openai.OpenAI) -> None:
    completion = client.completions.create(model=MODEL, prompt="ba de", max_tokens=4)
    assert completion.choices[0].text is not None
    one, two = client.embeddings.create(model=MODEL, input=["ba de", "ki lo"]).data
    assert len(one.embedding) == len(two.embedding) > 0
    assert one.embedding != two.embedding


def test_a_key_that_is_none_is_refused(house: House) -> None:
    with official(house, "sk-nothing") as nobody, pytest.raises(openai.AuthenticationError):
        nobody.models.list()


def test_a_viewer_asks_nothing(house: House) -> None:
    with official(house, house.keys["viewer"]) as viewer, pytest.raises(openai.PermissionDeniedError):
        viewer.chat.completions.create(model=MODEL, messages=HELLO)  # type: ignore[arg-type]


def test_an_unknown_model_is_not_found(client: openai.OpenAI) -> None:
    with pytest.raises(openai.NotFoundError) as error:
        client.chat.completions.create(model="gpt-99", messages=HELLO)  # type: ignore[arg-type]
    assert (error.value.code, error.value.param) == ("model_not_found", "model")


@pytest.mark.parametrize(
    "wrong",
    [
        {"messages": "hello"},
        {"messages": []},
        {"messages": [{"role": "user"}]},
        {"messages": [{"role": "wizard", "content": "a"}]},
        {"messages": [None]},
        {"temperature": "hot"},
        {"temperature": -1},
        {"temperature": 1e9},
        {"max_tokens": -5},
        {"max_tokens": 10**12},
        {"n": 10**6},
        {"stream": "yes"},
        {"stop": [["a"]]},
        {"seed": "x"},
        {"model": 7},
        {"model": "x" * 10_000},
        {"messages": [{"role": "user", "content": "a " * 200_000}]},
    ],
    ids=lambda wrong: f"{next(iter(wrong))}={str(next(iter(wrong.values())))[:24]}",
)
def test_wrong_values_are_told_as_openai_tells_them(house: House, wrong: dict[str, object]) -> None:
    with house.http("developer") as http:
        answer = http.post("/v1/chat/completions", json={"model": MODEL, "messages": HELLO} | wrong)
        assert answer.status_code in (400, 404, 413, 422), answer.text
        error = answer.json()["error"]
        assert error["message"]
        assert set(error) >= {"message", "type", "param", "code"}


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b"null", b"\xff", b"[" * 100_000, b'{"model": "tiny", "messages": "\\ud800"}']
)
def test_bodies_that_are_no_request_are_told_so(house: House, body: bytes) -> None:
    with house.http("developer") as http:
        answer = http.post("/v1/chat/completions", content=body)
        assert answer.status_code == 400, answer.text
        assert answer.json()["error"]["message"]


def test_a_body_beyond_the_cap_is_refused(house: House) -> None:
    with house.http("developer") as http:
        answer = http.post("/v1/chat/completions", content=b" " * (9 * 2**20))
        assert answer.status_code == 413
        assert answer.json()["error"]["code"] == "too_large"
