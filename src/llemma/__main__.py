"""``python -m llemma``: the same program as the ``llemma`` command."""

from __future__ import annotations

from llemma.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
