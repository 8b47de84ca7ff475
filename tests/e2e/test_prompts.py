"""Prompts as people meet them: a file, tests on the real small model, an endpoint that speaks with a version."""

import time
from pathlib import Path
from uuid import UUID

from charkha.client import ApiError, Charkha
from charkha.client.types import InferenceDetail
from tests.e2e.house import House
from tests.e2e.miniature import MODEL

FILE = """\
name: e2e-greeting
messages:
- role: system
  content: Speak of {{ what }}.
variables:
- name: what
tests:
- name: says something
  variables: {what: ba}
  messages: [{role: user, content: de}]
  expect: [{max_tokens: 4}, {regex: '(?s).*'}]
- name: says the impossible
  variables: {what: ba}
  messages: [{role: user, content: de}]
  expect: [{contains: never said by anybody}]
"""


def test_a_prompt_is_made_tested_and_spoken_with(house: House, tmp_path: Path) -> None:
    file = tmp_path / "greeting.yaml"
    file.write_text(FILE)
    made = house.running.cli_json("prompts", "create", str(file))
    assert (made["newest"], made["version"]["reference"]) == (1, "e2e-greeting@1")
    tested = house.running.cli("prompts", "test", "e2e-greeting", MODEL, "--max-tokens", "4")
    assert (tested.returncode, "1 passed, 1 failed." in tested.stdout) == (1, True), tested.stdout + tested.stderr
    file.write_text(FILE.replace("Speak of", "Say"))
    assert house.running.cli_json("prompts", "new-version", "e2e-greeting", str(file))["number"] == 2
    diff = house.running.cli("prompts", "diff", "e2e-greeting", "1", "2").stdout
    assert "-Speak of {{ what }}.\n+Say {{ what }}." in diff
    refused = house.running.cli("prompts", "render", "e2e-greeting")
    assert (refused.returncode, "'what'" in refused.stderr) == (2, True)
    house.running.cli_json("endpoints", "create", "e2e-greeter", "--prompt", "e2e-greeting@1", "--max-tokens", "4")
    with house.running.client() as client:
        asked = [{"role": "user", "content": "de"}]
        answer = client.ask("e2e-greeter", asked, variables={"what": "ba"})
        kept = shipped(client, answer.inference_id)
    assert kept.request["messages"] == [{"role": "system", "content": "Speak of ba."}, *asked]
    assert str(kept.prompt_version_id) == made["version"]["id"]


def shipped(client: Charkha, inference_id: UUID) -> InferenceDetail:
    """An inference, once the log has it."""
    deadline = time.monotonic() + 20
    while True:
        try:
            return client.inferences.get(inference_id)
        except ApiError as error:
            if error.status != 404 or time.monotonic() > deadline:
                raise
            time.sleep(0.1)
