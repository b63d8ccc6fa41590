"""Fixtures that several test folders share; heavy imports wait until a fixture is used."""

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

# Before torch is imported: on tensors this small a second thread costs more than it gives, and
# the order of sums, hence the last digits of golden values, depends on their number.
os.environ.setdefault("OMP_NUM_THREADS", "1")

from simcrop.report.tokens import load_tokenizer

if TYPE_CHECKING:
    from simcrop.config import Config
    from simcrop.data.store import Store
    from simcrop.model.text_encoder import TextEncoder
    from simcrop.train.pretrained import Pretrained
    from simcrop.train.run_folder import RunFolder

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


@pytest.fixture(scope="session")
def text_encoder() -> "TextEncoder":
    """The packaged text encoder."""
    from simcrop.model.text_encoder import TextEncoder

    return TextEncoder("packaged")


@pytest.fixture(scope="session")
def phantom_archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An archive of 24 phantom patients; tests must not write into it."""
    from simcrop.data.phantom import write_phantoms

    return write_phantoms(tmp_path_factory.mktemp("phantoms") / "archive", 24, seed=5)


@pytest.fixture(scope="session")
def tiny_config() -> "Config":
    """The recipe `tiny` for 24 updates of 8 studies."""
    from tiny_run import tiny

    return tiny()


@pytest.fixture(scope="session")
def phantom_store(phantom_archive: Path, tiny_config: "Config") -> "Store":
    """The phantoms prepared for `tiny`; tests write nothing but text states into it."""
    from simcrop.data.prepare import prepare
    from simcrop.data.store import Store

    folder = phantom_archive.parent / "store"
    prepare(phantom_archive, folder, tiny_config.contract(), val_fraction=0.2)
    return Store(folder)


@pytest.fixture(scope="session")
def tiny_run(phantom_store: "Store", tiny_config: "Config") -> "RunFolder":
    """The folder of a short run of `tiny`; tests must not write into it."""
    from simcrop.train.run import pretrain
    from simcrop.train.run_folder import RunFolder

    run = RunFolder(phantom_store.folder.parent / "run")
    pretrain(tiny_config, phantom_store, run)
    return run


@pytest.fixture(scope="session")
def pretrained(tiny_run: "RunFolder") -> "Pretrained":
    """The encoder of `tiny_run`, ready to use."""
    from simcrop.train.pretrained import load

    return load(tiny_run.folder)
