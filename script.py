"""What every script does: tell mistakes, give the exit code, load the rooms. Imports nothing heavy."""

from __future__ import annotations

import argparse
import atexit
import gc
import sys
from collections.abc import Callable
from functools import cache
from typing import Any

from config.problems import ConfigError
from utils.distributed import by_rank, is_main, rank, silence_others, told_by_another, told_once
from utils.errors import RunError, UserError
from utils.streams import prepare_streams, telling_of_the_locale, write_nowhere


def exit_code_of(command: Callable[[argparse.Namespace], int], parse: Callable, argv: list[str] | None) -> int:
    """Run a command; a mistake of the user (2) or a failed run (1) is told in one message, without a traceback."""
    prepare_streams()
    silence_others()
    try:
        with telling_of_the_locale():
            code = command(told_once(parse, argv))
        sys.stdout.flush()
        return code
    except (ConfigError, UserError) as mistake:
        is_told = isinstance(mistake, ConfigError) and mistake.is_told and is_main()
        if not is_told and told_by_another(mistake) is None:
            print(by_rank(mistake), file=sys.stderr)
        return 2
    except BrokenPipeError:  # `test.py ... | head`: whoever read has enough
        write_nowhere(sys.stdout)
        return 128 + 13  # as a shell tells of SIGPIPE
    except (RunError, OSError) as failure:
        if told_by_another(failure) is None:
            print(f"failed: {by_rank(failure)}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:  # outside of training, which saves and stops
        return 130
    except Exception as error:
        if told_by_another(error) is not None:
            return 1
        if not is_main():
            error.add_note(f"in process {rank()}")
        raise


def tell(mistake: object) -> None:
    """Show a mistake at once: what is found later may take seconds more. Of several processes, the main one does."""
    if is_main():
        print(mistake, file=sys.stderr, flush=True)


def _unfreeze_for_triton() -> None:
    """At the end Triton takes what is frozen for a leak, in 30 lines; without it, this would cost half a second."""
    if "triton" in sys.modules:
        gc.unfreeze()


@cache
def load_registries() -> dict[str, Any]:
    """Import the rooms, so that every decorated class and function is in its registry."""
    gc.disable()  # an import makes many objects and hardly any garbage: to look for it takes a fifth of a start
    try:
        import data_loader  # noqa: F401
        import model  # noqa: F401
        import trainer  # noqa: F401
        from base import BROKEN, REGISTRIES
    finally:
        gc.freeze()
        atexit.register(_unfreeze_for_triton)
        gc.enable()
    for file, error in BROKEN.items():
        tell(f"{file} is left out, as it cannot be imported: {type(error).__name__}: {error}")
    return REGISTRIES
