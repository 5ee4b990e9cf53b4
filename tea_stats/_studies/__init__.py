"""Where the studies are: the packages `simulations` and `analysis`.

In the repository they stand beside `tea_stats`. The wheel has them inside this folder, unchanged:
in site-packages no module named `simulations` or `analysis` can hide one of the user's. The command
`tea-stats` puts their folder on the path of its own process, and `import tea_stats` never does.
"""

from __future__ import annotations

import sys
from pathlib import Path


def reach() -> Path:
    """Make `simulations` and `analysis` importable in this process; return their folder."""
    here = Path(__file__).parent
    folder = next((x for x in (here, here.parents[1]) if (x / "simulations").is_dir()), None)
    if folder is None:
        raise ModuleNotFoundError(
            f"{here} has no folder simulations; install tea-stats again", name="simulations"
        )
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))
    return folder
