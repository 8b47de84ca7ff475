"""`python -m charkha.app.cli`: the same as `charkha`, for processes that must not depend on PATH."""

from charkha.app.cli.main import main

main()
