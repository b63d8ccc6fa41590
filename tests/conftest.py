"""Fixtures that several test folders share."""

import os
from pathlib import Path

import pytest

from simcrop.report.tokens import load_tokenizer

REPOSITORY = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real volumes and reports, which is not part of the repository."""
    default = REPOSITORY.parent / "shared" / "data"
    folder = Path(os.environ.get("SIMCROP_SHARED_DATA", default))
    if not folder.is_dir():
        pytest.skip(f"real data not found at {folder}; set SIMCROP_SHARED_DATA to their folder")
    return folder


@pytest.fixture(scope="session")
def tokenizer():
    """The tokenizer of the packaged text encoder; needs no network."""
    return load_tokenizer("packaged")
