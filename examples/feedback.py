"""Ask an endpoint, say whether the answer was right, and see what the log knows of it.

    CHARKHA_API_KEY=charkha_sk_... python examples/feedback.py ENDPOINT

ENDPOINT is a name of `charkha endpoints list`; `charkha spin` makes one. A thumb up says that an answer was right, a
correction says what it should have been; both together are what the next version learns from.
"""

import sys
import time

from charkha.client import ApiError, Charkha
from charkha.client.types import InferenceDetail

QUESTION = "A game in which you steer a small ship between falling rocks, in the manner of the arcades."
WANTED = "games"


def logged(client: Charkha, inference_id: object) -> InferenceDetail:
    """The inference, once it has been shipped to the log: that takes a fraction of a second."""
    for _ in range(20):
        try:
            return client.inferences.get(str(inference_id))
        except ApiError as error:
            if error.status != 404:
                raise
            time.sleep(0.25)
    raise SystemExit("The inference did not reach the log; see `charkha doctor`.")


def main(endpoint: str) -> None:
    """One question, one judgement."""
    with Charkha() as client:
        answer = client.ask(endpoint, [{"role": "user", "content": QUESTION}], unit="example-user")
        print(f"{answer.inference_id}: {answer.text!r}")
        if answer.text.strip().lower() == WANTED:
            given = client.feedback.give("thumb", inference_id=answer.inference_id, value=True)
        else:
            given = client.feedback.give("correction", inference_id=answer.inference_id, text=WANTED)
        print(f"Gave a {given.kind}.")
        told = logged(client, answer.inference_id)
        print(f"Answered in {told.duration_ms:.0f} ms by version {told.version_id}, status {told.status}.")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        raise SystemExit(__doc__)
    main(sys.argv[1])
