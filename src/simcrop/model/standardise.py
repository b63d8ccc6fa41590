"""What is usual taken away: mean and deviation over the studies seen in training.

Most of what a patch token says is said at its place in every chest, and most of a sentence's state
in every sentence. Cosines of such vectors are nearly equal for all volumes, so that the gradient of
a contrast between volumes is small beside its noise, and a run stays on that plateau for hundreds
of updates. Standardised vectors say what is unusual here.

Differs: the paper projects tokens and words as they are.
"""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

RATE = 0.01  # of the running averages, once a hundred batches are in them
_EPSILON = 1e-4

Moments = Float[Tensor, "places one_and_twice_dim"]


class Standardise(nn.Module):
    """(x - mean) / deviation, for every place apart.

    Both are running averages over the batches *before*, constants for the gradient. So what becomes
    of a study depends on no other study of its batch, however the batch is spread over processes
    or micro-batches; those add up their `moments`, and `see` takes them in after the update.

    Args:
        num_places: places of the grid; 1 where vectors have none.
        dim: width of the vectors.
    """

    mean: Tensor
    square: Tensor
    num_batches: Tensor

    def __init__(self, num_places: int, dim: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(num_places, dim))
        self.register_buffer("square", torch.ones(num_places, dim))
        self.register_buffer("num_batches", torch.zeros(num_places, 1))

    def forward(
        self,
        vectors: Float[Tensor, "batch items dim"],
        places: Int[Tensor, "batch items"] | None = None,
    ) -> Float[Tensor, "batch items dim"]:
        """Return the vectors standardised.

        Args:
            vectors: one per place, in the order of places, unless these are given.
            places: place of each vector.
        """
        mean, square = self.mean, self.square
        if places is not None:
            mean, square = mean[places], square[places]
        return (vectors - mean) * ((square - mean**2).clamp(min=0) + _EPSILON).rsqrt()

    @torch.no_grad()
    def moments(
        self,
        vectors: Float[Tensor, "batch items dim"],
        places: Int[Tensor, "batch items"] | None = None,
        is_counted: Bool[Tensor, "batch items"] | None = None,
    ) -> Moments:
        """Return count, sum and sum of squares at every place; those of parts add up."""
        vectors = vectors.to(self.mean.dtype)
        counted = torch.ones_like(vectors[..., :1])
        if is_counted is not None:
            counted = is_counted[..., None].to(vectors.dtype)
            vectors = vectors * counted
        rows = [x.flatten(0, 1) for x in (counted, vectors, vectors.square())]
        if places is None:
            places = torch.arange(len(rows[0]), device=vectors.device) % len(self.mean)
        summed = [
            x.new_zeros(len(self.mean), x.shape[1]).index_add_(0, places.flatten(), x) for x in rows
        ]
        return torch.cat(summed, dim=1)

    @torch.no_grad()
    def see(self, moments: Moments) -> None:
        """Take a batch into the averages; places of which it has no vector stay as they are."""
        count, rest = moments[:, :1], moments[:, 1:]
        self.num_batches += count > 0
        rate = (count > 0) / self.num_batches.clamp(min=1, max=1 / RATE)
        mean, square = (rest / count.clamp(min=1e-12)).chunk(2, dim=1)
        self.mean.lerp_(mean, rate.expand_as(mean))
        self.square.lerp_(square, rate.expand_as(square))
