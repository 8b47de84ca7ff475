"""What may be an engine of the database: its name, its address, its key."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from charkha.core.errors import Invalid
from charkha.serve.providers import domain


@pytest.mark.parametrize(
    "url",
    [
        "http://api.example.com/v1",
        "https://10.0.0.1/v1",
        "https://127.1/v1",
        "https://0x7f000001/v1",
        "https://2130706433/v1",
        "https://[::1]/v1",
        "https://[::ffff:169.254.169.254]/v1",
        "https://[64:ff9b::7f00:1]/v1",
        "https://[2002:7f00:1::]/v1",
        "https://169.254.169.254/latest",
        "https://user:password@api.example.com/v1",
        "https://api.example.com/v1?key=secret",
        "https://api.example.com/v1#there",
    ],
)
def test_addresses_that_keys_may_not_go_to_are_refused(url: str) -> None:
    with pytest.raises(Invalid) as refused:
        domain.check_url(url, ())
    assert refused.value.param == "options.url"
    assert refused.value.remedy
    assert "password" not in str(refused.value).replace("user, password", "")


@pytest.mark.parametrize("url", ["https://api.example.com/v1", "https://8.8.8.8/v1", "https://[2606:4700::1111]/v1"])
def test_public_addresses_are_not(url: str) -> None:
    domain.check_url(url, ())


@pytest.mark.parametrize("url", ["http://gpu-box:8000/v1", "https://GPU-BOX/v1", "http://10.0.0.7/v1", "http://[::1]/"])
def test_hosts_that_the_operator_allows_are_not_refused(url: str) -> None:
    domain.check_url(url, ("gpu-box", "10.0.0.7", "::1"))


@given(st.ip_addresses())
def test_no_private_address_passes_however_it_is_written(address: object) -> None:
    host = f"[{address}]" if ":" in str(address) else str(address)
    private = not domain_public(str(address))
    try:
        domain.check_url(f"https://{host}/v1", ())
    except Invalid:
        assert private
    else:
        assert not private


def domain_public(address: str) -> bool:
    from charkha.kit.egress import is_public

    return is_public(address)


@given(st.text(max_size=40))
def test_a_key_is_something_that_can_stand_in_a_header(key: str) -> None:
    try:
        domain.check_key(key)
    except Invalid as error:
        refused = str(error)
        sendable = False
    else:
        refused, sendable = "", True
    assert sendable == (len(key) >= 8 and all("!" <= each <= "~" for each in key))
    assert len(key) < 8 or key not in refused


def test_what_is_not_theirs_to_choose_is_refused() -> None:
    for options in ({"api_key_env": "AWS_SECRET"}, {"name": "other"}, {"models": {str(n): "m" for n in range(1001)}}):
        with pytest.raises(Invalid, match=r"option|models"):
            domain.check_options(options)
    for name in ("", "A", "a b", "a" * 65, "a:b", "far"):
        with pytest.raises(Invalid):
            domain.check_name(name, {"far"})
    with pytest.raises(Invalid, match="llama_cpp"):
        domain.check_plugin("llama_cpp")


@given(st.text(max_size=8), st.text(max_size=8), st.text(max_size=8), st.text(max_size=8))
def test_a_key_is_sealed_for_one_name_and_one_url(name: str, url: str, other: str, elsewhere: str) -> None:
    """Names have no colon, so no two pairs of name and URL are one context."""
    name, other = name.replace(":", ""), other.replace(":", "")
    same = (name, url) == (other, elsewhere)
    assert (domain.key_context(name, url) == domain.key_context(other, elsewhere)) == same
