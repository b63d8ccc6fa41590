"""Two studies can be learned by heart, by the whole run with its schedule."""

import pytest

from simcrop.data.phantom import write_phantoms
from simcrop.data.prepare import prepare
from simcrop.data.store import Store
from simcrop.train.run import pretrain
from simcrop.train.run_folder import RunFolder
from tiny_run import read_metrics, tiny

# The hidden patches are others in every step, so no image is ever seen whole, and in the paper's
# form the sentences see another quarter of the patches each time. Measured for three pairs of
# studies: 0.56-0.68, 0.03-0.15, 0.09-0.65 (the pair used here: 0.09) and 0.11-0.22.
FALLS_TO = {"patch_loss": 0.75, "report_loss": 0.3, "alignment_loss": 0.4, "total_loss": 0.4}


@pytest.mark.parametrize("recipe", ["tiny", "tiny_recommended"])
def test_every_loss_falls_clearly_on_two_studies(recipe, tmp_path):
    config = tiny("optimizer.length=80", "optimizer.warmup=8", recipe=recipe)
    archive = write_phantoms(tmp_path / "archive", 2, seed=3)
    contract = config.contract()
    prepare(archive, tmp_path / "store", contract, val_fraction=0.0, test_fraction=0.0)
    run = RunFolder(tmp_path / "run")
    pretrain(config, Store(tmp_path / "store"), run)
    for name, share in FALLS_TO.items():
        values = [*read_metrics(run.metrics)[f"train/{name}"].values()]
        assert len(values) == 80
        first, last = sum(values[:5]) / 5, sum(values[-15:]) / 15
        assert last < share * first, (name, first, last)
