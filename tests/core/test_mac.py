"""HMACs with a prepared key."""

import hmac

from hypothesis import given
from hypothesis import strategies as st

from charkha.core.mac import Mac


@given(key=st.binary(max_size=200), messages=st.lists(st.binary(max_size=300), max_size=4))
def test_it_is_the_librarys_hmac(key: bytes, messages: list[bytes]) -> None:
    made = Mac(key)
    assert [made(message) for message in messages] == [hmac.digest(key, message, "sha256") for message in messages]
