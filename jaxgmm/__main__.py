"""Entry point of `python -m jaxgmm`."""

import sys

from .cli.main import main

if __name__ == "__main__":
    sys.exit(main(all_cores=True))
