"""The function that `front` calls. How much it has to do is in its data, so that it can become slow like a real one."""

import hashlib
import os
from pathlib import Path
from typing import Any


def lambda_handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """`done`, after as many rounds of work as the node's data asks for."""
    rounds = Path(context.configuration["data"]) / os.environ["HITLESS_NODE"] / "rounds"
    hashlib.pbkdf2_hmac("sha256", b"", b"back", int(rounds.read_text()))
    return {"statusCode": 200, "headers": {"content-type": "text/plain"}, "body": "done"}
