"""What a run shows while it goes on and afterwards: values, speed, curves, loggers, a summary."""

import logging

import pytest

from simcrop.errors import ConfigError
from simcrop.train import loggers as loggers_module
from simcrop.train.recording import WaitingTime
from simcrop.train.run import pretrain
from simcrop.train.run_folder import RunFolder
from simcrop.train.run_summary import summarise
from simcrop.view.run_report import write_run_report
from tiny_run import read_metrics, tiny

FEW = (
    "optimizer.batch_size=6",
    "optimizer.length=4",
    "optimizer.warmup=2",
    "optimizer.lr=0.01",
    "trainer.log_steps=2",
    "trainer.checkpoint_steps=2",
    "trainer.validation_epochs=1",
    "trainer.diagnostic_studies=2",
    "trainer.draw_seconds=0",
    "trainer.loggers=[tensorboard]",
    "terms.masked_report=false",
)


@pytest.fixture(scope="module")
def shown(phantom_store, tmp_path_factory) -> tuple[RunFolder, list[str], list[str]]:
    """Two epochs whose curves cannot be drawn at first; the run, what it said, what it warned."""
    pytest.importorskip("tensorboard")
    run, draw, said = RunFolder(tmp_path_factory.mktemp("shown") / "run"), RunFolder.draw_curves, []
    drawn = iter(range(99))

    def fail_at_first(self):
        if next(drawn) < 2:
            raise MemoryError("no room for a picture")
        return draw(self)

    warned: list[logging.LogRecord] = []
    handler = logging.Handler()
    handler.emit = warned.append
    logging.getLogger("simcrop").addHandler(handler)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(RunFolder, "draw_curves", fail_at_first)
        pretrain(
            tiny(*FEW), phantom_store, run, on_progress=lambda done, total, what: said.append(what)
        )
    logging.getLogger("simcrop").removeHandler(handler)
    assert next(drawn) == 5  # after every update, as no time need pass, and at the end
    return run, said, [record.getMessage() for record in warned]


def test_a_picture_that_cannot_be_drawn_is_one_warning(shown):
    run, _, warned = shown
    assert [message for message in warned if "was not drawn" in message] == [
        f"{run.curves} was not drawn: no room for a picture"
    ]
    assert run.curves.exists()


def test_values_have_their_step_and_the_learning_rate_that_was_used(shown):
    metrics = read_metrics(shown[0].metrics)
    assert list(metrics["train/total_loss"]) == [1, 3]
    assert list(metrics["val/total_loss"]) == [2, 4]
    assert list(metrics["val/air_share"]) == [2, 4]
    assert metrics["train/lr"][1] == pytest.approx(0.01)  # the end of the warm-up


def test_speed_is_logged_and_told(shown):
    run, said, _ = shown
    metrics = read_metrics(run.metrics)
    assert all(speed > 0 for speed in metrics["time/studies_per_second"].values())
    assert all(0 <= share <= 1 for share in metrics["time/waiting_share"].values())
    assert said[-1].startswith("pre-train, loss ")
    assert "studies/s, " in said[-1]
    assert said[-1].endswith("% waiting for data")


def test_only_the_wait_for_the_training_loader_counts(monkeypatch):
    now = iter([10.0, 13.0, 20.0, 24.0])
    monkeypatch.setattr("simcrop.train.recording.time.monotonic", lambda: next(now))
    waiting = WaitingTime()
    for action in ("[_TrainingEpochLoop].train_dataloader_next", "run_training_batch"):
        waiting.start(action)
        waiting.stop(action)
    assert waiting.seconds == 3.0


def test_tensorboard_has_the_same_values(shown):
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    events = accumulator.EventAccumulator(str(shown[0].folder / "tensorboard"))
    events.Reload()
    metrics = read_metrics(shown[0].metrics)
    assert set(events.Tags()["scalars"]) == set(metrics)
    for name, column in metrics.items():
        found = {event.step: event.value for event in events.Scalars(name)}
        assert found == pytest.approx(column, rel=1e-6)


def test_wandb_stays_on_this_machine(phantom_store, tmp_path, monkeypatch):
    pytest.importorskip("wandb")
    monkeypatch.delenv("WANDB_MODE", raising=False)
    run = RunFolder(tmp_path / "run")
    pretrain(tiny(*FEW, "trainer.loggers=[wandb]", "optimizer.length=3"), phantom_store, run)
    (folder,) = (run.folder / "wandb").glob("offline-run-*")
    assert folder.name.endswith(run.described()["id"])
    assert [*folder.glob("run-*.wandb")]


def test_a_logger_that_is_not_installed_is_told_with_the_command(
    phantom_store, tmp_path, monkeypatch
):
    monkeypatch.setattr(loggers_module, "find_spec", lambda name: None)
    for name, extra in (("tensorboard", "tb"), ("wandb", "wandb")):
        with pytest.raises(ConfigError, match=rf"pip install 'simcrop\[{extra}\]'"):
            pretrain(tiny(f"trainer.loggers=[{name}]"), phantom_store, RunFolder(tmp_path / "run"))
    assert not (tmp_path / "run").exists()


# --- simcrop show -------------------------------------------------------------------------------


def test_the_summary_tells_where_the_run_stands(shown, phantom_store):
    run = shown[0]
    summary = summarise(run.folder)
    metrics = read_metrics(run.metrics)
    assert summary.state == "finished, 4 of 4 updates"
    rows = {row[0]: row[1:] for row in summary.losses().rows}
    total = metrics["val/total_loss"]
    step = min(total, key=total.__getitem__)
    assert rows["val/total_loss"] == (
        f"{total[2]:.4g}", f"{total[4]:.4g}", f"{total[step]:.4g}", str(step)
    )  # fmt: skip
    assert "val/gradient_patch_loss" not in rows
    assert "val/air_share" in {row[0] for row in summary.diagnostics().rows}
    facts = dict(summary.facts().rows)
    assert facts["unreadable studies"] == facts["bad batches"] == "none"
    assert str(phantom_store.folder) in facts["store"]
    places = dict(summary.places().rows)
    assert "after 4 updates" in places["checkpoint"]
    assert f"val/total_loss {total[step]:.4g}" in places["best"]
    assert "step_00000004.ckpt" in places["resume points"]


def test_a_run_in_its_course_is_summarised_too(tmp_path, phantom_store):
    run = RunFolder(tmp_path / "run")
    run.start(tiny(), tiny().contract(), phantom_store)
    assert summarise(run.folder).state == "not begun"
    run.note_length(24)
    run.metrics.write_text("step,name,value\n6,train/total_loss,3.5\n7,train/tot")
    run.skipped.write_text("step,split,study_id,reason\n3,train,ct_1,gone\n5,train,ct_1,gone\n")
    run.bad_batches.write_text("step,study_ids,total_loss\n3,ct_1 ct_2,nan\n")
    summary = summarise(run.folder)
    assert summary.state == "7 of 24 updates so far"
    facts = dict(summary.facts().rows)
    assert facts["unreadable studies"].startswith("1, see ")
    assert facts["bad batches"].startswith("1, see ")
    page = write_run_report(tmp_path / "report.html", summary).read_text()
    assert "What was passed over" in page
    assert "No validation has measured it yet." in page


def test_a_folder_without_a_run_is_told(tmp_path):
    with pytest.raises(ConfigError, match="holds no run"):
        summarise(tmp_path)


def test_a_segmentation_is_told_with_its_curves(tmp_path):
    (tmp_path / "run.json").write_text('{"segmentation": {}}')
    with pytest.raises(ConfigError, match=r"holds a segmentation.*curves\.png"):
        summarise(tmp_path)


def test_the_page_has_every_curve_and_needs_nothing_else(shown, tmp_path):
    page = write_run_report(tmp_path / "report.html", summarise(shown[0].folder)).read_text()
    assert page.count("data:image/png;base64,") == 3
    assert "simcrop probe --checkpoint" in page
    assert "checkpoint_steps: 2" in page
    assert "http" not in page.replace("http-equiv", "")
