"""How Sphinx builds these pages (`make docs`: strict, a warning is an error)."""

from mgmt_monai import __version__

project = "mgmt_monai"
author = "The mgmt_monai authors"
copyright = f"{author}, Apache-2.0"
version = release = __version__

extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx_click"]
nb_execution_mode = "off"  # the test of the notebook runs it

smartquotes_action = "qe"  # -- is an option, no dash
default_role = "literal"  # what docstrings have between single backticks
autodoc_member_order = "bysource"
napoleon_use_admonition_for_examples = True
# The API page is the front door: what its docstrings name beyond it, and other libraries' types, have no page here.
nitpick_ignore_regex = [("py:.*", ".*")]

exclude_patterns = ["_build", "jupyter_execute"]  # the second is what myst_nb leaves
myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 4  # so that a page can link to another page's heading

html_theme = "furo"
html_title = f"mgmt_monai {__version__}"
html_show_sourcelink = False
