"""The moving line: on a terminal only, and gone in the end."""

import io
import sys
from collections.abc import Callable

import pytest

from lightning_app.stages import Stages


class Terminal(io.StringIO):
    """What a terminal was sent."""

    def isatty(self) -> bool:
        return True


@pytest.fixture
def look(monkeypatch: pytest.MonkeyPatch) -> Callable[[], Terminal]:
    """Makes standard error a terminal: within the test, since pytest puts its own in place between the phases."""

    def begin() -> Terminal:
        terminal = Terminal()
        monkeypatch.setattr(sys, "stderr", terminal)
        monkeypatch.setenv("TERM", "xterm")
        monkeypatch.setenv("COLUMNS", "120")
        return terminal

    return begin


def test_nothing_is_written_where_nobody_looks(capsys: pytest.CaptureFixture[str]) -> None:
    with Stages() as stages:
        stages.begin("reading")(1, 2)
        stages.begin("neighbours")
    assert capsys.readouterr() == ("", "")


def test_the_present_part_is_shown_with_its_progress(
    look: Callable[[], Terminal], capsys: pytest.CaptureFixture[str]
) -> None:
    terminal = look()
    with Stages() as stages:
        assert stages._line is not None
        stages.begin("reading")(1, 4)
        stages._line.refresh()
        first = terminal.getvalue()
        stages.begin("neighbours")(3, 4)
        stages._line.refresh()
        second = terminal.getvalue()[len(first) :]
    assert "reading" in first
    assert "25%" in first
    assert "75%" in second
    assert "reading" not in second[second.rindex("neighbours") :]
    assert capsys.readouterr().out == ""


def test_the_line_is_gone_in_the_end(look: Callable[[], Terminal]) -> None:
    terminal = look()
    with Stages() as stages:
        stages.begin("reading")(1, 2)
    shown = terminal.getvalue()
    after = shown[shown.rindex("reading") :]
    assert "\x1b[?25h" in after  # the cursor is back
    assert after.endswith("\x1b[2K")  # and the line wiped


def test_the_line_is_gone_after_an_error(look: Callable[[], Terminal]) -> None:
    terminal = look()

    def fail() -> None:
        with Stages() as stages:
            stages.begin("reading")
            raise RuntimeError("torn")

    with pytest.raises(RuntimeError, match="torn"):
        fail()
    assert terminal.getvalue().endswith("\x1b[2K")
