"""What the wheel has beside `tea_stats` itself: the studies, and a README fit for an index."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface
from hatchling.metadata.plugin.interface import MetadataHookInterface

#: where `tea_stats._studies.reach` looks for them
STUDIES = "tea_stats/_studies/top_level"


class Studies(BuildHookInterface[Any]):
    """Puts the folders of the studies inside the package, where no name can clash."""

    PLUGIN_NAME = "custom"

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Map the folders; an editable install reads them from the repository."""
        if version != "editable":
            for folder in ("simulations", "analysis"):
                build_data["force_include"][folder] = f"{STUDIES}/{folder}"


class Readme(MetadataHookInterface):
    """Gives the README without figures and relative links, which an index cannot show."""

    PLUGIN_NAME = "custom"

    def update(self, metadata: dict[str, Any]) -> None:
        """Set the field `readme`."""
        text = (Path(self.root) / "README.md").read_text(encoding="utf-8")
        text = re.sub(r"<!--.*?-->\n", "", text)
        text = re.sub(r"!\[[^]]*\]\([^)]*\)\n+\*[^*]*\*\n+", "", text)  # a figure, its caption
        text = re.sub(r"\[([^\]]+)\]\((?!https?:)[^)]+\)", r"\1", text)
        text = text.replace("pip install '.[", "pip install 'tea-stats[").replace(
            "in a clone, ", ""
        )
        metadata["readme"] = {"content-type": "text/markdown", "text": text}
