"""The function of a chaos run. Its answer names its version and the note of its configuration, so that both show.

A body asks for more: `end` ends the process in the middle of the request, `sleep SECONDS` answers that late.
"""

import base64
import hashlib
import os
import time

VERSION = "0"
"""Replaced in each published version."""
ROUNDS = 4000
"""Of the key derivation that is the function's work: a millisecond or two."""


def lambda_handler(event, context):  # type: ignore[no-untyped-def]
    """`VERSION NOTE`, after a moment of work, so that a process that is killed often has a request in hand."""
    body = event.get("body", "")
    words = (base64.b64decode(body).decode() if event["isBase64Encoded"] else body).split()
    if words[:1] == ["end"]:
        os._exit(3)
    if words[:1] == ["sleep"]:
        time.sleep(float(words[1]))
    hashlib.pbkdf2_hmac("sha256", body.encode(), b"chaos", ROUNDS)
    return {
        "statusCode": 200,
        "headers": {"content-type": "text/plain"},
        "body": f"{VERSION} {context.configuration['note']}",
    }
