"""`python -m charkha.app.backup_check FILE`: check a backup, and report one line of JSON on what was found.

Boundary: reads that one file and needs neither settings nor secrets. The report is `{"event": "checked", "files": N,
"error": …, "remedy": …}`; `error` is null where every checksum is right.
"""

import sys
from pathlib import Path

import msgspec

from charkha.app.backup import verify
from charkha.core.errors import Invalid


def main() -> int:
    """Check the file that is named; 0 if it is whole, 1 if it is damaged."""
    report: dict[str, object] = {"event": "checked", "files": 0, "error": None, "remedy": None}
    try:
        report["files"] = len(verify(Path(sys.argv[1]), lambda _: None)["sha256"])
    except Invalid as error:
        report |= {"error": error.message, "remedy": error.remedy}
    sys.stdout.buffer.write(msgspec.json.encode(report) + b"\n")
    return 1 if report["error"] else 0


if __name__ == "__main__":
    sys.exit(main())
