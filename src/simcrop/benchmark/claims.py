"""The differences that the project's claims rest on, each paired by seed and patient."""

from dataclasses import dataclass

from simcrop.benchmark.columns import ANYWHERE_IN_A_LUNG


@dataclass(frozen=True)
class Claim:
    """Two measures of two variants whose difference says something.

    Attributes:
        says: for the table; the letter is that of the bar it belongs to.
        variant: whose measure comes first.
        measure: of it.
        other: the variant whose measure is taken off.
        other_measure: the same measure unless given.
        findings: of which the mean is taken; all unless given.
    """

    says: str
    variant: str
    measure: str
    other: str
    other_measure: str = ""
    findings: tuple[str, ...] = ()


def _against_control(
    says: str,
    measure: str,
    control: str,
    findings: tuple[str, ...] = (),
    variant: str = "recommended",
) -> Claim:
    """Return a variant's own map against one that cannot know."""
    return Claim(f"c: {says}", variant, measure, variant, f"{measure} {control}", findings)


_UNPLACED = "patch_auroc unplaced"
OURS = {
    "recommended": "recommended",
    "whole": "alignment alone",
    "per_image": "selected patches alone",
}
_LABELS = tuple(
    Claim(f"a: {ours}, {says}", name, measure, other, level)
    for name, ours in OURS.items()
    for says, measure, other, level in (
        ("1 % of the labels, over masked volume", "probe_1", "masked_volume", ""),
        ("1 % of the labels, over patch statistics", "probe_1", "patch_statistics", ""),
        ("1 % from the maximum over patches, over masked volume", "probe_1 max", "masked_volume",
         ""),
        ("1 % from the maximum over patches, over patch statistics", "probe_1 max",
         "patch_statistics", "probe_1"),
        ("10 % of the labels, over supervised with all", "probe_10", "supervised", "probe_100"),
        ("10 % from the maximum over patches, over supervised with all", "probe_10 max",
         "supervised", "probe_100"),
    )
)  # fmt: skip
_GROUNDING = tuple(
    _against_control(f"{ours}, {says}", measure, control, findings, name)
    for name, ours in OURS.items()
    for says, measure, control, findings in (
        ("own volume over another patient's", "hit", "swapped", ()),
        ("own volume over position alone", "hit", "position", ()),
        ("hit, no place named, over position alone", "hit unplaced", "position", ()),
        ("patch AUROC, no place named, over position alone", _UNPLACED, "position", ()),
        *(
            (f"anywhere in a lung, {says}", measure, control, ANYWHERE_IN_A_LUNG)
            for says, measure, control in (
                ("hit over another patient's volume", "hit", "swapped"),
                ("hit over position alone", "hit", "position"),
                ("hit, no place named, over position alone", "hit unplaced", "position"),
                ("patch AUROC, no place named, over position alone", _UNPLACED, "position"),
            )
        ),
    )
)
_WORDS = (
    *(
        Claim(f"d: hidden finding words, true over another volume, {name.replace('_', ' ')}",
              name, "words_true", name, "words_shuffled")
        for name in ("recommended", "fusion", "fusion_word_patch", "fusion_instance", "published",
                     "permuted")
    ),
    Claim("d: hidden finding words, recommended over no help of the volume", "recommended",
          "words_true", "masked_report"),
    Claim("d: hidden finding words, selected patches alone, over the same without fusion",
          "selected_alone", "words_true", "no_fusion"),
    Claim("d: hidden finding words, the paper's fusion over none", "fusion", "words_true",
          "masked_report"),
)  # fmt: skip
_ABLATIONS = (
    Claim("d: alignment over none, 1 % of the labels", "recommended", "probe_1", "fusion"),
    *(
        Claim(f"d: full over alignment alone, {says}", "recommended", measure, "whole")
        for says, measure in (
            ("zero-shot", "zero_shot"),
            ("hit", "hit"),
            ("patch AUROC", "patch_auroc"),
            ("average precision", "average_precision"),
            ("patch AUROC, no place named", _UNPLACED),
        )
    ),
    *(
        Claim(f"alignment alone over the contrast of wholes, {says}", "whole", measure,
              "global_contrast")
        for says, measure in (("zero-shot", "zero_shot"), ("hit", "hit"))
    ),
    Claim("e: per image over within report, zero-shot", "per_image", "zero_shot",
          "within_report"),
    Claim("e: selected patches alone, own over permuted reports, zero-shot", "selected_alone",
          "zero_shot", "permuted"),
)  # fmt: skip
_REFINED = (
    *(
        Claim(f"{says_variant} over {says_other}, {says}", variant, measure, other)
        for variant, says_variant, other, says_other in (
            ("recommended", "all terms, a share of the whole", "selected_alone", "none"),
            ("whole", "alignment alone, a share of the whole", "per_image", "none"),
            ("small_patches", "small patches", "per_image", "large"),
            ("small_patches_deep", "small patches and six blocks", "per_image", "large and three"),
            ("small_patches_deep", "six blocks", "small_patches", "three, small patches"),
        )
        for says, measure in (
            ("zero-shot", "zero_shot"),
            ("1 % of the labels", "probe_1"),
            ("1 % of the labels, from the maximum over patches", "probe_1 max"),
            ("hit", "hit"),
            ("patch AUROC", "patch_auroc"),
        )
    ),
    *(
        _against_control(
            f"{variant.replace('_', ' ')}, {where}{says}, no place named, over position alone",
            measure, "position", findings, variant,
        )
        for variant in ("small_patches", "small_patches_deep")
        for where, findings in (("", ()), ("anywhere in a lung, ", ANYWHERE_IN_A_LUNG))
        for says, measure in (("hit", "hit unplaced"), ("patch AUROC", _UNPLACED))
    ),
)  # fmt: skip
_SEGMENTATION = tuple(
    Claim(f"UNETR, Dice of organs, {variant} over {other.replace('_', ' ')}", variant,
          "unetr_dice", other)
    for variant, other in (("recommended", "untrained"), ("recommended", "masked_volume"),
                           ("published", "untrained"))
)  # fmt: skip
CLAIMS = (*_LABELS, *_GROUNDING, *_WORDS, *_ABLATIONS, *_REFINED, *_SEGMENTATION)
