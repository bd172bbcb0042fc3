"""What a record says of time and memory: no second is lost or counted twice; how fast anything is nobody asks."""

import time
from collections.abc import Callable
from typing import Any

import pytest

from callbacks import Probe
from callbacks.probe import Readings, Subject
from datamodules import ImageTable
from lightning_app.costs import Costs, age
from tests.callbacks.helpers import LIGHTNING_WARNINGS, make_data, make_model, make_trainer

SLEEP = 0.2


class Slow(Probe):
    """Measures for a known time."""

    def measure(self, subject: Subject) -> Readings:
        time.sleep(SLEEP)
        return {"slow": 1.0}


class SlowBatches(Costs):
    """Whatever a step takes, it takes this long."""

    def on_train_batch_start(self, *args: Any) -> None:
        super().on_train_batch_start(*args)
        time.sleep(SLEEP)


@LIGHTNING_WARNINGS
def test_every_second_is_counted_once(tiny_table: ImageTable) -> None:
    data = make_data(tiny_table)
    costs, before = SlowBatches(), age()
    began = time.monotonic()
    trainer = make_trainer(costs, Slow(), Slow(), epochs=2)
    trainer.fit(make_model(data), datamodule=data)
    trainer.test(trainer.lightning_module, datamodule=data, verbose=False)
    took = time.monotonic() - began
    seconds = {name: spent for name, spent in costs.account(trainer).items() if name.startswith("seconds/")}
    assert min(seconds.values()) >= 0
    assert seconds["seconds/Slow"] >= 2 * 3 * SLEEP  # two of them, twice in training and once in the test
    assert seconds["seconds/train"] >= 6 * SLEEP  # 40 images in batches of at most 16, twice
    assert seconds["seconds/evaluation"] + seconds["seconds/data"] <= took - 12 * SLEEP  # and none of it here
    assert sum(seconds.values()) == pytest.approx(age(), abs=SLEEP)
    assert seconds["seconds/start"] >= before


def test_the_record_and_the_table_say_what_was_spent(
    fit: Callable[..., dict[str, Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    record = fit()
    kinds = {name.removeprefix("seconds/") for name in record if name.startswith("seconds/")}
    probes = {"DatasetProperties", "RepresentationDimension", "AdversarialRobustness", "SplitCheck"}
    assert kinds == {"start", "data", "train", "evaluation", "other"} | probes
    assert record["memory/cpu"] > 100  # torch alone takes more
    out = capsys.readouterr().out
    assert "% of the time" in out
    assert "MB at the peak" in out
