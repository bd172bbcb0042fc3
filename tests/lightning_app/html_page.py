"""A page as a browser reads it, but stricter."""

import re
from collections.abc import Collection
from dataclasses import dataclass, field
from html.parser import HTMLParser

VOID = {"meta", "img", "br"}


@dataclass
class Element:
    """An element of a page."""

    tag: str
    attributes: dict[str, str | None]
    children: list["Element | str"] = field(default_factory=list)

    def all(self, tag: str, css: str | None = None) -> list["Element"]:
        """Every element of that kind inside."""
        found = []
        for child in self.children:
            if isinstance(child, Element):
                if child.tag == tag and (css is None or css in (child.attributes.get("class") or "").split()):
                    found.append(child)
                found += child.all(tag, css)
        return found

    @property
    def text(self) -> str:
        """What a reader sees, figures aside."""
        parts = [
            child if isinstance(child, str) else "" if child.tag == "svg" else child.text for child in self.children
        ]
        return "".join(parts)


class Page(HTMLParser):
    """Reads a page and insists that every element is closed, in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.root = Element("", {})
        self.comments: list[str] = []
        self._open = [self.root]
        self.feed(text)
        self.close()
        assert self._open == [self.root], [element.tag for element in self._open]
        (self.html,) = (child for child in self.root.children if isinstance(child, Element))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert len(dict(attrs)) == len(attrs), (tag, attrs)
        element = Element(tag, dict(attrs))
        self._open[-1].children.append(element)
        if tag not in VOID:
            self._open.append(element)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert any(element.tag == "svg" for element in self._open), f"<{tag}/> is closed in SVG only"
        self._open[-1].children.append(Element(tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self._open[-1].tag == tag, f"</{tag}> closes <{self._open[-1].tag}>"
        self._open.pop()

    def handle_data(self, data: str) -> None:
        self._open[-1].children.append(data)

    def handle_comment(self, data: str) -> None:
        self.comments.append(data)

    def every(self) -> list[Element]:
        """All elements."""

        def below(element: Element) -> list[Element]:
            inner = [child for child in element.children if isinstance(child, Element)]
            return [*inner, *(deep for child in inner for deep in below(child))]

        return below(self.root)

    def titles(self) -> list[str]:
        """What the figures are called."""
        return [title.text for figure in self.html.all("figure") for title in figure.all("h3")]

    def caption(self, title: str) -> str:
        """What is said of a figure."""
        (figure,) = (figure for figure in self.html.all("figure") if [h.text for h in figure.all("h3")] == [title])
        return figure.all("figcaption")[0].text

    def rows(self) -> dict[str, list[str]]:
        """The first table."""
        table = self.html.all("table")[0]
        return {cells[0].text: [cell.text for cell in cells[1:]] for row in table.all("tr") if (cells := row.all("td"))}


def check_self_contained(page: Page, files: Collection[str] = ()) -> None:
    """A page fetches nothing, and links to nothing but its own places and these files beside it."""
    places = {f"#{element.attributes['id']}" for element in page.every() if "id" in element.attributes}
    for element in page.every():
        assert element.tag not in ("link", "script", "iframe", "object", "embed", "base")
        for name, value in element.attributes.items():
            assert not name.startswith("on")
            if name.startswith("xmlns"):
                continue  # the name of a vocabulary, which nobody fetches
            assert "//" not in str(value) or str(value).startswith("data:image/png;base64,"), (element.tag, name, value)
            if name in ("href", "xlink:href", "src", "srcset"):
                inside = str(value).startswith("data:image/png;base64,") or str(value) in places
                assert inside or (element.tag == "a" and value in files), (element.tag, name, value)
        if element.tag == "style":
            assert not re.search(r"@import|url\((?!#)", element.text)
    assert not re.search(r"https?:", page.html.text)
    assert not [comment for comment in page.comments if "http" in comment]
    # What figures refer to lies in the same figure.
    for figure in page.html.all("svg"):
        inner = [element for tag in ("path", "use", "g", "clippath") for element in figure.all(tag)]
        ids = {element.attributes.get("id") for element in inner}
        for element in inner:
            for value in element.attributes.values():
                assert set(re.findall(r"url\(#([^)]+)\)", str(value))) <= ids
            if "xlink:href" in element.attributes:
                assert str(element.attributes["xlink:href"])[1:] in ids
