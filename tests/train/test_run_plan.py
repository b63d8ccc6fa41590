"""What a plan predicts: memory against the allocator, work by arithmetic, days and storage."""

import math

import pytest
from torch.profiler import ProfilerActivity, profile

from simcrop.config import Config
from simcrop.errors import ConfigError
from simcrop.recipes import RECIPES
from simcrop.train import plan
from simcrop.train.footprint import Step, footprint
from simcrop.train.plan import Machine, largest_that_fits, make_plan
from simcrop.train.rehearsal import TextLengths
from tiny_run import tiny

TEXT = TextLengths(findings_words=60, report_words=50, sentences=6)
GB = 10**9


def allocated_peak(config: Config) -> int:
    """What torch's allocator had handed out at most, networks, optimizer and a step together."""
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as record:
        Step(config, 8, TEXT, is_bf16=False)()
    events = record.profiler.kineto_results.events()
    changes = sorted((e.start_ns(), e.nbytes()) for e in events if e.name() == "[memory]")
    now = highest = 0
    for _, change in changes:
        now += change
        highest = max(highest, now)
    return highest


@pytest.mark.parametrize(
    "settings",
    [
        [],
        ["trainer.checkpoint_activations=true", "vision_encoder.depth=6"],
        ["terms.masked_report=false", "terms.alignment=false", "terms.fusion=false"],
        ["alignment.negatives=per_image", "alignment.volume_pass=unmasked", "alignment.reach=1"],
        ["masking.word_variants=0", "fusion.dropout=0.1", "optimizer.accumulate=2"],
        ["terms.instance_contrast=true", "optimizer.fused=false"],
        ["optimizer.micro_batch=2", "alignment.negatives=batch"],
    ],
    ids=lambda settings: settings[0] if settings else "as it is",
)
def test_the_peak_is_what_the_allocator_hands_out(settings):
    config = tiny(*settings)
    found = footprint(config, 8, TEXT, is_bf16=False)
    assert allocated_peak(config) == pytest.approx(found.peak_bytes, rel=0.03)
    assert found.peak_bytes > found.state_bytes + found.trained_bytes


def test_the_work_of_a_masked_volume_step_is_that_of_its_matrix_products():
    """Forward once, backward twice; the backward pass of attention computes its matrix again."""
    only_volume = [f"terms.{one}=false" for one in ("masked_report", "alignment", "fusion")]
    config = tiny(*only_volume, "vision_decoder.depth=1", "vision_encoder.depth=1")
    N, V, P, D, W, B = 120, 30, 12 * 12 * 6, 64, 48, 4
    M, n = N - V, N + 1
    encoder = 3 * 2 * V * P * D - 2 * V * P * D + 3 * 24 * (V + 1) * D**2
    encoder += 14 * (V + 1) ** 2 * D
    decoder = 3 * (2 * n * W * 2 * W + 2 * M * W * W + 2 * M * W * W + 16 * M * W**2)
    decoder += 14 * M * n * W + 3 * 2 * M * W * P + 3 * 2 * (V + 1) * D * W
    found = footprint(config, B, TEXT, is_bf16=False)
    assert found.flops == B * (encoder + decoder)


def test_bf16_and_checkpointing_take_less_and_checkpointing_works_more():
    deep = ("vision_encoder.depth=6", "vision_decoder.depth=3")
    config, again = tiny(*deep), tiny(*deep, "trainer.checkpoint_activations=true")
    plain = footprint(config, 32, TEXT, is_bf16=False)
    narrow = footprint(config, 32, TEXT, is_bf16=True)
    spared = footprint(again, 32, TEXT, is_bf16=False)
    assert narrow.peak_bytes < plain.peak_bytes
    assert spared.peak_bytes < 0.95 * plain.peak_bytes
    assert plain.flops == narrow.flops < spared.flops < 1.4 * plain.flops


@pytest.mark.parametrize("first", [1, 5, 40])
@pytest.mark.parametrize("room", [90, 100, 135, 1000, 1007, 9999])
def test_the_largest_batch_is_the_largest(first, room):
    def peak(batch: int) -> int:
        return 90 + 10 * batch + batch**2 // 7

    asked = []
    found = largest_that_fits(lambda b: asked.append(b) or peak(b), room, first, peak(first))
    assert found == max((b for b in range(1, 1000) if peak(b) <= room), default=0)
    assert len(asked) <= 15


def test_where_a_peak_is_in_proportion_few_guesses_are_needed():
    asked = []
    found = largest_that_fits(lambda b: asked.append(b) or 25 + 14 * b, 800, 14, 25 + 14 * 14)
    assert found == 55
    assert len(asked) <= 5


@pytest.fixture
def steps(monkeypatch):
    """Footprints of round numbers: 10 GB and 4 more per study, 2 TFLOP per study."""

    def made_up(config, num_studies, text, *, is_bf16):
        waiting = num_studies - (config.optimizer.micro_batch or num_studies)
        work = 2 if config.alignment.volume_pass == "masked" else 5
        peak = (10 + 4 * num_studies) * GB
        return plan.Footprint(peak, 2 * GB, 8 * GB, waiting * GB, num_studies * work * 10**12)

    monkeypatch.setattr(plan, "footprint", made_up)


def test_days_and_storage_follow_from_work_and_peak(steps):
    config = RECIPES["paper"]
    found = make_plan(config, Machine(gpus=8, mfu=0.5), studies=24_128)
    assert found.studies_per_second("A100") == pytest.approx(8 * 312 * 0.5 / 2)
    assert found.days("A100") == pytest.approx(200 * 24_128 / 624 / 86_400)
    assert found.studies_per_update == 14 * 8 * 8
    assert found.updates == 200 * (24_128 // 896)
    assert found.bytes_per_study == 224 * 224 * 112 * 2
    assert found.largest_batch is None


@pytest.mark.parametrize(("gpus", "largest"), [(1, 17), (8, 16)])
def test_several_gpus_need_room_for_their_exchange_of_gradients(gpus, largest, steps):
    memory = 79 * GB + plan.CONTEXT_BYTES
    found = make_plan(RECIPES["paper"], Machine(gpus, memory), studies=24_128)
    assert found.largest_batch == largest
    assert found.peak_bytes == (10 + 4 * 14 + (2 if gpus > 1 else 0)) * GB


def test_fsdp_spreads_weights_gradients_and_averages(steps):
    trainer = RECIPES["paper"].trainer.model_copy(update={"strategy": "fsdp"})
    config = RECIPES["paper"].model_copy(update={"trainer": trainer})
    assert make_plan(config, Machine(gpus=8)).peak_bytes == (10 + 4 * 14 - 7) * GB


def test_studies_that_wait_in_the_hosts_memory_take_none_of_a_gpu(steps):
    found = make_plan(tiny("optimizer.micro_batch=2"), Machine(), studies=96)
    assert found.peak_bytes == (10 + 4 * 8 - 6) * GB


def test_what_waits_are_the_studies_beyond_the_micro_batch():
    def waiting(micro_batch):
        config = tiny(f"optimizer.micro_batch={micro_batch}", "alignment.negatives=batch")
        return footprint(config, 8, TEXT, is_bf16=False).waiting_bytes

    assert waiting("null") == waiting(9) == 0
    assert waiting(2) == 6 * waiting(7)
    voxels = math.prod(tiny().volume.crop_shape)
    assert waiting(7) >= 5 * voxels  # float32, and whether they are padding


@pytest.mark.parametrize(("every", "work"), [(1, 5), (4, 2 + 3 / 4)])
def test_a_second_pass_in_every_nth_batch_counts_as_often(every, work, steps):
    settings = ("alignment.volume_pass=unmasked", f"alignment.pass_every={every}")
    found = make_plan(tiny(*settings), Machine(), studies=96)
    assert found.flops_per_study == pytest.approx(work * 10**12)


def test_steps_count_as_they_are(steps):
    found = make_plan(tiny(), Machine(), studies=96)
    assert found.updates == 24
    assert found.epochs == 24 * 8 / 96


def test_an_update_of_more_studies_than_there_are_is_refused(steps):
    with pytest.raises(ConfigError, match="896 studies per update of 100 in all"):
        make_plan(RECIPES["paper"], Machine(gpus=8), studies=100)
