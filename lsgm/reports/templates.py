"""HTML of the templates beside this file, every value escaped.

Pages extend ``base.html``, which holds the common style and frame; ``macros.html``
holds what several of them show, such as a figure. A value that a template reads and
the caller did not give is an error.
"""

import functools
import pathlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import jinja2

FOLDER = pathlib.Path(__file__).parent


def render(name: str, **values: Any) -> str:
    """The page of template ``name``, such as ``"report.html"``.

    Text in ``values`` is escaped where the template prints it. HTML cannot be passed
    in: a page's parts are templates too.

    Raises:
      jinja2.TemplateNotFound: no such file.
      jinja2.UndefinedError: the template reads a value that is not given.
    """
    return _environment().get_template(name).render(values)


@functools.cache
def _environment() -> "jinja2.Environment":
    import jinja2

    return jinja2.Environment(
        loader=jinja2.FileSystemLoader(FOLDER),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
