"""The knee localiser, on drawn films whose joints are known."""

from dataclasses import dataclass

import numpy as np
import pytest
from numpy.typing import NDArray

from datamodules.preparation.knees import PIXEL, locate_knees

ROWS, COLUMNS = 2, 5  # mm by which a joint may be missed
Joint = tuple[float, float]


@dataclass(frozen=True)
class Film:
    """A film to be drawn; lengths in mm, brightness from 0 to 1.

    Attributes:
        joints: Row and column of the middle of each gap.
        size: Height and width.
        gap: Height of the gap.
        tilt: Columns by which the axis of a leg shifts per row.
        noise: Standard deviation per pixel of 1 mm.
        slope: Difference in brightness between top and bottom, and between left and right.
        air: Brightness beside the legs.
        contrast: Between bone and soft tissue.
        border: Width of a white border, where the beam was shut off.
    """

    joints: tuple[Joint, Joint] = ((175, 105), (175, 325))
    size: tuple[int, int] = (350, 430)
    gap: float = 5
    tilt: float = 0.0
    noise: float = 0.03
    slope: tuple[float, float] = (0.0, 0.0)
    air: float = 0.0
    contrast: float = 0.35
    border: int = 0

    def draw(self, seed: int = 0) -> NDArray[np.uint8]:
        rng = np.random.default_rng(seed)
        rows, columns = np.mgrid[: self.size[0], : self.size[1]] + 0.5
        picture = np.full(self.size, self.air)
        for i, (row, column) in enumerate(self.joints):
            y, x = rows - row, columns - column - self.tilt * (rows - row)
            outward = x if i else -x  # the fibula is on the outer side
            picture[np.abs(x) < 60 + 0.05 * -y] = 0.35  # soft tissue, thicker towards the thigh
            widest = 40 * np.exp(-((np.abs(y) / 35) ** 2)) + 16  # condyles and plateau, then the shafts
            bone = np.abs(x) < widest
            bone |= (y > 15) & (np.abs(outward - 38) < 7)
            picture[bone] = 0.35 + self.contrast
            shell = bone & (np.abs(np.abs(x) - widest) < 3)
            picture[shell | (np.hypot(y + 28, x) < 20)] += 0.1  # cortex, patella
            tibia_top = np.abs(y) < self.gap / 2 + 0.03 * np.abs(x)
            picture[tibia_top & bone] = 0.35
        picture[10:22, 10:30] = picture[10:22, -30:-10] = 1  # markers of lead
        picture += self.slope[0] * (rows / self.size[0] - 0.5) + self.slope[1] * (columns / self.size[1] - 0.5)
        if self.border:
            inside = picture[self.border : -self.border, self.border : -self.border].copy()
            picture[:] = 1
            picture[self.border : -self.border, self.border : -self.border] = inside
        picture += rng.normal(0, self.noise, self.size)
        levels = (picture.clip(0, 1) * 255).astype(np.uint8)
        fine = round(1 / PIXEL)
        return np.kron(levels, np.ones((fine, fine), dtype=np.uint8))


FILMS = {
    "plain": Film(),
    "without noise": Film(noise=0),
    "noisy": Film(noise=0.15),
    "heights that differ": Film(joints=((140, 105), (215, 325))),
    "to the side": Film(joints=((160, 80), (185, 300))),
    "together": Film(joints=((180, 145), (170, 285))),
    "apart": Film(joints=((180, 75), (170, 355))),
    "high and low": Film(joints=((95, 105), (255, 325))),
    "thighs brighter": Film(slope=(-0.35, 0)),
    "shanks brighter": Film(slope=(0.35, 0)),
    "one side brighter": Film(slope=(0, 0.3)),
    "narrow gap": Film(gap=2),
    "wide gap": Film(gap=8),
    "bow legs": Film(tilt=0.15),
    "pale bone": Film(contrast=0.2),
    "grey air": Film(air=0.2),
    "white border": Film(joints=((150, 105), (190, 325)), border=15),
    "wide white border": Film(border=30),
    "small film": Film(joints=((120, 80), (130, 230)), size=(240, 310)),
    "everything at once": Film(
        joints=((150, 85), (200, 300)), gap=3, tilt=-0.1, noise=0.1, slope=(-0.2, 0.15), air=0.1, contrast=0.25
    ),
}


@pytest.mark.parametrize("name", FILMS)
def test_both_joints_are_found(name: str) -> None:
    drawn = FILMS[name]
    for seed in range(2):
        found = locate_knees(drawn.draw(seed))
        for (row, column), joint in zip(found, drawn.joints, strict=True):
            assert abs(row * PIXEL - joint[0]) <= ROWS
            assert abs(column * PIXEL - joint[1]) <= COLUMNS


def test_the_left_half_of_the_picture_comes_first() -> None:
    (left_row, left), (right_row, right) = locate_knees(FILMS["high and low"].draw())
    assert left < right
    assert left_row < right_row


def test_the_size_need_not_be_a_whole_number_of_millimetres() -> None:
    drawn = FILMS["plain"].draw()
    whole = locate_knees(drawn)
    assert locate_knees(drawn[:-3, :-1]) == whole


@pytest.mark.parametrize("value", [0, 7, 255])
def test_a_film_without_anything_gives_places_within_it(value: int) -> None:
    for i, (row, column) in enumerate(locate_knees(np.full((200, 300), value, dtype=np.uint8))):
        assert 0 <= row < 200
        assert 150 * i <= column < 150 * (i + 1)
