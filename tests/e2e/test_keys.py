"""A revoked key is refused by every gateway process, and so is one that has expired."""

import time

import httpx

from tests.e2e.house import House


def _statuses(house: House, key: str, times: int) -> set[int]:
    """What so many requests on connections of their own, to whichever process takes them, are answered."""
    headers = {"authorization": f"Bearer {key}"}
    url = f"{house.running.url}/v1/models"
    return {httpx.get(url, headers=headers, trust_env=False).status_code for _ in range(times)}


def test_a_revoked_key_is_refused_everywhere_when_that_is_answered(house: House) -> None:
    with house.client("admin") as client:
        for _ in range(3):
            made = client.keys.create("short-lived", role="developer")
            assert _statuses(house, made.key, 8) == {200}, "every gateway takes it when it was made"
            began = time.perf_counter()
            answer = client.keys.revoke(made.id)
            seconds = time.perf_counter() - began
            assert len({gateway["pid"] for gateway in answer["gateways"]}) == 3  # two gateways and the console
            assert _statuses(house, made.key, 20) == {401}
            print(f"\n[e2e] a key was refused by both gateways {1000 * seconds:.0f} ms after it was revoked")


def test_an_expired_key_is_refused(house: House) -> None:
    with house.client("admin") as client:
        made = client.keys.create("brief", role="developer", days=1 / 86_400)
    time.sleep(1.1)
    assert _statuses(house, made.key, 8) == {401}


def test_a_key_makes_no_key_that_may_more(house: House) -> None:
    with house.http("admin") as http:
        answer = http.post("/keys", json={"name": "more", "role": "owner"})
        assert answer.status_code == 403, answer.text
