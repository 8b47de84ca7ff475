"""`python -m benchmarks [NAME …]`: run the benchmarks named, or all; `make bench` runs all."""

import importlib
import sys

NAMES = ("turn", "gateway", "limits", "overload", "console")


def main() -> None:
    """Run them one after another: they share two cores."""
    for name in sys.argv[1:] or NAMES:
        print(f"--- {name}", flush=True)
        importlib.import_module(f"benchmarks.{name}").main()


if __name__ == "__main__":
    main()
