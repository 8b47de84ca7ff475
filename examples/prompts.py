"""A prompt with two versions: compared, tested, and spoken with by an endpoint that gets values.

    CHARKHA_API_KEY=charkha_sk_... python examples/prompts.py [MODEL]

MODEL is a base model, by default the embedded one. Run it again: it adds a version each time.
"""

import sys
from uuid import uuid4

from charkha.client import ApiError, Charkha

model = sys.argv[1] if len(sys.argv) > 1 else "smollm2-135m-instruct"
BRIEF = [{"role": "system", "content": "You are {{ who }}. Answer in one short sentence."}]
LOUD = [{"role": "system", "content": "You are {{ who }}. Answer in one short sentence, in {{ tone }}."}]
QUESTION = [{"role": "user", "content": "What do you do all day?"}]

with Charkha() as client:
    try:
        client.prompts.create("example", BRIEF, note="The first.")
    except ApiError as error:
        if error.status != 409:  # it is there already: then this run only adds to it
            raise
    tones = [{"name": "who"}, {"name": "tone", "default": "capital letters"}]
    newest = client.prompts.add_version("example", LOUD, variables=tones, note="With a tone.")
    for message in client.prompts.diff("example", 1, newest.number).messages:
        print(f"{message.role}, {message.change}:\n{message.unified}\n")

    expected = [{"max_tokens": 60}, {"regex": "[A-Za-z]"}]
    client.prompts.set_tests(
        "example",
        [{"name": "says something", "variables": {"who": "a weaver"}, "messages": QUESTION, "expect": expected}],
    )
    run = client.prompts.test("example", newest.number, model, max_tokens=60)
    for result in run.results:
        print(f"{result.name}: {'passed' if result.passed else result.reasons}\n{result.answer}\n")

    name = f"example-{uuid4().hex[:6]}"
    client.endpoints.create(name, variant={"model": model, "prompt": newest.reference})
    answer = client.ask(name, QUESTION, max_tokens=40, variables={"who": "a shepherd", "tone": "rhymes"})
    print(f"{name} speaks with {newest.reference}: {answer.text}")
