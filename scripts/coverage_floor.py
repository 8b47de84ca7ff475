"""Holds line coverage: 80 % of everything, 95 % of domain code (modules that only judge)."""

import subprocess
import sys

DOMAIN = (
    "*/domain.py,*/release/judgement.py,*/release/sequential.py,*/core/*.py,*/govern/permissions.py,*/dialects/*.py"
)


def main() -> int:
    """Report both figures; fail under either floor."""
    floors = ((80, []), (95, [f"--include={DOMAIN}"]))
    failed = 0
    for floor, options in floors:
        command = [sys.executable, "-m", "coverage", "report", f"--fail-under={floor}", "--format=total", *options]
        result = subprocess.run(command, capture_output=True, text=True, check=False)
        total = result.stdout.strip().splitlines()[-1] if result.stdout.strip() else result.stderr.strip()
        print(f"line coverage {'of domain code' if options else 'of everything'}: {total} % (floor {floor} %)")
        failed |= result.returncode
    return failed


if __name__ == "__main__":
    sys.exit(main())
