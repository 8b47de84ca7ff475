"""Checks of the tree that no linter makes: sizes, the generated client, and that the documents tell the truth."""

import ast
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
FILE_LIMIT, FUNCTION_LIMIT = 400, 60
SHORT = {"src/charkha/loop.py": 150, "src/charkha/app/wiring.py": 150}
GENERATED = ("migrations/versions/", "client/_sync/")


def sizes() -> list[str]:
    """Files and functions over their limits."""
    found = []
    for path in sorted((ROOT / "src").rglob("*.py")):
        name = str(path.relative_to(ROOT))
        if any(part in name for part in GENERATED):
            continue
        text = path.read_text()
        lines, limit = text.count("\n"), SHORT.get(name, FILE_LIMIT)
        if lines > limit:
            found.append(f"{name} has {lines} lines; the limit is {limit}")
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                length = (node.end_lineno or 0) - node.lineno + 1
                if length > FUNCTION_LIMIT:
                    found.append(f"{name}:{node.lineno} {node.name} has {length} lines; the limit is {FUNCTION_LIMIT}")
    return found


def docstrings() -> list[str]:
    """Modules that do not say what they are."""
    return [
        f"{path.relative_to(ROOT)} has no module docstring"
        for path in sorted((ROOT / "src").rglob("*.py"))
        if not ast.get_docstring(ast.parse(path.read_text()))
    ]


def documents() -> list[str]:
    """Links and names of tests in the documents that lead nowhere."""
    found = []
    for path in [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]:
        text = path.read_text()
        for target in re.findall(r"\]\((?!https?:|#|mailto:)([^)#]+)", text):
            if not (path.parent / target).exists():
                found.append(f"{path.relative_to(ROOT)} links to {target}, which is not there")
        for test in re.findall(r"`(tests/[\w/]+\.py)", text):
            if not (ROOT / test).exists():
                found.append(f"{path.relative_to(ROOT)} names {test}, which is not there")
        for target in re.findall(r"`make (\w+)", text):
            if f"\n{target}:" not in (ROOT / "Makefile").read_text():
                found.append(f"{path.relative_to(ROOT)} names `make {target}`, which the Makefile has not")
    return found


def main() -> int:
    """Print every finding; their number is the exit status."""
    findings = sizes() + docstrings() + documents()
    for finding in findings:
        print(finding)
    generated = subprocess.run([sys.executable, str(ROOT / "scripts" / "unasync.py"), "--check"], check=False)
    return min(len(findings) + generated.returncode, 100)


if __name__ == "__main__":
    sys.exit(main())
