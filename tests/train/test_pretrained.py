"""A checkpoint in use: its own contract, its vectors, and maps that lie on the CT."""

import json
import shutil
from pathlib import Path

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813
import torch

import simcrop
from simcrop.data.body import body_patches
from simcrop.data.preprocessing import center_crop
from simcrop.data.volume import Volume, read_volume
from simcrop.errors import CheckpointError, ConfigError, DataError
from simcrop.report.tokens import packaged_text_encoder
from simcrop.train.features import embed_store
from simcrop.train.ground import ground, peak_patch
from simcrop.train.networks import build_simcrop
from simcrop.train.pooling import ALIGNED_MAX, FEATURES
from simcrop.train.pretrained import Pretrained
from tiny_run import tiny

SENTENCES = ["Pleural effusion on the left.", "Heart size is normal."]


@pytest.fixture(scope="module")
def ct_path(phantom_archive) -> Path:
    return phantom_archive / "volumes" / "phantom_000003.nii.gz"


def write_as(image: sitk.Image, path: Path) -> Path:
    sitk.WriteImage(image, str(path))
    return path


def cosine(a: np.ndarray, b: np.ndarray) -> float:
    return float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))


def test_a_file_is_embedded_as_its_prepared_volume(pretrained, ct_path, phantom_store):
    crop = center_crop(*phantom_store.read_hu("phantom_000003_ct"), pretrained.contract)
    from_file = pretrained.embed_volume(ct_path)
    np.testing.assert_allclose(from_file, pretrained.embed_volume(crop), atol=1e-6)
    np.testing.assert_allclose(from_file, pretrained.embed_volume(str(ct_path)), atol=0)
    in_memory = pretrained.embed_volume(read_volume(ct_path))
    np.testing.assert_allclose(from_file, in_memory, atol=1e-5)


@pytest.mark.parametrize("orientation", ["LPS", "SAR", "IPL"])
def test_another_orientation_gives_the_same_embedding(pretrained, ct_path, tmp_path, orientation):
    turned = sitk.DICOMOrient(sitk.ReadImage(str(ct_path)), orientation)
    path = write_as(turned, tmp_path / "turned.nrrd")
    # Only the rounding to whole HU may differ by one.
    found, expected = pretrained.embed_volume(path), pretrained.embed_volume(ct_path)
    np.testing.assert_allclose(found, expected, atol=2e-3)


def test_another_spacing_gives_nearly_the_same_embedding(pretrained, ct_path, tmp_path):
    image = sitk.ReadImage(str(ct_path))
    finer = sitk.Expand(image, [2, 2, 1], sitk.sitkLinear)
    path = write_as(finer, tmp_path / "finer.mha")
    own = pretrained.embed_volume(ct_path)
    other = pretrained.embed_volume(ct_path.with_name("phantom_000004.nii.gz"))
    found = pretrained.embed_volume(path)
    assert cosine(found, own) > 0.999
    assert np.abs(found - own).max() < 0.2 * np.abs(other - own).max()


@pytest.mark.parametrize("feature", FEATURES)
def test_every_feature_is_one_finite_vector(pretrained, ct_path, feature):
    vector = pretrained.embed_volume(ct_path, feature)
    config = pretrained.config
    width = config.alignment.shared_dim if feature == ALIGNED_MAX else config.vision_encoder.dim
    assert vector.shape == (width,)
    assert np.isfinite(vector).all()


def test_features_are_what_their_names_say(pretrained, ct_path):
    crop = pretrained.crop(ct_path)
    encoded = pretrained.encode([crop])
    found = {name: pretrained.embed_volume(crop, name) for name in FEATURES}
    np.testing.assert_allclose(found["cls"], encoded.cls_token[0])
    np.testing.assert_allclose(found["post_norm_gap"], encoded.patch_tokens[0].mean(0), atol=1e-6)
    with torch.inference_mode():
        normed = pretrained.simcrop.vision_encoder.norm(encoded.before_norm)
    np.testing.assert_allclose(found["post_norm_gap"], normed[0].mean(0), atol=1e-5)
    np.testing.assert_array_equal(found["post_norm_max"], encoded.patch_tokens[0].amax(0))
    np.testing.assert_allclose(found["pre_norm_gap"], encoded.before_norm[0].mean(0), atol=1e-6)
    of_body = pretrained.embed_patches(crop)[body_patches(crop, pretrained.grid)]
    assert len(of_body) < pretrained.grid.num_patches
    np.testing.assert_allclose(found[ALIGNED_MAX], of_body.max(axis=0), atol=1e-6)
    with pytest.raises(ValueError, match="choose one of post_norm_gap"):
        pretrained.embed_volume(crop, "mean")


def test_embeddings_in_the_shared_space_have_unit_length(pretrained, ct_path):
    patches, sentences = pretrained.embed_patches(ct_path), pretrained.embed_sentences(SENTENCES)
    shared = pretrained.config.alignment.shared_dim
    assert patches.shape == (pretrained.grid.num_patches, shared)
    assert sentences.shape == (2, shared)
    np.testing.assert_allclose(np.linalg.norm(patches, axis=1), 1, atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(sentences, axis=1), 1, atol=1e-5)


def test_sentences_do_not_depend_on_their_companions(pretrained):
    together = pretrained.embed_sentences(SENTENCES)
    alone = np.concatenate([pretrained.embed_sentences([text]) for text in SENTENCES])
    np.testing.assert_allclose(together, alone, atol=1e-6)
    with pytest.raises(ValueError, match="has no words"):
        pretrained.embed_sentences(["  "])


def test_a_map_holds_cosines_and_selects_the_best(pretrained, ct_path):
    maps = pretrained.similarity_map(ct_path, SENTENCES)
    assert maps.values.shape == (2, *pretrained.grid.shape)
    assert np.abs(maps.values).max() <= 1 + 1e-6
    patches, sentences = pretrained.embed_patches(ct_path), pretrained.embed_sentences(SENTENCES)
    np.testing.assert_allclose(maps.values.reshape(2, -1), sentences @ patches.T, atol=1e-5)
    top_k = pretrained.config.alignment.top_k
    for values, selected in zip(maps.values, maps.selected, strict=True):
        assert selected.sum() == top_k
        assert values[selected].min() >= values[~selected].max()
    assert 0 < maps.is_body.mean() < 1


def test_only_body_patches_are_selected_where_the_recipe_says_so(pretrained, ct_path):
    alignment = pretrained.config.alignment.model_copy(update={"candidates": "body"})
    config = pretrained.config.model_copy(update={"alignment": alignment})
    other = Pretrained(pretrained.simcrop, config, pretrained.text_fingerprint)
    maps = other.similarity_map(ct_path, SENTENCES)
    assert (maps.is_body | ~maps.selected).all()


def test_a_saved_map_lies_on_the_ct(pretrained, ct_path, tmp_path):
    """A file in another orientation is cut into patches; each cell of the map finds its voxels.

    The CT's HU are averaged, through the map's affine alone, inside every cell's box in mm.
    """
    turned = sitk.DICOMOrient(sitk.ReadImage(str(ct_path)), "PSR")
    path = write_as(turned, tmp_path / "ct.nii.gz")
    (one,) = ground(pretrained, path, SENTENCES[:1], tmp_path / "maps")
    map_image, ct = nibabel.load(one.map_path), nibabel.load(path)
    maps = pretrained.similarity_map(path, SENTENCES[:1])
    np.testing.assert_allclose(map_image.get_fdata(), maps.values[0], atol=1e-6)
    np.testing.assert_allclose(map_image.affine, maps.affine, atol=1e-4)
    assert nibabel.aff2axcodes(map_image.affine) == ("R", "A", "S")

    index = np.stack(np.meshgrid(*map(np.arange, ct.shape), indexing="ij"), -1)
    to_cell = np.linalg.inv(map_image.affine) @ ct.affine
    cell = np.rint(index @ to_cell[:3, :3].T + to_cell[:3, 3]).astype(int)
    is_inside = ((cell >= 0) & (cell < map_image.shape)).all(axis=-1)
    number = np.ravel_multi_index(tuple(cell[is_inside].T), map_image.shape)
    hu = np.clip(ct.get_fdata()[is_inside], *pretrained.contract.window_hu)
    size = pretrained.grid.num_patches
    num_voxels = np.bincount(number, minlength=size)
    mean_hu = np.bincount(number, hu, size) / np.maximum(num_voxels, 1)

    crop = pretrained.crop(path)
    seen = np.clip(crop.voxels.astype(float), *pretrained.contract.window_hu)
    seen = pretrained.grid.cut(torch.from_numpy(seen)).mean(-1).numpy()
    is_real = pretrained.grid.share(torch.from_numpy(crop.is_padding)).numpy() == 0
    is_full = is_real & (num_voxels > 0.9 * num_voxels.max())
    assert is_full.sum() > size / 3
    assert np.corrcoef(mean_hu[is_full], seen[is_full])[0, 1] > 0.995
    assert np.abs(mean_hu - seen)[is_full].mean() < 25

    centre = pretrained.grid.centers_mm(crop.affine)[peak_patch(maps, 0)]
    np.testing.assert_allclose(one.peak_mm, centre, atol=1e-3)
    assert one.peak == pytest.approx(float(maps.values[0][maps.is_body].max()))


def test_ground_writes_a_map_and_a_picture_for_every_sentence(
    pretrained, ct_path, phantom_archive, tmp_path
):
    mask = next((phantom_archive / "masks").glob("phantom_000003_*"), None)
    mask = mask or next((phantom_archive / "anatomy").glob("phantom_000003*"))
    written = ground(pretrained, ct_path, SENTENCES, tmp_path, mask_path=mask)
    assert [one.sentence for one in written] == SENTENCES
    for number, one in enumerate(written, start=1):
        assert one.map_path.name == f"{number}_map.nii.gz"
        assert one.picture_paths[0].read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
        assert -1 <= one.median <= one.peak <= 1
        extent = np.array(nibabel.load(ct_path).shape)
        index = np.linalg.inv(nibabel.load(ct_path).affine) @ (*one.peak_mm, 1)
        assert ((index[:3] > -1) & (index[:3] < extent + 1)).all()


def test_reading_a_missing_volume_is_a_data_error(pretrained, tmp_path):
    with pytest.raises(DataError, match="none"):
        pretrained.embed_volume(tmp_path / "none.nii.gz")


def test_a_volume_smaller_than_a_crop_is_padded(pretrained, ct_path):
    volume = read_volume(ct_path)
    small = Volume(volume.hu[20:60, 20:60, 10:30], volume.affine, "part")
    maps = pretrained.similarity_map(small, SENTENCES)
    assert maps.crop.is_padding.any()
    assert np.isfinite(maps.values).all()


def test_a_changed_text_encoder_is_refused_but_volumes_are_embedded(tiny_run, ct_path, tmp_path):
    folder = Path(shutil.copytree(tiny_run.checkpoint, tmp_path / "copy"))
    description = json.loads((folder / "config.json").read_text())
    description["text_encoder"]["fingerprint"] = "0123456789abcdef"
    (folder / "config.json").write_text(json.dumps(description))
    model = simcrop.load(folder)
    assert model.embed_volume(ct_path).shape == (64,)
    with pytest.raises(CheckpointError, match=r"has other weights .*0123456789abcdef"):
        model.embed_sentences(SENTENCES)


def test_a_text_encoder_that_has_moved_is_found_by_its_new_place(pretrained, tiny_run, tmp_path):
    moved = shutil.copytree(packaged_text_encoder(), tmp_path / "bert")
    model = simcrop.load(tiny_run.folder, text_encoder=str(moved))
    expected = pretrained.embed_sentences(SENTENCES)
    np.testing.assert_allclose(model.embed_sentences(SENTENCES), expected, atol=1e-6)


def test_maps_need_the_alignment(ct_path, text_encoder, phantom_store):
    config = tiny("terms.alignment=false")
    model = Pretrained(
        build_simcrop(config, text_dim=384, vocabulary_size=10), config, text_encoder.fingerprint()
    )
    assert model.embed_volume(ct_path).shape == (64,)
    for ask in (
        lambda: model.similarity_map(ct_path, SENTENCES),
        lambda: model.embed_patches(ct_path),
        lambda: model.embed_sentences(SENTENCES),
        lambda: model.embed_volume(ct_path, ALIGNED_MAX),
        lambda: embed_store(model, phantom_store, feature=ALIGNED_MAX),
    ):
        with pytest.raises(CheckpointError, match="was trained without the alignment"):
            ask()


@pytest.mark.parametrize(
    "settings",
    [
        [],
        ["terms.alignment=false"],
        ["terms.masked_report=false"],
        ["alignment.normalise_text=true"],
    ],
    ids=" ".join,
)
def test_untrained_is_the_same_network_with_other_weights(settings):
    config = tiny(*settings)
    model = Pretrained(build_simcrop(config, text_dim=384, vocabulary_size=10), config, "x")
    fresh, again, other = (model.untrained(seed) for seed in (0, 0, 1))
    shapes = {name: t.shape for name, t in model.simcrop.state_dict().items()}
    assert {name: t.shape for name, t in fresh.simcrop.state_dict().items()} == shapes
    name = "vision_encoder.patch_embedding.projection.weight"
    weights = [m.simcrop.state_dict()[name] for m in (fresh, again, other, model)]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])
    assert not torch.equal(weights[0], weights[3])


def test_an_unknown_device_is_refused(tiny_run):
    with pytest.raises(ConfigError, match="device 'tpu7'"):
        simcrop.load(tiny_run.folder, device="tpu7")
