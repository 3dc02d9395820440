"""Reports and single figures as files."""

from __future__ import annotations

from typing import TYPE_CHECKING

from optuna_study.errors import UsageError
from optuna_study.paths import writing, written_beside
from optuna_study.report.document.comparison import comparison_document
from optuna_study.report.document.content import document
from optuna_study.report.document.html import figure_page, to_html
from optuna_study.report.document.markdown import to_markdown
from optuna_study.report.export import write
from optuna_study.report.formats import to_json
from optuna_study.text import in_one_line, spell_out

if TYPE_CHECKING:
    from pathlib import Path

    from optuna_study.report.figures.kind import Kind
    from optuna_study.report.figures.study_data import StudyData

REPORTS = {"": "html", ".html": "html", ".htm": "html", ".md": "md", ".markdown": "md"}
TEXTS, IMAGES = (".html", ".json"), (".png", ".svg", ".pdf")
SCALE = 2  # pixels of a PNG for each of the figure's
WIDTH = 900


def form_of(output: Path | None) -> str:
    """The form of a report that a file's name asks for.

    >>> from pathlib import Path
    >>> form_of(Path("a.md")), form_of(Path("a.html")), form_of(None)
    ('md', 'html', 'html')

    Raises:
        UsageError: the ending is of something else.
    """
    ending = "" if output is None else output.suffix.lower()
    if ending not in REPORTS:
        raise UsageError(f"{output}: a report's file ends in .html or .md; or give its --format")
    return REPORTS[ending]


def report_text(data: StudyData, form: str, *others: StudyData) -> str:
    """The report of a study, or of several beside each other, as `html` or `md`."""
    content = comparison_document((data, *others)) if others else document(data)
    # Markdown is read in terminals, too.
    return spell_out(to_markdown(content)) if form == "md" else to_html(content, data)


def require_form(output: Path) -> None:
    """Refuse a figure's file of an ending that nobody writes, before anything is read.

    Raises:
        UsageError: the ending is none of TEXTS and IMAGES.
    """
    if output.suffix.lower() not in (*TEXTS, *IMAGES):
        known = ", ".join((*TEXTS, *IMAGES))
        raise UsageError(f"{output}: a figure's file ends in one of {known}")


def write_figure(output: Path, kind: Kind, data: StudyData) -> None:
    """Write one figure in the form that the file's name asks for.

    Raises:
        UsageError: an image is asked for where kaleido or a browser is missing.
        FolderError: the file cannot be written.
        DiskFullError: no space left.
    """
    form = output.suffix.lower()
    if form == ".html":
        write(output, figure_page(kind.name, data))
    elif form == ".json":
        write(output, to_json(kind.make(data).to_plotly_json()))
    else:
        content = _image(output, kind, data)
        with writing(output), written_beside(output) as beside:
            beside.write_bytes(content)


def _image(output: Path, kind: Kind, data: StudyData) -> bytes:
    made = kind.make(data)
    try:
        content: bytes = made.to_image(
            format=output.suffix.lower().removeprefix("."), width=WIDTH, scale=SCALE
        )
    except (ValueError, ImportError) as error:
        raise UsageError(
            f"{output}: images need the extra 'png', `pip install 'optuna-study[png]'`, or take "
            "a file that ends in .html"
        ) from error
    except Exception as error:
        raise UsageError(
            f"{output}: no image, since kaleido could not use a browser ({in_one_line(error)}); "
            "install Chrome or Chromium, or take a file that ends in .html"
        ) from error
    return content
