# Written by scripts/unasync.py from the asynchronous module beside it; do not edit.
"""The installation itself, for those who run it: what the doctor finds, its settings, its backups."""

from charkha.client import operating
from charkha.client._sync.resources import Resource


class System(Resource):
    """One installation. All but `doctor` need a key that may `system.manage`."""

    def doctor(self) -> list[operating.Finding]:
        """What is wrong and what to do about it; paths are told to those who may `system.manage`."""
        return self._get("/doctor", list[operating.Finding])

    def settings(self) -> list[operating.Setting]:
        """Every setting in force; secrets are told as "set"."""
        return self._get("/settings", list[operating.Setting])

    def backups(self) -> list[operating.Backup]:
        """Backups in the installation's own folder, newest first, with one that is being made."""
        return self._get("/backups", list[operating.Backup])

    def back_up(self) -> operating.BackupStarted:
        """Begin a backup; `backups` tells how far it is. ApiError 409 while another is being made."""
        return self._post("/backups", operating.BackupStarted, None)

    def verify(self, name: str) -> operating.Backup:
        """Check every file of a backup against its checksum; `verified` and `error` tell what was found.

        It reads the whole file before it answers: give the client the `timeout` that a large one needs.
        """
        return self._post(f"/backups/{name}/verify", operating.Backup, None)
