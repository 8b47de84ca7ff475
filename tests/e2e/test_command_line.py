"""The command line as a stranger meets it: help, keys, lists, errors with their exit statuses, and two `up` at once."""

import hashlib
import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from uuid import uuid4

import pytest

from charkha.testing.tiny_training import TinyTask
from tests.e2e.house import ENDPOINT, House
from tests.e2e.miniature import MODEL, miniature

LISTS = ("endpoints", "adapters", "inferences", "feedback", "datasets", "runs", "suites", "evaluations")
LISTS += ("versions", "releases", "keys", "sessions", "workspaces", "prompts")


def test_help_names_every_command_without_loading_it(house: House) -> None:
    done = house.running.cli("--help")
    assert done.returncode == 0
    assert all(name in done.stdout for name in (*LISTS, "up", "down", "status", "spin", "rollback", "backup", "doctor"))
    program = "import sys, charkha.app.cli.main; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert not {"torch", "sqlalchemy", "fastapi", "aiohttp"} & set(loaded.split())


@pytest.mark.parametrize("thing", LISTS)
def test_every_list_is_json_for_programs(house: House, thing: str) -> None:
    found = house.running.cli_json(thing, "list")
    assert isinstance(found if thing == "workspaces" else found["data"], list)


def test_status_tells_parts_and_gateways(house: House) -> None:
    told = house.running.cli_json("status")
    assert told["ready"]
    assert {part["name"] for part in told["parts"]} >= {
        "postgres",
        "api-0",
        "api-1",
        "worker",
        "console",
        "shipper",
        "engine-local",
    }
    assert len(told["service"]["gateways"]) == 3  # two gateways, and the console, whose playground asks for itself


def test_a_key_for_a_new_workspace_is_one_command(house: House) -> None:
    made = house.running.cli_json("keys", "create", "--workspace", "made-by-cli")
    with house.running.client(made["key"]) as client:
        assert client.endpoints.list().data == []
        assert client.ask(MODEL, [{"role": "user", "content": "ba de"}], max_tokens=4).inference_id


def test_a_link_into_the_console_is_one_command(house: House) -> None:
    printed, told = house.running.cli("console"), house.running.cli_json("console")
    assert printed.returncode == 0, printed.stderr
    for url in (printed.stdout.strip(), told["url"]):
        assert url.startswith(f"{house.running.url}/console/sign-in#charkha_link_")
    assert "once, within 15 minutes" in printed.stderr
    ended = house.running.cli("sessions", "revoke", str(uuid4()))
    assert (ended.returncode, "charkha sessions list" in ended.stderr) == (4, True)
    actions = [row["action"] for row in house.running.cli_json("audit", "--action", "session.link_created")["data"]]
    assert len(actions) >= 2


def test_lists_are_narrowed(house: House) -> None:
    things = house.things
    inference, run = things["inference"], things["run_id"]

    def ids(*words: str) -> list[str]:
        return [row["id"] for row in house.running.cli_json(*words, "--limit", "500")["data"]]

    about = ("inferences", "list", "--endpoint", ENDPOINT)
    assert inference in ids(*about, "--status", "200", "--not-failed", "--min-duration-ms", "0")
    assert (
        ids(*about, "--failed") == ids(*about, "--error-code", "none") == ids(*about, "--search", "no such text") == []
    )
    assert ids("feedback", "list", "--inference-id", inference, "--kind", "thumb") == [things["feedback_id"]]
    assert ids("feedback", "list", "--until", "2020-01-01T00:00:00Z") == []
    assert run in ids("runs", "list", "--dataset-version-id", things["version_id"], "--status", "cancelled")
    assert ids("runs", "list", "--status", "succeeded", "--dataset-version-id", things["dataset_id"]) == []
    assert things["evaluation_id"] in ids("evaluations", "list", "--suite-id", things["suite_id"])
    assert len(ids("versions", "list", "--search", "brough")) >= 3
    assert ids("versions", "list", "--search", "rought") == []
    assert ids("releases", "list", "--candidate", "brought@2") == [things["release_id"]]
    actions = house.running.cli_json("audit", "--target-kind", "run", "--target-id", run)["data"]
    assert {row["action"] for row in actions} == {"run.requested", "run.cancelled"}
    assert house.running.cli("runs", "log", run).returncode == 0
    assert house.running.cli("runs", "log", things["suite_id"]).returncode == 4


def test_a_data_set_comes_out_as_it_went_in(house: House, tmp_path: Path) -> None:
    file, version_id = tmp_path / "out.jsonl", house.things["version_id"]
    assert house.running.cli("datasets", "export", version_id, str(file)).returncode == 0
    with house.client() as client:
        version = client.datasets.version(version_id)
        assert hashlib.sha256(file.read_bytes()).hexdigest() == version.digest
        found = client.datasets.get(version.dataset_id)
        assert (found.newest_version_id, found.examples) == (version.id, version.examples)
        assert found in client.datasets.list(q="LESSON").data
        first = client.datasets.examples(version.id, limit=1)[0]
        assert first in client.datasets.examples(version.id, q=first["answer"].upper(), limit=1000)
        assert client.datasets.examples(version.id, q="nobody says this") == []
        suites = client.suites.list().data
        kept = client.suites.list(dataset_version_id=suites[0].dataset_version_id).data
        assert suites[0] in kept
        assert client.suites.list(dataset_version_id=version.id).data == []
    assert house.running.cli("datasets", "export", house.things["suite_id"], "-").returncode == 4


def test_the_client_tells_histories(house: House) -> None:
    with house.client() as client:
        told = client.lineage.of("inference", house.things["inference"], depth=2)
        assert [(each.kind, each.id) for each in told.made] == [("feedback", house.things["feedback_id"])]
        assert sum(point.count for point in client.feedback.trend(bucket="hour")) >= 1
        assert client.runs.log(house.things["run_id"]).next is None
        assert client.policies.get(house.things["endpoint_id"]).lessons_waiting == 1
        found = client.inferences.list(failed=False, q="e", model=ENDPOINT)
        assert house.things["inference"] in {str(row.id) for row in found.data}


def test_an_endpoint_by_hand_and_a_question_to_it(house: House) -> None:
    made = house.running.cli_json("endpoints", "create", "by-hand", "--model", MODEL, "--max-tokens", "4")
    plain = house.running.cli_json("endpoints", "create", "plain")
    assert (made["name"], plain["name"]) == ("by-hand", "plain")
    answer = house.running.cli_json("chat", "plain", "ba de ki", "--max-tokens", "4")
    assert answer["inference_id"]
    assert house.running.cli_json("endpoints", "show", "by-hand")["variants"][0]["parameters"] == {"max_tokens": 4}


@pytest.mark.parametrize(
    ("words", "status", "told"),
    [
        (("frobnicate",), 2, "No such command"),
        (("endpoints", "show", "nowhere"), 4, "no endpoint"),
        (("runs", "show", "not-an-id"), 2, ""),
        (("versions", "show", "brought@999"), 4, "no version"),
        (("rollback", "nowhere"), 4, "no endpoint"),
        (("endpoints", "create", ENDPOINT, "--model", MODEL), 5, "already"),
        (("endpoints", "create", "new", "--model", "gpt-99"), 2, "gpt-99"),
        (("restore", "/nowhere.backup"), 2, "does not exist"),
        (("keys", "create", "--role", "king"), 2, "king"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else None,
)
def test_errors_are_one_message_and_an_exit_status(
    house: House, words: tuple[str, ...], status: int, told: str
) -> None:
    done = house.running.cli(*words)
    assert done.returncode == status, done.stderr
    assert told in done.stderr
    assert "Traceback" not in done.stderr


def test_a_wrong_key_and_an_empty_home_are_told(house: House) -> None:
    wrong = house.running.cli("endpoints", "list", env={"CHARKHA_API_KEY": "sk-wrong"})
    assert (wrong.returncode, "Traceback" in wrong.stderr) == (3, False)
    empty = house.running.cli("endpoints", "list", env={"CHARKHA_HOME": str(house.running.home.parent / "nothing")})
    assert empty.returncode == 6
    assert "charkha up" in empty.stderr
    status = house.running.cli("status", "--json", env={"CHARKHA_HOME": str(house.running.home.parent / "nothing")})
    assert (status.returncode, json.loads(status.stdout)["running"]) == (6, False)


def test_a_second_up_on_one_directory_is_refused(house: House) -> None:
    pid = house.running.state().pid  # type: ignore[union-attr]
    for words in (("up", "--port", "0"), ("up", "--detach", "--port", "0")):
        done = house.running.cli(*words)
        assert done.returncode in (5, 6), done.stderr
        assert f"already runs in {house.running.home} (process {pid})" in done.stderr
        assert "CHARKHA_HOME" in done.stderr
    assert house.running.state().ready  # type: ignore[union-attr]
    with house.client() as client:
        assert client.status()["gateways"]


def test_a_taken_port_is_told_before_anything_starts(tiny_task: TinyTask) -> None:
    with miniature(tiny_task) as other, socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        for done in (other.cli("up", "--port", port), other.cli("up", env={"CHARKHA_PORT": port})):
            assert done.returncode == 5, done.stderr
            assert f"Port {port} on 127.0.0.1 is taken" in done.stderr
            assert "CHARKHA_PORT" in done.stderr
        assert not (other.home / "postgres").exists()


@pytest.mark.parametrize("settings", ["prot = 1\n", "port = 99999\n", "port =\n", 'host = "0.0.0.0"\n'])
def test_wrong_settings_name_the_key_and_the_remedy(tiny_task: TinyTask, settings: str) -> None:
    with miniature(tiny_task) as other:
        (other.home / "charkha.toml").write_text(settings)
        done = other.cli("up")
        assert done.returncode == 7, done.stderr
        assert "Traceback" not in done.stderr
        assert os.fspath(other.home / "charkha.toml") in done.stderr
