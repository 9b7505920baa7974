"""A page as a browser reads it, strictly: what is opened is closed, in order."""

from html.parser import HTMLParser

VOID = {"meta", "line", "rect", "circle", "polyline"}


class Page(HTMLParser):
    """Elements with their attributes, text, and whether each is closed in order."""

    def __init__(self, page: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self._open: list[str] = []
        self._rows: list[list[str]] = []
        self.feed(page)
        assert not self._open, self._open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag == "tr":
            self._rows.append([])
        elif tag in ("td", "th"):
            self._rows[-1].append("")
        if tag not in VOID:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data.strip())
        if self._open and self._open[-1] in ("td", "th"):
            self._rows[-1][-1] += data.strip()

    def rows(self) -> list[list[str]]:
        """The cells of each row of each table."""
        return self._rows
