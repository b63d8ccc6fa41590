"""Which measures the tables show, and how their columns are headed."""

from simcrop.benchmark.measures import MAPS, of_map
from simcrop.evaluate.retrieval import DEPTHS

CLASSIFICATION = {
    "probe_100": "probe, 100 %",
    "probe_10": "10 %",
    "probe_1": "1 % of labels",
    "probe_100 max": "maximum, 100 %",
    "probe_10 max": "10 %",
    "probe_1 max": "1 %",
    "zero_shot": "zero-shot",
}
MAP_FIGURES = {
    "hit": "hit",
    "patch_auroc": "patch AUROC",
    "average_precision": "average precision",
    "hit unplaced": "hit, no place named",
    "patch_auroc unplaced": "patch AUROC, no place named",
}
# The measures that are their levels without knowledge; where there is none it is 0.5.
CHANCE = {"hit": "chance", "average_precision": "chance", "hit unplaced": "chance unplaced"}
GROUNDING = {
    figure: ({CHANCE[figure]: "chance"} if figure in CHANCE else {})
    | {of_map(figure, name): name for name in MAPS}
    for figure in MAP_FIGURES
}
LUNG = {
    "chance": "chance",
    "hit": "hit",
    "hit swapped": "swapped",
    "hit mean of others": "mean of others",
    "hit position": "position",
    "patch_auroc unplaced": "patch AUROC, no place named",
    "patch_auroc unplaced swapped": "swapped",
    "patch_auroc unplaced position": "position",
}
AWAY = {
    "probe_100 away": "probe, 100 %",
    "probe_1 away": "1 %",
    "probe_1 max away": "maximum, 1 %",
    "zero_shot away": "zero-shot",
    "hit away": "hit",
    "hit swapped away": "swapped",
    "patch_auroc away": "patch AUROC",
    "patch_auroc swapped away": "swapped",
}
RETRIEVAL = {
    f"recall_{k} {way}": f"{way}, first {k}"
    for way in ("report to volume", "volume to report")
    for k in DEPTHS
}
VOXELS = {"patch_dice": "linear layer on patch tokens", "unetr_dice": "UNETR"}
WORDS = {"words_true": "true volume", "words_shuffled": "another patient's"}
OF_FINDINGS = {
    "probe_1": "probe, 1 % of labels",
    "zero_shot": "zero-shot",
    "chance": "chance",
    "hit": "hit",
    "hit swapped": "swapped",
    "hit position": "position",
    "patch_auroc": "patch AUROC",
    "patch_auroc unplaced": "patch AUROC, no place named",
    "patch_auroc unplaced position": "position",
}
MEASURES = tuple(
    dict.fromkeys(
        measure
        for columns in (CLASSIFICATION, *GROUNDING.values(), AWAY, RETRIEVAL, VOXELS, WORDS)
        for measure in columns
    )
)

# Findings that lie at one place of a lung, whichever; emphysema is all over it.
ANYWHERE_IN_A_LUNG = ("Lung nodule", "Lung opacity", "Consolidation", "Atelectasis")
