"""Embed volumes: one vector per CT, the same for the same patient on another grid.

    python examples/02_embed_volumes.py

The network is untrained, so that the example needs no checkpoint; put
`simcrop.load("path/to/run")` in its place.
"""

import numpy as np

from simcrop import Pretrained
from simcrop.data.phantom import make_phantom
from simcrop.data.volume import Volume
from simcrop.recipes import load_recipe
from simcrop.train.networks import build_simcrop


def untrained() -> Pretrained:
    config = load_recipe("tiny")
    # text_dim and vocabulary_size come from the text encoder; 384 is that of the packaged BERT.
    return Pretrained(build_simcrop(config, text_dim=384, vocabulary_size=100), config, "")


def main() -> None:
    model = untrained()

    # A volume is voxels in HU with an affine (voxel index to RAS+ mm); a path works as well.
    volumes = []
    for index in range(4):
        phantom = make_phantom(seed=0, index=index)
        volumes.append(Volume(phantom.hu, phantom.affine, f"phantom {index}"))
    vectors = np.stack([model.embed_volume(volume) for volume in volumes])
    print(f"{len(vectors)} volumes, {vectors.shape[1]} numbers each")

    # Patient 0 from another scanner: voxels of half the size. The contract inside the model
    # brings both to one grid, so their vectors agree; those of other patients are further away.
    fine = make_phantom(0, 0, shape=(120, 96, 72), spacing_mm=(2.75, 2.75, 4.0))
    again = model.embed_volume(Volume(fine.hu, fine.affine, "phantom 0, fine"))

    # All volumes are chests: subtract what they share before comparing.
    mean = vectors.mean(axis=0)
    for volume, vector in zip(volumes, vectors, strict=True):
        print(f"cosine with {volume.source}: {cosine(again - mean, vector - mean):+.2f}")

    # Other features of the same pass: before the final norm, as the authors probe, and CLS.
    for feature in ("post_norm_gap", "pre_norm_gap", "cls"):
        print(feature, model.embed_volume(volumes[0], feature).shape)

    # Patches in the space shared with sentences, unit length, in the order of the patch grid.
    patches = model.embed_patches(volumes[0])
    print(f"patch embeddings {patches.shape}, grid {model.grid.shape}")


def cosine(a: np.ndarray, b: np.ndarray) -> float:
    return float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))


if __name__ == "__main__":
    main()
