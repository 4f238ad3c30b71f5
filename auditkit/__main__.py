"""``python -m auditkit`` and the ``auditkit`` command: the one place where errors become exit codes."""

import sys
import traceback
from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code.

    An error of ours exits with its own code and its message; any other exception exits 3, never 1, because 1
    says that a rule failed.
    """
    import click

    from auditkit.cli.app import cli
    from auditkit.errors import AuditkitError

    words = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in words
    try:
        code = cli.main(args=words, prog_name="auditkit", standalone_mode=False)
        return code if isinstance(code, int) else 0
    except click.exceptions.Exit as exit_request:
        return exit_request.exit_code
    except (click.exceptions.Abort, KeyboardInterrupt):
        print("interrupted; repeat the command to go on", file=sys.stderr)  # noqa: T201 - the last word
        return 130
    except click.ClickException as error:
        error.show()
        return 2
    except AuditkitError as error:
        if debug:
            traceback.print_exc()
        print(f"auditkit: {error}", file=sys.stderr)  # noqa: T201 - the last word
        return error.exit_code
    except BrokenPipeError:
        return 3
    except Exception as error:
        if debug:
            traceback.print_exc()
        print(  # noqa: T201 - the last word
            f"auditkit: internal error: {type(error).__name__}: {error}\n"
            "Repeat with --debug for the traceback and report it, please.",
            file=sys.stderr,
        )
        return 3


if __name__ == "__main__":
    sys.exit(main())
