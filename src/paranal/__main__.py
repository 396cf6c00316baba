"""``python3 -m paranal``: the same as the ``paranal`` command."""

import sys

from paranal.cli import main

sys.exit(main())
