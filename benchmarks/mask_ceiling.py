"""What keeps a map's patch AUROC below that of positions: what tokens know, or what words teach?

    python benchmarks/mask_ceiling.py STORE CHECKPOINT [CHECKPOINT ...] [--patients 300]

For every finding one linear layer is fitted on the patch tokens of some training phantoms *with
their masks*, which no sentence tells, and its map is scored as a sentence's own map is: on the
body patches of the held-out phantoms that have the finding. Prints patch AUROC and hits of the
layer, of the sentence's own map and of the map of positions, means over findings.
"""

import argparse
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pandas as pd

from simcrop.benchmark.columns import ANYWHERE_IN_A_LUNG
from simcrop.benchmark.patch_probe import fit_patch_layer, shares_of_findings, tokens_of
from simcrop.benchmark.ruler import Ruler
from simcrop.benchmark.smaller_store import SmallerStore
from simcrop.data.store import Store
from simcrop.evaluate.grounded_sentence import GroundedSentence
from simcrop.evaluate.grounding import OWN, evaluate_grounding
from simcrop.evaluate.position_maps import POSITION
from simcrop.report.places import place_of
from simcrop.train.features import embed_store
from simcrop.train.grounding import ground_store, with_position_maps
from simcrop.train.pretrained import Pretrained, load

WITH_MASKS = "masks"
FIGURES = ("patch_auroc", "hit")


def sentences_of(encoder: Pretrained, ruler: Ruler, patients: int) -> list[GroundedSentence]:
    """Return the held-out sentences, each with the map of the layer that has seen masks."""
    store = ruler.store
    few = SmallerStore(store.location, train=patients)
    with tempfile.TemporaryDirectory() as folder:
        tokens = Path(folder) / "tokens.npy"
        features = embed_store(encoder, few, with_patches=True, tokens_path=tokens)
        train, test = features.of("train"), features.of("test")
        shares = shares_of_findings(store, list(train.index["volume_id"]), encoder)
        layers = {label: fit_patch_layer(train, share) for label, share in shares.items()}
        row_of = {volume: row for row, volume in enumerate(test.index["volume_id"])}
        found = ground_store(encoder, store, test)
        found = with_position_maps(found, ruler.position_maps(encoder))
        return [
            replace(
                one,
                maps={
                    **one.maps,
                    WITH_MASKS: layers[one.label](tokens_of(test, row_of[one.volume_id])),
                },
            )
            for one in found
            if one.has_target and not one.is_negated and one.label in layers
        ]


def table_of(sentences: Sequence[GroundedSentence]) -> pd.DataFrame:
    """Return the mean over findings of every figure, by map, for all, unplaced and lung ones."""
    values = evaluate_grounding(sentences, top_k=1, num_resamples=1).values
    table = pd.DataFrame(
        {
            (map_name, figure): values[map_name][figure]
            for map_name in (WITH_MASKS, OWN, POSITION)
            for figure in FIGURES
        }
    )
    labels = pd.Series([one.label for one in sentences])
    is_unplaced = pd.Series([not any(place_of(one.sentence)) for one in sentences])
    is_lung = labels.isin(ANYWHERE_IN_A_LUNG)
    chosen = {
        "all": labels.notna(),
        "no place named": is_unplaced,
        "lung": is_lung,
        "lung, no place named": is_lung & is_unplaced,
    }
    return pd.DataFrame(
        {name: table[rows].groupby(labels[rows]).mean().mean() for name, rows in chosen.items()}
    ).T


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table of every checkpoint."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("store", type=Path)
    parser.add_argument("checkpoints", type=Path, nargs="+")
    parser.add_argument("--patients", type=int, default=300)
    wanted = parser.parse_args(arguments)
    ruler = Ruler(Store(wanted.store))
    for checkpoint in wanted.checkpoints:
        found = table_of(sentences_of(load(checkpoint), ruler, wanted.patients))
        print(f"{checkpoint}\n{found.round(3).to_string()}", flush=True)


if __name__ == "__main__":
    main()
