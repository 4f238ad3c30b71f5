"""``python -m auditkit`` and the ``auditkit`` command: the one place where errors become exit codes."""

import os
import sys
import traceback
from collections.abc import Sequence

import click

from auditkit.cli.app import cli
from auditkit.errors import AuditkitError, Interrupted


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code.

    An error of ours exits with its own code and its message; any other exception exits 3, never 1, because 1
    says that a rule failed.
    """
    # Threads that spin while they wait cost a hundredfold where cores are shared: a gradient took 156 ms
    # instead of 1.2 ms on two busy cores. To be set before torch is imported.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    words = list(sys.argv[1:] if arguments is None else arguments)
    try:
        code = cli.main(args=words, prog_name="auditkit", standalone_mode=False)
    except click.exceptions.Exit as request:
        code = request.exit_code
    except click.ClickException as error:
        error.show()
        code = 2
    except (click.exceptions.Abort, KeyboardInterrupt):
        code = _end(Interrupted("interrupted; repeat the command to go on"))
    except AuditkitError as error:
        code = _end(error, debug="--debug" in words)
    except Exception as error:
        text = f"internal error: {type(error).__name__}: {error}\n`auditkit --debug ...` shows where"
        code = _end(AuditkitError(text), debug="--debug" in words)
    return code if isinstance(code, int) else 0


def _end(error: AuditkitError, *, debug: bool = False) -> int:
    if debug:
        traceback.print_exc()
    print(f"auditkit: {error}", file=sys.stderr)  # noqa: T201 - the last word
    return error.exit_code


if __name__ == "__main__":
    sys.exit(main())
