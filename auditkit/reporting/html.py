"""The report as one HTML page: no scripts, no network, the same bytes for the same run."""

import base64
import hashlib
import re
from functools import cache
from importlib.resources import files
from pathlib import Path

from jinja2 import Environment, FunctionLoader, StrictUndefined
from markupsafe import Markup

from auditkit.errors import AuditkitError
from auditkit.records import Run
from auditkit.reporting.language import Language, Texts, texts_for
from auditkit.reporting.view.page import page

_LANG = {"en": "en", "zh": "zh-Hans"}

_INDENTATION = re.compile(r"\n\s+(?=<)")
_IN_TABLES = re.compile(r">\n(?=</?(?:tr|td|th|thead|tbody|table|rect|line|path|g|circle|polyline)\b)")
_UNPRINTABLE = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufffe\uffff]"
)
"""Characters that no page may hold, and those that would turn the direction of the text around them."""


def render_html(run: Run, language: Language) -> str:
    """The report of a run in one language, made from the run alone.

    Args:
        run: A stored run.
        language: ``"en"`` or ``"zh"``.

    Raises:
        AuditkitError: The templates are missing from the installation.
    """
    texts = texts_for(language)
    return render_template("report.html.j2", texts, page=page(run, texts))


def render_template(name: str, texts: Texts, **values: object) -> str:
    """A page from a template, with the style sheet and a policy that allows nothing else."""
    css = without_indentation(read_template("report.css"))
    environment = template_environment()
    rendered = environment.get_template(name).render(
        **values,
        _=texts.text,
        text=texts.text,
        plural=texts.plural,
        space="" if texts.language == "zh" else " ",
        lang=_LANG[texts.language],
        css=Markup(css),  # noqa: S704 - our own file
        policy=content_policy(css),
    )
    return without_indentation(clean(rendered)).strip() + "\n"


def without_indentation(text: str) -> str:
    """Neither blank lines nor spaces before a tag, nor lines between parts of tables and drawings.

    None of it is ever seen; texts that are shown as they stand hold no tag.
    """
    return _IN_TABLES.sub(">", _INDENTATION.sub("\n", text))


def clean(text: str) -> str:
    """The text with unprintable and direction-changing characters made visible as U+FFFD."""
    return _UNPRINTABLE.sub("\N{REPLACEMENT CHARACTER}", text)


def content_policy(css: str) -> str:
    """A content security policy that allows this style sheet and embedded pictures only."""
    digest = base64.b64encode(hashlib.sha256(css.encode()).digest()).decode()
    return (
        f"default-src 'none'; style-src 'sha256-{digest}'; img-src data:; base-uri 'none'; form-action 'none'"
    )


@cache
def template_environment() -> Environment:
    """Templates with escaping on and unknown names refused."""
    return Environment(
        loader=FunctionLoader(read_template),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


@cache
def read_template(name: str) -> str:
    """The text of a template: from the installed package, else from the checkout."""
    packaged = files("auditkit") / "_templates" / name
    if packaged.is_file():
        return packaged.read_text(encoding="utf-8")
    source = Path(__file__).resolve().parents[2] / "reports" / "templates" / name
    if source.is_file():
        return source.read_text(encoding="utf-8")
    raise AuditkitError(
        f"report template {name}: missing from this installation, expected at {packaged}; install it again"
    )
