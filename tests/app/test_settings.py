"""Settings: who wins, and that each error names its key and its remedy."""

import os
from pathlib import Path

import pytest

from charkha.app.settings import FILE_NAME, Settings, config_path, environment_name, load
from charkha.app.settings_table import MASK, describe
from charkha.core.errors import Misconfigured


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in list(os.environ):
        if name.startswith("CHARKHA_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("CHARKHA_HOME", str(tmp_path))
    return tmp_path


def write(home: Path, text: str) -> None:
    (home / FILE_NAME).write_text(text)


def test_defaults_are_safe(home: Path) -> None:
    settings = load()
    assert (settings.home, settings.host, settings.port) == (home, "127.0.0.1", 8420)
    assert settings.embedded_database
    assert settings.engines["local"].plugin == "llama_cpp"


def test_an_option_beats_the_environment_which_beats_the_file(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(home, "port = 1\napi_processes = 2\nlog_level = 'debug'\n[limits]\nmax_body_bytes = 2048\n")
    monkeypatch.setenv("CHARKHA_PORT", "3")
    monkeypatch.setenv("CHARKHA_API_PROCESSES", "4")
    monkeypatch.setenv("CHARKHA_LIMITS__REQUEST_SECONDS", "7.5")
    settings = load(port=5, host=None)
    assert (settings.port, settings.api_processes, settings.log_level) == (5, 4, "debug")
    assert (settings.limits.max_body_bytes, settings.limits.request_seconds) == (2048, 7.5)


def test_engines_carry_their_own_options(home: Path) -> None:
    write(home, "[engines.far]\nplugin = 'openai'\nurl = 'https://x'\napi_key = 'sk-abc'\n")
    far = load().engines["far"]
    assert (far.plugin, far.options) == ("openai", {"url": "https://x", "api_key": "sk-abc"})


def test_words_are_separated_by_commas_in_the_environment(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHARKHA_ALLOWED_HOSTS", "a.example, b.example")
    assert load().allowed_hosts == ("a.example", "b.example")
    monkeypatch.delenv("CHARKHA_ALLOWED_HOSTS")
    write(home, "allowed_hosts = ['c.example']")
    assert load().allowed_hosts == ("c.example",)


@pytest.mark.parametrize(
    ("text", "param", "words"),
    [
        ("port = 99999", "port", "less than or equal to 65535"),
        ("port = 'many'", "port", "CHARKHA_PORT"),
        ("prot = 8000", "prot", "did you mean port?"),
        ("[limits]\nmax_body_byte = 1", "limits.max_body_byte", "did you mean max_body_bytes?"),
        ("[limits]\nmax_body_bytes = 1", "limits.max_body_bytes", "CHARKHA_LIMITS__MAX_BODY_BYTES"),
        ("[engines.x]\nurl = 'y'", "engines.x.plugin", "required"),
        ("[rollout]\nsteps = [50, 10, 100]", "rollout.steps", "must rise"),
        ("[rollout]\nsteps = [1, 10]", "rollout.steps", "must rise"),
        ("database_url = 'mysql://x'", "database_url", "must begin with postgresql://"),
        ("tls_cert = '/no/such/file'", "tls_cert", "cannot be read"),
        ("migration_url = 'postgresql://x'", None, "set both or neither"),
        ("host = '0.0.0.0'", None, "behind_proxy"),
        ("host = 'example.com'", None, "not a loopback address"),
        ("port = ", None, "is not TOML"),
    ],
)
def test_an_error_names_the_key_and_the_remedy(home: Path, text: str, param: str | None, words: str) -> None:
    write(home, text)
    with pytest.raises(Misconfigured, match=words.replace("?", r"\?")) as caught:
        load()
    assert caught.value.param == param
    assert str(home / FILE_NAME) in str(caught.value)
    assert caught.value.remedy


def test_environment_that_is_not_json_is_told_by_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHARKHA_ENGINES", "{not json")
    with pytest.raises(Misconfigured, match="engines"):
        load()


def test_a_named_file_must_be_there(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHARKHA_CONFIG", str(home / "absent.toml"))
    with pytest.raises(Misconfigured, match=r"absent\.toml does not exist"):
        load()


def test_errors_never_show_a_value(home: Path) -> None:
    write(home, "database_url = 'mysql://u:hunter2@h/d'\nport = 'hunter2'")
    with pytest.raises(Misconfigured) as caught:
        load()
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1.2.3", "::1", "localhost"])
def test_loopback_needs_no_tls(host: str) -> None:
    assert load(host=host).host == host


def test_a_wide_bind_is_allowed_behind_a_proxy_or_with_tls(home: Path) -> None:
    assert load(host="0.0.0.0", behind_proxy=True).behind_proxy
    for name in ("cert.pem", "key.pem"):
        (home / name).write_text("x")
    assert load(host="0.0.0.0", tls_cert=home / "cert.pem", tls_key=home / "key.pem").tls_cert


def test_homes_follow_the_conventions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CHARKHA_HOME")
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setenv("XDG_DATA_HOME", "/data")
    assert load().home == Path("/data/charkha")
    assert config_path() == Path("/data/charkha/charkha.toml")
    monkeypatch.delenv("XDG_DATA_HOME")
    assert load().home == Path("~/.local/share/charkha").expanduser()
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert load().home == Path("/var/lib/charkha/home")


def test_the_table_explains_each_key_and_masks_secrets(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(
        home,
        "database_url = 'postgresql://charkha:hunter2@db/charkha'\n"
        "[engines.far]\nplugin = 'openai'\napi_key = 'hunter2'\n[training]\nnice = 3\n",
    )
    monkeypatch.setenv("CHARKHA_LIMITS__REQUEST_SECONDS", "9")
    rows = {row.key: row for row in describe(load(port=1))}
    assert "hunter2" not in str(rows)
    assert rows["database_url"].value == f"postgresql://charkha:{MASK}@db/charkha"
    assert rows["engines"].value == f"{{far: {{plugin: openai, api_key: {MASK}}}}}"
    sources = {key: row.source for key, row in rows.items()}
    assert sources["port"] == "option"
    assert sources["training.nice"] == sources["engines"] == "file"
    assert sources["limits.request_seconds"] == "CHARKHA_LIMITS__REQUEST_SECONDS"
    assert sources["host"] == sources["limits.max_body_bytes"] == "default"
    assert all(row.description and row.variable == environment_name(row.key) for row in rows.values())


def test_the_table_tells_who_won(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(home, "port = 1\nhost = 'localhost'\nlog_level = 'debug'")
    monkeypatch.setenv("CHARKHA_PORT", "2")
    monkeypatch.setenv("CHARKHA_HOST", "::1")
    rows = {row.key: row for row in describe(load(port=3))}
    told = {key: (rows[key].value, rows[key].source, rows[key].default) for key in ("port", "host", "log_level")}
    assert told == {
        "port": ("3", "option", "8420"),
        "host": ("::1", "CHARKHA_HOST", "127.0.0.1"),
        "log_level": ("debug", "file", "info"),
    }


def test_secrets_are_masked_wherever_they_stand(home: Path) -> None:
    write(
        home,
        "database_url = 'postgresql://charkha@db/charkha?password=hunter2&sslmode=require'\n"
        "[engines.far]\nplugin = 'openai'\nurl = 'https://u:hunter2@x/?api_token=hunter2'\n"
        "headers = {Authorization = 'hunter2', secrets = {a = ['hunter2']}}\n",
    )
    for mask in (MASK, "set"):
        rows = {row.key: row for row in describe(load(), mask)}
        assert "hunter2" not in str(rows)
        assert rows["database_url"].value == f"postgresql://charkha@db/charkha?password={MASK}&sslmode=require"
        assert f"Authorization: {mask}" in rows["engines"].value


def test_secrets_are_not_in_the_representation(home: Path) -> None:
    write(
        home,
        "database_url = 'postgresql://charkha:hunter2@db/charkha'\n"
        "[engines.far]\nplugin = 'openai'\napi_key = 'hunter2'",
    )
    assert "hunter2" not in repr(load())


def test_settings_cannot_be_changed_in_passing() -> None:
    with pytest.raises(ValueError, match="frozen"):
        load().port = 1  # type: ignore[misc]
    assert isinstance(load(), Settings)
