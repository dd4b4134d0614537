"""`python -m include.stack`."""

import sys

from include.stack.cli import main

if __name__ == "__main__":
    sys.exit(main())
