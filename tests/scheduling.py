"""How a parallel test run is shared out: the tests of a folder that share one running installation stay together.

pytest-xdist 3.8 does that by its mark `xdist_group`, which it writes into ids that pytest 9.2 no longer lets it change;
until then the folder decides, here.
"""

from xdist.scheduler.loadscope import LoadScopeScheduling

TOGETHER = ("tests/e2e/", "tests/chaos/", "tests/console/browser/")


class ByInstallation(LoadScopeScheduling):
    """Each of the folders above goes to one worker as a whole, every other test to whichever is free."""

    def _split_scope(self, nodeid: str) -> str:
        return next((folder for folder in TOGETHER if nodeid.startswith(folder)), nodeid)
