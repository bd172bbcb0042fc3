"""The dashboard as a workspace of W&B's."""

from collections.abc import Mapping
from typing import Any

import wandb_workspaces.workspaces as ws

from lightning_app.dashboard.panels import EPOCH, MOST, sections
from lightning_app.mistakes import mistake


class Board(ws.Workspace):
    """A workspace whose panels show every run, although its table groups them."""

    def _to_model(self) -> Any:
        """Adds what the library has no option for: a point of a scatter plot is to be a run, not a group's mean."""
        view = super()._to_model()
        section = view.spec.section
        for settings in (section.settings, *(part.local_panel_settings for part in section.panel_bank_config.sections)):
            settings.use_runs_table_grouping_in_panels = False  # type: ignore[attr-defined]  # two classes, both have it
        return view

    @property
    def specification(self) -> str:
        """What is sent to W&B, as JSON."""
        return str(self._to_model().spec.model_dump_json(by_alias=True, exclude_none=True))


def make_board(entity: str, project: str, name: str, *, attack: str, colours: Mapping[str, str]) -> Board:
    """Build the dashboard; nothing is sent.

    Args:
        entity: W&B user or team.
        project: Its project.
        name: What the workspace is called.
        attack: The attack that is plotted against K_F.
        colours: Colours of runs, by W&B id.

    Raises:
        InputError: A name that W&B does not take.
    """
    try:
        return Board(
            entity=entity,
            project=project,
            name=name,
            sections=sections(attack),
            settings=ws.WorkspaceSettings(x_axis=EPOCH, max_runs=MOST),
            runset_settings=ws.RunsetSettings(
                filters="Metric('JobType') == 'fit'",
                groupby=[ws.Config("grid"), ws.Config("domain"), ws.Config("data_set")],
                run_settings={run: ws.RunSettings(color=colour) for run, colour in colours.items()},
            ),
        )
    except ValueError as error:  # all but the name is the same every time
        raise mistake(f"--name {name!r}: W&B takes no emojis in the name of a workspace") from error
