"""`main`: parses the command line and runs a command.

Results are printed on stdout and messages on stderr. The exit status is 0 for success, 1 if every
fit failed, and 2 for a bad argument or file, which is reported in one line on stderr before
anything is written.

A command is a module of this package with `add_arguments(parser)` and `run(arguments)`. It is
imported only if it is asked for, so that `--help` does not wait for JAX.
"""

from __future__ import annotations

import argparse
import importlib
import os
import sys
import warnings
from collections.abc import Sequence
from typing import NoReturn

import jaxgmm

from .messages import in_shell_words, print_message

COMMANDS = {
    "fit": "Fit mixtures for each K and family, and report the best one.",
    "score": "Print log p(x), the most likely component and the responsibilities of each row.",
    "sample": "Print rows drawn from a model and the component of each row.",
    "compare": "Compare several algorithms from the same starts.",
    "predict": "Print the mean, standard deviation and quantiles of features given the others.",
    "impute": "Print the rows with their missing values filled by a model.",
}


class OneLineParser(argparse.ArgumentParser):
    """Parser that reports an error in one line, without the usage."""

    def error(self, message: str) -> NoReturn:
        """Print the error and exit with status 2."""
        print_message(f"error: {message} (see {self.prog} --help)")
        raise SystemExit(2)


def make_parser(argv: Sequence[str]) -> OneLineParser:
    """Return the parser of the command line, with the arguments of the commands in `argv`."""
    parser = OneLineParser(
        prog="python -m jaxgmm", description="Gaussian mixtures from the command line."
    )
    parser.add_argument("--version", action="store_true", help="print the version and exit")
    commands = parser.add_subparsers(dest="command", metavar="|".join(COMMANDS))
    for name, description in COMMANDS.items():
        command = commands.add_parser(name, help=description, description=description)
        if name in argv:
            module = importlib.import_module(f"{__package__}.{name}")
            module.add_arguments(command)
            command.set_defaults(run=module.run)
    return parser


def main(argv: Sequence[str] | None = None, *, all_cores: bool = False) -> int:
    """Run a command in float64 and return its exit status.

    Args:
      argv: the arguments of the command line, or None for those of the process.
      all_cores: whether to use all cores, which must be decided before the first use of JAX.
    """
    # A terminal whose encoding lacks a character such as ± must not lose the whole result.
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors="backslashreplace")
    argv = sys.argv[1:] if argv is None else argv
    parser = make_parser(argv)
    try:
        arguments, unknown = parser.parse_known_args(argv)
        if unknown:
            parser.prog += f" {arguments.command}" if arguments.command else ""
            parser.error(f"unrecognized arguments: {' '.join(unknown)}")
        if arguments.command is None and not arguments.version:
            parser.error("the following arguments are required: " + "|".join(COMMANDS))
    except SystemExit as error:  # --help, or invalid arguments
        return int(error.code or 0)
    try:
        return _run(arguments, all_cores)
    except BrokenPipeError:  # the reader, e.g. head, has closed the pipe
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        hint = ": check the name and the folder." if isinstance(error, FileNotFoundError) else ""
        print_message(f"error: {error.filename or 'stdout'}: {error.strerror or error}{hint}")
    except (ValueError, ImportError) as error:
        print_message("error: " + " ".join(in_shell_words(str(error)).split()))
    except KeyboardInterrupt:
        print_message("interrupted")
        return 130
    return 2


def _run(arguments: argparse.Namespace, all_cores: bool) -> int:
    """Run the command that was parsed, and return its exit status."""
    if arguments.version:
        print(f"jaxgmm {jaxgmm.__version__}")
        return 0
    import jax

    from ..data.devices import use_all_cores

    if all_cores:
        use_all_cores()
    with jax.enable_x64(True), warnings.catch_warnings():
        warnings.showwarning = lambda message, *_, **__: print_message(
            f"warning: {in_shell_words(str(message))}"
        )
        status = arguments.run(arguments)
        if sys.stdout is not None:
            sys.stdout.flush()
        return status
