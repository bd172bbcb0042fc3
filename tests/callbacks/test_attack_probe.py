"""What every probe that attacks relies on: seeds that belong to images, and a judge in single precision."""

import copy

import pytest
import torch
from torch import Tensor

from callbacks.attack_probe import AttackProbe, Batch
from callbacks.probe import Readings, Subject
from datamodules import ImageTable
from tests.callbacks.helpers import LIGHTNING_WARNINGS, make_data, make_model, run

pytestmark = LIGHTNING_WARNINGS


class Keeping(AttackProbe):
    """Keeps what it is given to attack."""

    def __init__(self, n_images: int | None = None, seed: int = 0, batch_size: int = 100) -> None:
        super().__init__(n_images, seed, batch_size, "float32", 1)
        self.batches: list[Batch] = []

    def measure(self, subject: Subject) -> Readings:
        def keep(batch: Batch) -> dict[str, Tensor]:
            self.batches.append(batch)
            return {"label": batch.labels}

        self.map_batches(subject, keep)
        return {}

    @property
    def seeds(self) -> dict[bytes, int]:
        """The seed of every image, by its pixels."""
        return {
            image.numpy().tobytes(): seed
            for batch in self.batches
            for image, seed in zip(batch.images, batch.seeds, strict=True)
        }


def test_a_seed_belongs_to_the_image_whichever_others_are_attacked(tiny_table: ImageTable) -> None:
    data = make_data(tiny_table, n_val=40)
    probes = [Keeping(), Keeping(batch_size=7), Keeping(n_images=9), Keeping(seed=1)]
    run("validate", data, *probes)
    whole, in_batches, few, other = (probe.seeds for probe in probes)
    assert (len(whole), len(set(whole.values()))) == (40, 40)
    assert in_batches == whole
    assert len(few) == 9
    assert few.items() <= whole.items()
    assert not set(other.values()) & set(whole.values())


@pytest.mark.parametrize(
    ("weights", "judge"),
    [(torch.float32, torch.float32), (torch.float64, torch.float64), (torch.bfloat16, torch.float32)],
)
def test_the_judge_has_the_models_weights_in_single_precision_or_better(
    tiny_table: ImageTable, weights: torch.dtype, judge: torch.dtype
) -> None:
    data = make_data(tiny_table)
    model = make_model(data).to(weights).eval()
    probe = Keeping()
    run("validate", data, probe, model=model)
    (batch,) = probe.batches
    assert {each.dtype for each in batch.model.parameters()} == {judge}
    images = data.val_set.images.to(batch.images.dtype) / 255
    assert torch.equal(batch.images, images)
    with torch.no_grad():
        expected = copy.deepcopy(model).to(judge)(images)
        found = batch.model(images)
        rounded = model(images)
    assert found.dtype == judge
    torch.testing.assert_close(found.to(judge), expected, rtol=1e-6, atol=1e-6)
    if weights == torch.bfloat16:
        assert (rounded.float() - expected).abs().max() > 1e-4
