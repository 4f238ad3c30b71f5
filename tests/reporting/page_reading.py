"""Reading a rendered page as a browser would: its elements with their attributes, and its text."""

from html.parser import HTMLParser

VOID = {"meta", "br", "img", "link", "hr", "input"}


class Page(HTMLParser):
    """Start tags in order, text by element, and whether every element was closed in its place."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.misplaced: list[str] = []
        self.texts: list[tuple[str, str]] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        if not self.open or self.open.pop() != tag:
            self.misplaced.append(tag)

    def handle_data(self, data):
        if data.strip():
            self.texts.append((self.open[-1] if self.open else "", data))

    @property
    def outline(self) -> list[tuple[str, tuple[str, ...]]]:
        """Tags with the names of their attributes: what a name in the data must never change."""
        return [(tag, tuple(attributes)) for tag, attributes in self.elements]

    def text(self, *, but: tuple[str, ...] = ("style", "pre", "code")) -> str:
        """All text a reader sees."""
        return "\n".join(data for tag, data in self.texts if tag not in but)

    def all(self, tag: str) -> list[dict[str, str | None]]:
        """The attributes of every element of one kind."""
        return [attributes for name, attributes in self.elements if name == tag]
