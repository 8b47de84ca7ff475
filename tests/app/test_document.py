"""The OpenAPI document: it tells of every route, the models' among them, in the words that the routes go by."""

from fastapi import FastAPI

from charkha.app import document
from charkha.serve import described
from charkha.serve.dialects import anthropic, openai, responses
from charkha.serve.gateway import COUNT_TOKENS, MODELS, SURFACES


def test_what_a_request_may_hold_is_what_is_checked() -> None:
    assert set(described.CHAT) == set(openai._KNOWN["chat"])
    assert set(described.COMPLETION) == set(openai._KNOWN["completion"])
    assert set(described.EMBEDDING) == set(openai._KNOWN["embedding"])
    assert set(described.MESSAGE) == set(anthropic._KNOWN)
    assert set(described.PROMPT) == set(anthropic._PROMPT)
    assert set(described.RESPONSE) == set(responses._KNOWN)


def test_every_route_of_the_gateway_is_described() -> None:
    assert set(described.paths()) == {*SURFACES, COUNT_TOKENS, MODELS, f"{MODELS}/{{model}}"}


def test_errors_and_the_key_are_described_as_they_are() -> None:
    app = FastAPI()

    @app.get("/things/{number}")
    async def thing(number: int) -> int:
        """A thing."""
        return number

    document.install(app)
    told = app.openapi()
    assert told is app.openapi()
    operation = told["paths"]["/things/{number}"]["get"]
    assert set(operation["responses"]) == {"200", "default"}
    assert set(told["components"]["schemas"]) == {"Error"}
    assert told["security"] == [{"key": []}]
