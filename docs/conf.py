from importlib.metadata import version as version_of

project = "Stepwell"
author = "The Stepwell authors"
release = version = version_of("stepwell")

extensions = ["myst_parser", "sphinxcontrib.mermaid"]
exclude_patterns = ["_build"]
source_suffix = {".md": "markdown"}
myst_enable_extensions = ["colon_fence"]
myst_fence_as_directive = ["mermaid"]
myst_heading_anchors = 3
nitpicky = True

html_theme = "furo"
html_title = f"Stepwell {release}"
