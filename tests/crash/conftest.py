import shutil
import tempfile

import pytest

from tests.crash.fault_tool import FaultTool


@pytest.fixture
def tool(tmp_path):
    with FaultTool(tmp_path) as tool:
        yield tool


@pytest.fixture
def memory(tmp_path):
    """A folder in memory, where a sync costs nothing: a kill takes no page cache along."""
    try:
        folder = tempfile.mkdtemp(prefix="agnesfs-", dir="/dev/shm")
    except OSError:
        folder = tmp_path
    yield folder
    shutil.rmtree(folder, ignore_errors=True)
