"""Entry point of `python -m jaxgmm`."""

import sys

from .cli.commands import main
from .data.shards import use_all_cores

if __name__ == "__main__":
    use_all_cores()
    sys.exit(main())
