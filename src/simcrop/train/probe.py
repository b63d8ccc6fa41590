"""Classification by a frozen encoder: heads on features that were computed once.

One pass over the volumes serves every head, fraction and seed. A head is fitted on training
patients, chosen on validation patients and tested on patients who see no choice: the parts are
those of `simcrop.evaluate.held_out`.

Paper: downstream classification by linear probing (method.md, section 11).
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from simcrop.data.store import Store
from simcrop.evaluate.held_out import Development, FixedHead, HeldOut, Opened
from simcrop.evaluate.intervals import LabelIntervals
from simcrop.evaluate.logistic import fit_logistic
from simcrop.evaluate.nearest import fit_nearest
from simcrop.evaluate.replay import Replay, replay_selection
from simcrop.evaluate.scorecard import Scorecard, score
from simcrop.recipes.heads import ATTENTIVE_HEAD, paper_head, protocol_of
from simcrop.train.features import Features
from simcrop.train.gradient_head import fit_attentive, fit_paper_head
from simcrop.train.probe_parts import divide

HEADS = ("logistic", "paper", "nearest", "attentive")


@dataclass(frozen=True)
class ProbePlan:
    """What is fitted.

    Attributes:
        head: one of `HEADS`.
        fractions: shares of the training patients, in (0, 1]; smaller ones are nested.
        seeds: draw the patients, and what a head draws.
        protocol: whose values the head `paper` takes; `auto` goes by the labels.
        replay: also say what choosing on test would have given.
        device: for heads that learn by gradient.
    """

    head: str = "logistic"
    fractions: tuple[float, ...] = (1.0,)
    seeds: tuple[int, ...] = (0,)
    protocol: str = "auto"
    replay: bool = False
    device: str = "cpu"


@dataclass(frozen=True, eq=False)
class ProbeResult:
    """A fitted head on the test volumes.

    Attributes:
        fraction, seed: the share of the training patients, and what drew them.
        num_train, num_train_patients: training volumes and patients used.
        opened: scores and labels of the test volumes, and the head.
        card: every figure of them.
        replay: what choosing on test would have given; None unless asked for.
    """

    fraction: float
    seed: int
    num_train: int
    num_train_patients: int
    opened: Opened
    card: Scorecard
    replay: Replay | None = None

    @property
    def label_names(self) -> tuple[str, ...]:
        """The columns."""
        return self.card.label_names

    @property
    def auroc(self) -> LabelIntervals:
        """Per label and mean, with 95 % intervals over patients."""
        return self.card.auroc

    @property
    def scores(self) -> Float[np.ndarray, "volumes labels"]:
        """Probability of each label for each test volume."""
        return self.opened.scores

    @property
    def labels(self) -> Int[np.ndarray, "volumes labels"]:
        """0 or 1, likewise."""
        return self.opened.labels

    def to_dict(self) -> dict[str, object]:
        """Return plain values for JSON."""
        head = self.opened.head
        described: dict[str, object] = {
            "fraction": self.fraction,
            "seed": self.seed,
            "num_train": self.num_train,
            "num_train_patients": self.num_train_patients,
            "head": head.settings,
            "choice": head.choice,
            "val_scores": {name: one.val_score for name, one in head.candidates.items()},
            **self.card.to_dict(),
        }
        return described | ({"replay": self.replay.to_dict()} if self.replay else {})


def probe(features: Features, store: Store, plan: ProbePlan | None = None) -> list[ProbeResult]:
    """Fit and test a head for every fraction and seed, the largest fraction first.

    Args:
        features: of the volumes of `store`.
        store: gives split and labels.
        plan: what is fitted; a logistic regression on all training patients unless given.

    Raises:
        DataError: if the store has no labels, no training or test volume, or if the features
            lack patch tokens that the head reads.
    """
    return probe_parts(*divide(features, store), plan or ProbePlan())


def probe_parts(development: Development, held_out: HeldOut, plan: ProbePlan) -> list[ProbeResult]:
    """Fit on a development and test on held-out volumes; see `probe`."""
    results = []
    for fraction in sorted(set(plan.fractions), reverse=True):
        for seed in plan.seeds:
            part = development.of_fraction(fraction, seed)
            head = fit_head(part, plan, fraction, seed)
            results.append(score_head(head, part, held_out, fraction, seed, replay=plan.replay))
    return results


def fit_head(part: Development, plan: ProbePlan, fraction: float, seed: int) -> FixedHead:
    """Fit the head of a plan.

    Raises:
        ValueError: if there is no such head.
    """
    if plan.head == "logistic":
        return fit_logistic(part)
    if plan.head == "nearest":
        return fit_nearest(part)
    if plan.head == "attentive":
        return fit_attentive(part, ATTENTIVE_HEAD, seed=seed, device=plan.device)
    if plan.head == "paper":
        is_auto = plan.protocol == "auto"
        protocol = protocol_of(part.label_names) if is_auto else plan.protocol
        config = paper_head(protocol, fraction)
        return fit_paper_head(part, config, seed=seed, device=plan.device)
    raise ValueError(f"head {plan.head!r}; choose one of {', '.join(HEADS)}")


def score_head(
    head: FixedHead,
    part: Development,
    held_out: HeldOut,
    fraction: float,
    seed: int,
    *,
    replay: bool = False,
) -> ProbeResult:
    """Open the held-out volumes for a fixed head and compute every figure."""
    opened = held_out.open(head)
    return ProbeResult(
        fraction=fraction,
        seed=seed,
        num_train=len(part.train),
        num_train_patients=len(set(part.train.patient_ids)),
        opened=opened,
        card=score(
            opened.scores, opened.labels, opened.patient_ids, head.label_names, head.points,
            are_exclusive=head.are_exclusive,
        ),
        replay=replay_selection(held_out, opened) if replay else None,
    )  # fmt: skip
