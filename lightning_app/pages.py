"""Pages in one file that opens offline: everything that a template is given is shown as it is, never as markup."""

from importlib import resources
from importlib.metadata import version
from typing import Any

import jinja2

from lightning_app.plain import listed, number, printable


def render(template: str, **given: Any) -> str:
    """A page.

    Args:
        template: File of the package, ``measure_page.html.jinja`` or ``report/page.html.jinja``.
        given: What the template speaks of.
    """
    files = resources.files("lightning_app")
    environment = jinja2.Environment(
        autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined, finalize=_shown
    )
    environment.filters |= {"number": number, "listed": listed}
    page = environment.from_string(files.joinpath(template).read_text(encoding="utf-8"))
    style = files.joinpath("page_style.css").read_text(encoding="utf-8")
    return page.render(**given, style=style, version=version("intrinsic-scaling"))


def _shown(value: object) -> object:
    return printable(value) if type(value) is str else value
