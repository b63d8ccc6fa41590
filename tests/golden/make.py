"""Write the golden losses: `python tests/golden/make.py`.

A refactor leaves them unchanged. A change that moves them updates the file in its own commit,
which says why and by how much.
"""

import json
import os
import platform
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path

FOLDER = Path(__file__).resolve().parent
LOSSES = FOLDER / "tiny_losses.json"
RECIPE, NUM_PATIENTS, PHANTOM_SEED, NUM_STEPS = "tiny", 20, 11, 20
LIBRARIES = ("torch", "numpy", "lightning", "transformers", "simpleitk", "nupunkt")


def tiny_losses(folder: Path) -> list[float]:
    """Run `tiny` for its first updates on phantoms of a fixed seed; return the total losses."""
    from simcrop.config import override
    from simcrop.data.phantom import write_phantoms
    from simcrop.data.prepare import prepare
    from simcrop.data.store import Store
    from simcrop.recipes import RECIPES
    from simcrop.train.run import pretrain
    from simcrop.train.run_folder import RunFolder
    from tiny_run import read_metrics

    settings = [f"optimizer.length={NUM_STEPS}", "optimizer.warmup=5", "trainer.log_steps=1"]
    config = override(RECIPES[RECIPE], settings)
    write_phantoms(folder / "archive", NUM_PATIENTS, PHANTOM_SEED)
    prepare(folder / "archive", folder / "store", config.contract())
    run = RunFolder(folder / "run")
    pretrain(config, Store(folder / "store"), run)
    return [*read_metrics(run.metrics)["train/total_loss"].values()]


def main() -> None:
    """Write the file, with what the numbers depend on in its header."""
    os.environ["OMP_NUM_THREADS"] = "1"
    sys.path.insert(0, str(FOLDER.parent))
    with tempfile.TemporaryDirectory() as folder:
        losses = tiny_losses(Path(folder))
    content = {
        "made_by": "python tests/golden/make.py",
        "recipe": RECIPE,
        "phantoms": {"patients": NUM_PATIENTS, "seed": PHANTOM_SEED},
        "machine": platform.machine(),
        "versions": {name: version(name) for name in LIBRARIES},
        "total_losses": losses,
    }
    LOSSES.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    print(f"{LOSSES}: {losses[0]:.4f} to {losses[-1]:.4f}")


if __name__ == "__main__":
    main()
