"""What every test relies on."""

import shutil
import tempfile
from pathlib import Path

# asn1crypto's attribute types of RFC 5035 are known only from here on, and its maps are frozen at first use.
import asn1crypto.tsp  # noqa: F401
import pytest

_ours = pytest.StashKey[Path]()


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """A temporary directory of this run alone. pytest's own has a number that grows with each run on a machine, and the address of
    a socket is short (unix(7)).
    """
    if config.option.basetemp is None and not hasattr(config, "workerinput"):
        config.stash[_ours] = Path(tempfile.mkdtemp(prefix="gateway-tests-"))
        config.option.basetemp = str(config.stash[_ours] / "t")


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """Leave nothing behind, unless somebody may want to look why a test failed."""
    if _ours in session.config.stash and exitstatus == pytest.ExitCode.OK:
        shutil.rmtree(session.config.stash[_ours], ignore_errors=True)
