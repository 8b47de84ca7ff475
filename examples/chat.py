"""Call Charkha with the official OpenAI client: a whole answer, then one as it is written.

    CHARKHA_API_KEY=charkha_sk_... python examples/chat.py [MODEL]

MODEL is an endpoint, a version such as task@live, or the embedded model. Needs: pip install openai
"""

import os
import sys

from openai import OpenAI

url = os.environ.get("CHARKHA_URL", "http://127.0.0.1:8420")
client = OpenAI(base_url=f"{url}/v1", api_key=os.environ["CHARKHA_API_KEY"])
model = sys.argv[1] if len(sys.argv) > 1 else "smollm2-135m-instruct"

print("Models:", ", ".join(each.id for each in client.models.list()))

answer = client.chat.completions.create(
    model=model,
    messages=[{"role": "user", "content": "Name three things that spin."}],
    max_tokens=48,
)
print(f"\n{answer.id}: {answer.choices[0].message.content}\n")

stream = client.chat.completions.create(
    model=model,
    messages=[{"role": "user", "content": "What does a spinning wheel do?"}],
    max_tokens=64,
    stream=True,
    stream_options={"include_usage": True},
    extra_headers={"x-charkha-unit": "example-user"},  # who keeps the variant that they were given
)
for chunk in stream:
    if chunk.choices:
        print(chunk.choices[0].delta.content or "", end="", flush=True)
    if chunk.usage:
        print(f"\n\n{chunk.usage.prompt_tokens} tokens read, {chunk.usage.completion_tokens} written.")
