"""Telling what calls of p4-utils came to, as JSON, one a line: its APIs print what goes wrong and return None."""

import contextlib
import io
import json


def tell(name, passed, said):
    """Print an outcome."""
    why = "" if passed else said[-300:].strip() or "no answer"
    print(json.dumps({"test": name, "passed": passed, "why": why}), flush=True)


def attempt(name, call, prints=""):
    """Tell what a call came to, which returns something true or has to print `prints`; returns what it returned."""
    said, result = io.StringIO(), None
    try:
        with contextlib.redirect_stdout(said):
            result = call()
    except (Exception, SystemExit) as error:
        said.write(f"{type(error).__name__}: {error}")
    tell(name, prints in said.getvalue() if prints else bool(result), said.getvalue())
    return result
