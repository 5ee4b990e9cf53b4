"""Where the studies are: the packages `simulations` and `analysis`.

In the repository they stand beside `tea_stats`. The wheel has them, unchanged, in this package's
folder `top_level`, which has nothing else in it: in site-packages no module named `simulations` or
`analysis` can hide one of the user's. The command `tea-stats` puts that folder on the path of its
own process, and `import tea_stats` never does.
"""

from __future__ import annotations

import sys
from pathlib import Path


def reach() -> Path:
    """Make `simulations` and `analysis` importable in this process; return their folder."""
    installed, repository = Path(__file__).parent / "top_level", Path(__file__).parents[2]
    folder = installed if installed.is_dir() else repository
    if not (folder / "simulations").is_dir():
        raise ModuleNotFoundError(
            f"{folder} has no folder simulations; install tea-stats again", name="simulations"
        )
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))
    return folder
