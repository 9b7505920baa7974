"""What the tests of the files share."""

from pathlib import Path

import pytest

from tests.intake.data_files import Files


@pytest.fixture
def files(tmp_path: Path) -> Files:
    """A good data set in a folder of its own."""
    return Files(tmp_path)
