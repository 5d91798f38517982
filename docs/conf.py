"""Sphinx settings."""

from pathlib import Path

import talkingface
from talkingface import metrics

project = "talkingface"
author = "The talkingface contributors"
copyright = author
version = release = talkingface.__version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx.ext.apidoc",
    "sphinx.ext.viewcode",
    "sphinx.ext.mathjax",
]
exclude_patterns = ["_build", "generated/modules.rst"]
default_role = "code"
html_theme = "furo"
html_title = f"talkingface {release}"

# Pages of the API are made from the package, so that none is forgotten; losses.md and metrics.md
# have the losses and the metrics.
apidoc_modules = [
    {
        "path": "../talkingface",
        "destination": "generated",
        "exclude_patterns": [
            "../talkingface/losses",
            "../talkingface/metrics",
            "../talkingface/__main__.py",
        ],
        "separate_modules": True,
        "module_first": True,
        "automodule_options": {"members", "show-inheritance"},
    }
]

autodoc_member_order = "bysource"
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented_params"
# What a package re-exports is documented where it is defined.
autodoc_default_options = {"ignore-module-all": True}
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_custom_sections = ["Shape"]

myst_enable_extensions = ["dollarmath", "colon_fence"]
myst_heading_anchors = 3


def metrics_table() -> str:
    """One row per number that a metric gives, from what the classes say of themselves."""
    rows = [["metric", "number", "definition", "profiles", "range", "better"], ["---"] * 6]
    for name in metrics.__all__:
        kind = getattr(metrics, name)
        for value in getattr(kind, "values", ()) if isinstance(kind, type) else ():
            link = f"{{py:class}}`~{kind.__module__}.{name}`"
            profiles = ", ".join(f"`{profile}`" for profile in kind.profiles)
            limits = f"{value.low:g} to {value.high:g}".replace("inf", "∞")
            definition = kind.__doc__.splitlines()[0]
            rows.append([link, f"`{value.key}`", definition, profiles, limits, value.better])
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


TABLE = Path(__file__).parent / "generated/metrics_table.txt"
TABLE.parent.mkdir(exist_ok=True)
TABLE.write_text(metrics_table())
