"""What the tests on real mounts share. `scripts/test -k e2e` runs them; so does pytest by hand."""

import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from tests.lib.agnes_server import AgnesServer  # noqa: E402
from tests.lib.agnesfs import BINARY, Agnesfs  # noqa: E402
from tests.lib.faultd import Server  # noqa: E402
from tests.lib.sites import Agnes, Folder  # noqa: E402
from tests.lib.stack import Stack, raw  # noqa: E402

TEST_SECONDS = 60


def pytest_collection_modifyitems(items):
    for item in items:
        if not item.get_closest_marker("timeout"):
            item.add_marker(pytest.mark.timeout(TEST_SECONDS))


@pytest.fixture(scope="session", autouse=True)
def binary():
    assert Path(BINARY).is_file(), f"{BINARY}: not built"


@pytest.fixture
def agnes(tmp_path):
    """agnesfs in a home of its own. What a test leaves running or mounted fails it."""
    agnes = Agnesfs(tmp_path)
    yield agnes
    left = agnes.clean_up()
    assert not left, f"left behind: {left}"


@pytest.fixture
def stack(tmp_path):
    """An empty static stack; its `url` is a file:// one."""
    return Stack(tmp_path / "stack")


@pytest.fixture
def server(stack):
    """The stack's folder behind a web server; `url` is that of the manifest."""
    with Server(Folder(stack.folder), "/manifest.json") as server:
        yield server


@pytest.fixture
def agnes_server(stack):
    """The stack as an Agnes server has it, live: stack.write() is not needed."""
    with Server(Agnes(stack, token="a-token")) as server:
        yield server


@pytest.fixture
def instance(agnes):
    """A server that answers as an Agnes instance does, with one table in one package."""
    agnes.write_token("a-token")
    with AgnesServer() as server:
        server.add_package("sales")
        server.add_table("orders", raw(b"orders"), packages=["sales"])
        yield server
