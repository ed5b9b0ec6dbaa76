"""The function of a chaos run. Its answer names its version and the note of its configuration, so that both show.

A body asks for more: `end` ends the process in the middle of the request, `sleep SECONDS` answers that late.
"""

import base64
import os
import time

VERSION = "0"
"""Replaced in each published version."""
WORK_S = 0.004


def lambda_handler(event, context):  # type: ignore[no-untyped-def]
    """`VERSION NOTE`, after a few milliseconds, so that some request is always in hand when a process is killed."""
    body = event.get("body", "")
    words = (base64.b64decode(body).decode() if event["isBase64Encoded"] else body).split()
    if words[:1] == ["end"]:
        os._exit(3)
    time.sleep(float(words[1]) if words[:1] == ["sleep"] else WORK_S)
    return {
        "statusCode": 200,
        "headers": {"content-type": "text/plain"},
        "body": f"{VERSION} {context.configuration['note']}",
    }
