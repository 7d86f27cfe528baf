"""How Sphinx builds these pages (`make docs`: strict, a warning is an error)."""

from mgmt_monai import __version__

project = "mgmt_monai"
author = "The mgmt_monai authors"
copyright = f"{author}, Apache-2.0"
version = release = __version__

extensions = ["myst_parser"]
exclude_patterns = ["_build"]
myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 4  # so that a page can link to another page's heading

html_theme = "furo"
html_title = f"mgmt_monai {__version__}"
html_show_sourcelink = False
