"""Which quantiles of resamples are a 95 % interval: the further out, the fewer the patients.

The quantiles 2.5 and 97.5 % of a bootstrap are too narrow with few patients: n of them, drawn with
replacement, have a variance of (n - 1) / n times what it should be, and the quantiles are those of
a normal distribution where Student's t is due. The levels are moved outwards to undo both (the
expanded percentile interval: Hesterberg, What Teachers Should Know About the Bootstrap, The
American Statistician 69, 2015):

    level = Phi(-t / sqrt(share))    share: (n - 1) / n; t: its 97.5 % quantile, freedom n - 1

An AUROC hangs on two samples, the patients with and without the finding: a hundred without do not
make five with it more. Share and degrees of freedom are Welch's, of two samples that scatter
alike. A mean over labels has Satterthwaite's degrees, of labels that scatter alike, but no more
than all its patients give, since labels share them.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int, Shaped
from scipy.special import ndtr, stdtrit

CONFIDENCE = 0.95


@dataclass(frozen=True, eq=False)
class Support:
    """What the figures of labels hang on.

    Attributes:
        share: of the variance that resampling shows.
        freedom: degrees of freedom; 0 where a single patient says nothing about the scatter.
        num_patients: in all.
    """

    share: Float[np.ndarray, " labels"]
    freedom: Float[np.ndarray, " labels"]
    num_patients: int

    @classmethod
    def of_sample(cls, counts: Int[np.ndarray, " labels"], num_patients: int) -> "Support":
        """Return that of figures over all patients that have a value, by their number."""
        n = np.maximum(counts, 1).astype(float)
        return cls((n - 1) / n, n - 1, num_patients)

    @classmethod
    def of_values(
        cls, is_there: Bool[np.ndarray, "items labels"], patient_ids: Sequence[str]
    ) -> "Support":
        """Return that of means, by which items have a value."""
        return cls.of_sample(_patients_with(is_there, patient_ids), len(set(patient_ids)))

    @classmethod
    def of_classes(
        cls, labels: Shaped[np.ndarray, "studies labels"], patient_ids: Sequence[str]
    ) -> "Support":
        """Return that of figures of 0/1 labels.

        A patient with studies of both kinds is in both samples.
        """
        is_positive = labels.astype(bool)
        counts = [_patients_with(one, patient_ids) for one in (is_positive, ~is_positive)]
        n = np.maximum(np.stack(counts), 1).astype(float)
        variance = 1 / n
        total = variance.sum(axis=0)
        spread = np.divide(variance**2, n - 1, out=np.full(n.shape, np.inf), where=n > 1)
        share = (variance * (n - 1) / n).sum(axis=0) / total
        return cls(share, total**2 / spread.sum(axis=0), len(set(patient_ids)))

    def of_mean(self, is_scored: Bool[np.ndarray, " labels"]) -> "Support":
        """Return that of the mean over the labels that have a figure.

        A label of one patient counts as one degree, unless there is no other.
        """
        freedom = self.freedom[is_scored]
        if not (freedom > 0).any():
            return Support(np.zeros(1), np.zeros(1), self.num_patients)
        joined = len(freedom) ** 2 / (1 / np.maximum(freedom, 1)).sum()
        capped = min(joined, max(self.num_patients - 1, 0))
        return Support(
            self.share[is_scored].mean(keepdims=True), np.array([float(capped)]), self.num_patients
        )

    def levels(self) -> Float[np.ndarray, "labels 2"]:
        """Return the lower and upper level, in [0, 1]; nan without a degree of freedom."""
        low = np.full(len(self.freedom), np.nan)
        known = self.freedom > 0
        quantile = stdtrit(self.freedom[known], (1 + CONFIDENCE) / 2)
        low[known] = ndtr(-quantile / np.sqrt(self.share[known]))
        return np.stack([low, 1 - low], axis=1)


def _patients_with(
    is_there: Bool[np.ndarray, "items labels"], patient_ids: Sequence[str]
) -> Int[np.ndarray, " labels"]:
    """Return how many patients have an item of each label."""
    patients, patient_of_item = np.unique(np.asarray(patient_ids), return_inverse=True)
    has = np.zeros((len(patients), is_there.shape[1]), dtype=bool)
    np.logical_or.at(has, patient_of_item, is_there)
    return has.sum(axis=0)
