"""`tea-stats` and `python -m tea_stats`."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command line; without its packages, name what to install."""
    try:
        from tea_stats.command_line import app, terminal
    except ModuleNotFoundError as missing:
        if missing.name not in ("typer", "rich"):
            raise
        sys.exit(f"tea-stats needs {missing.name}, which is not installed; {INSTALL}")
    terminal.prepare()
    app()


INSTALL = "pip install 'tea-stats[cli]'"

if __name__ == "__main__":
    main()
