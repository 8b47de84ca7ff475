"""`python -m benchmarks.gateway [--seconds 10] [--quick] …`; `--help` tells the options."""

import sys

from benchmarks.gateway import main

if __name__ == "__main__":
    main(sys.argv[1:])
