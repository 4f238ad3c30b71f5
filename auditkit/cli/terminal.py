"""What a person sees while a command works: a bar on a terminal, plain lines elsewhere; always on stderr."""

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import click

_WORDS = {
    "measured": "measured",
    "skipped": "skipped",
    "failed": "FAILED",
    "reused": "kept from an earlier start",
    "variant_started": "deriving",
    "variant_reused": "kept from an earlier start",
}


def say(text: str) -> None:
    """One line for a person."""
    click.echo(text, err=True)


def counted(n: float, noun: str) -> str:
    """So many of something, in words that fit one, too.

    >>> counted(1, "step"), counted(1200, "step"), counted(1.5, "run")
    ('1 step', '1,200 steps', '1.5 runs')
    """
    shown = f"{n:,.0f}" if float(n).is_integer() else f"{n:,g}"
    return f"{shown} {noun}" if n == 1 else f"{shown} {noun}s"


def show_event(event: str, details: Mapping[str, Any]) -> None:
    """One line per finished audit, with the reason where it gave no figures."""
    if event not in _WORDS:
        return
    if "variant" in details:
        say(f"  {details['variant']:<12} {_WORDS[event]} ({details['kind']})")
        return
    against = f" against {details['against']}" if details.get("against") else ""
    seconds = f" {details['duration_s']:.1f} s" if event == "measured" else ""
    reason = f": {details['reason']}" if details.get("reason") else ""
    say(f"  {details['subject']:<12} {details['audit']}{against}: {_WORDS[event]}{seconds}{reason}")


class Progress:
    """Reports training: one bar on a terminal, a line for every tenth elsewhere."""

    def __init__(self) -> None:
        self._bar: Any = None
        self._task: Any = None
        self._tenth = -1

    def __call__(self, done: int, total: int, text: str) -> None:
        """``done`` of ``total`` steps."""
        if sys.stderr.isatty():
            self._draw(done, total, text)
            return
        tenth = 10 * done // max(1, total)
        if tenth != self._tenth and done:
            self._tenth = tenth
            say(f"  {10 * tenth:>3} %  {text}")

    def _draw(self, done: int, total: int, text: str) -> None:
        if self._bar is None:
            from rich.console import Console
            from rich.progress import Progress as RichProgress

            self._bar = RichProgress(console=Console(stderr=True), transient=True)
            self._task = self._bar.add_task(text, total=total)
            self._bar.start()
        self._bar.update(self._task, completed=done, total=total, description=text)

    def close(self) -> None:
        """Take the bar away."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None
        self._tenth = -1


@contextmanager
def progress() -> Iterator[Progress]:
    """A progress display that is gone when the block ends."""
    display = Progress()
    try:
        yield display
    finally:
        display.close()
