"""`charkha backup` of a running installation, `charkha restore` into an empty home, and that one serves the same.

Then its supervisor is killed with -9: the locks that it leaves are stale, and the next `up` passes over them.
"""

from pathlib import Path
from typing import Any

from charkha.client import Charkha
from tests.e2e.house import ENDPOINT, House, ask
from tests.e2e.miniature import Miniature, miniature


def _everything(client: Charkha) -> dict[str, Any]:
    """What a workspace holds, as its key sees it."""
    return {
        "versions": client.versions.list(limit=500).data,
        "adapters": [each.version for each in client.adapters.list(limit=500).data],
        "keys": client.keys.list(limit=500).data,
        "feedback": client.feedback.list(limit=500).data,
        "datasets": client.datasets.list(limit=500).data,
        "endpoints": client.endpoints.list(limit=500).data,
        "releases": [(each.id, each.status, each.share) for each in client.releases.list(limit=500).data],
    }


def test_a_restored_home_serves_the_same(house: House, tmp_path: Path) -> None:
    name = house.endpoint("kept")
    file = tmp_path / "all.backup"
    with house.client("admin") as client:
        client.endpoints.blend(name, [{"version": "brought@2"}])
        answer = ask(client, name, house.running)
        feedback = client.feedback.give("comment", inference_id=answer.inference_id, text="kept")
        before = _everything(client)
        assert house.running.cli_json("backup", str(file))["bytes"] == file.stat().st_size
    assert file.stat().st_mode & 0o077 == 0, "a backup opens everything"
    assert house.running.cli("backup", str(file)).returncode == 5, "a backup overwrites nothing"
    with miniature(house.running.task) as other:
        other.cli_json("restore", str(file))
        assert other.cli("restore", str(file)).returncode == 5, "the home is not empty any more"
        for kill in (False, True):
            other.start()
            with other.client(house.keys["admin"]) as client:
                assert _everything(client) == before
                assert client.inferences.get(answer.inference_id).answer == answer.text
                assert feedback.id in {each.id for each in client.feedback.list(limit=500).data}
                assert ask(client, name, other).text == answer.text, "the adapter answers"
                assert ask(client, ENDPOINT, other).text
            if not kill:
                other.kill()


def test_a_damaged_backup_is_refused(house: House, tmp_path: Path) -> None:
    file = tmp_path / "damaged.backup"
    house.running.cli_json("backup", str(file))
    content = bytearray(file.read_bytes())
    place = content.index(b"blobs/") + 2000
    content[place] ^= 1
    file.write_bytes(content)
    with miniature(house.running.task) as other:
        done = other.cli("restore", str(file))
        assert done.returncode != 0
        assert "damaged" in done.stderr or "Bad CRC" in done.stderr
        assert "Traceback" not in done.stderr
        assert not _lives(other)


def _lives(other: Miniature) -> bool:
    return other.state() is not None
