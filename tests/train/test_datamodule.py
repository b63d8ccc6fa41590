from itertools import islice

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from simcrop.data.samples import StudyDataset
from simcrop.train.datamodule import BatchStream, PretrainingData
from tiny_run import study_dataset, text_states, tiny

sizes = st.integers(1, 40)


def take(stream: BatchStream, number: int):
    return list(islice(stream, number))


@given(num_studies=sizes, batch_size=sizes, seed=st.integers(0, 99))
def test_an_epoch_shows_no_study_twice_and_drops_less_than_a_batch(num_studies, batch_size, seed):
    stream = BatchStream(num_studies, batch_size, seed)
    for epoch in range(2):
        start = BatchStream(num_studies, batch_size, seed, epoch * stream.batches_per_epoch)
        batches = take(start, stream.batches_per_epoch)
        shown = [position for batch in batches for _, position in batch]
        assert len(shown) == len(set(shown))
        assert set(shown) <= set(range(num_studies))
        assert num_studies - len(shown) < stream.batch_size
        assert {e for batch in batches for e, _ in batch} == {epoch}


def test_every_study_is_shown_where_batches_divide_the_set():
    shown = [p for batch in take(BatchStream(12, 4, seed=3), 3) for _, p in batch]
    assert sorted(shown) == list(range(12))


@given(num_studies=sizes, batch_size=sizes, start=st.integers(0, 30), ranks=st.integers(1, 3))
def test_any_start_continues_the_stream(num_studies, batch_size, start, ranks):
    whole = take(BatchStream(num_studies, batch_size, 1, 0, 0, ranks), start + 5)
    assert take(BatchStream(num_studies, batch_size, 1, start, 0, ranks), 5) == whole[start:]


def test_epochs_and_seeds_order_the_studies_differently():
    epochs = take(BatchStream(16, 16, seed=0), 3)
    orders = [[position for _, position in batch] for batch in epochs]
    orders += [[position for _, position in take(BatchStream(16, 16, seed=1), 1)[0]]]
    assert len({tuple(order) for order in orders}) == 4
    assert all(sorted(order) == list(range(16)) for order in orders)


@given(num_studies=st.integers(2, 40), batch_size=sizes, num_ranks=st.integers(2, 4))
def test_processes_share_an_epoch_without_overlap(num_studies, batch_size, num_ranks):
    if num_studies < num_ranks:
        return
    streams = [BatchStream(num_studies, batch_size, 5, 0, r, num_ranks) for r in range(num_ranks)]
    shown = [[p for batch in take(s, s.batches_per_epoch) for _, p in batch] for s in streams]
    together = [p for positions in shown for p in positions]
    assert len(together) == len(set(together))
    assert len({len(positions) for positions in shown}) == 1
    assert num_studies - len(together) < num_ranks * streams[0].batch_size


@pytest.mark.parametrize("num_studies", [1, 2, 3])
def test_a_set_smaller_than_a_batch_is_one_batch(num_studies):
    stream = BatchStream(num_studies, 8, seed=0)
    assert stream.batches_per_epoch == 1
    assert all(len(batch) == num_studies for batch in take(stream, 4))


@pytest.fixture(scope="module")
def dataset(phantom_store, tiny_config, text_encoder):
    texts = text_states(tiny_config, phantom_store, text_encoder)
    return study_dataset(tiny_config, phantom_store, texts)


def test_the_training_loader_gives_the_batches_of_the_stream(dataset):
    config = tiny("optimizer.batch_size=5")
    data = PretrainingData(dataset, dataset, config, start=3)
    loader = iter(data.train_dataloader())
    for chosen in take(BatchStream(len(dataset), 5, config.seed, start=3), 2):
        expected = tuple(dataset.studies[position] for _, position in chosen)
        assert next(loader).study_ids == expected


def test_reading_processes_change_no_sample(dataset):
    batches = []
    for workers in (0, 1):
        config = tiny("optimizer.batch_size=3", f"trainer.workers={workers}")
        batches.append(next(iter(PretrainingData(dataset, dataset, config).train_dataloader())))
    here, there = batches
    assert here.study_ids == there.study_ids
    assert torch.equal(here.voxels, there.voxels)
    assert torch.equal(here.report_states, there.report_states)


def test_validation_shows_every_study_once_in_order(dataset):
    data = PretrainingData(dataset, dataset, tiny("optimizer.batch_size=5"))
    shown = [study for batch in data.val_dataloader() for study in batch.study_ids]
    assert shown == dataset.studies


def test_an_empty_validation_set_gives_no_batch(dataset, phantom_store, tiny_config):
    empty = StudyDataset(phantom_store, [], phantom_store.contract, dataset.text, seed=0)
    assert PretrainingData(dataset, empty, tiny_config).val_dataloader() == []


@pytest.mark.parametrize(
    ("batch_size", "accumulate", "updates"), [(8, 1, 3), (8, 2, 1), (8, 5, 1), (5, 2, 2)]
)
def test_updates_of_an_epoch_are_whole_accumulations(dataset, batch_size, accumulate, updates):
    config = tiny(f"optimizer.batch_size={batch_size}", f"optimizer.accumulate={accumulate}")
    assert len(dataset) == 24
    assert PretrainingData(dataset, dataset, config).updates_per_epoch == updates
