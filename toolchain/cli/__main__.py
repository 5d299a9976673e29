"""`python -m toolchain.cli`: the same as the command pocketgnn."""

import sys

from toolchain.cli.app import main

sys.exit(main())
