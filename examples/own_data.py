"""Turn the wheel on a table of your own: CSV in, JSON lines out, and `charkha spin` on them.

    python examples/own_data.py TABLE.csv --text COLUMN --label COLUMN

Needs a running Charkha (`charkha up --detach`), and at least 15 different texts of each of two classes or more.
"""

import argparse
import csv
import json
from collections import Counter
from pathlib import Path

from charkha.app.cli import main as charkha


def convert(table: Path, text: str, label: str) -> Path:
    """Write `table`.jsonl beside the table; rows without a text or a label are left out."""
    with table.open(newline="", encoding="utf-8-sig") as file:
        rows = [(row[text].strip(), row[label].strip()) for row in csv.DictReader(file)]
    kept = [(said, wanted) for said, wanted in rows if said and wanted]
    target = table.with_suffix(".jsonl")
    target.write_text("".join(json.dumps({"input": said, "label": wanted}) + "\n" for said, wanted in kept))
    print(f"{target}: {len(kept)} of {len(rows)} rows, {dict(Counter(wanted for _, wanted in kept))}")
    return target


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("table", type=Path)
    parser.add_argument("--text", required=True, help="the column of the texts")
    parser.add_argument("--label", required=True, help="the column of their classes")
    given = parser.parse_args()
    charkha(["spin", "--dataset", str(convert(given.table, given.text, given.label))])
