"""Sphinx settings."""

import talkingface

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

# Pages of the API are made from the package, so that none is forgotten; losses.md has the losses.
apidoc_modules = [
    {
        "path": "../talkingface",
        "destination": "generated",
        "exclude_patterns": ["../talkingface/losses", "../talkingface/__main__.py"],
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
