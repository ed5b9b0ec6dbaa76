"""An HTTP function: the photograph among its artefacts, scaled: `GET /?width=320&format=png`.

Configuration: `default_width` and `max_width` (pixels), `jpeg_quality`. The photograph is NASA's portrait of Eileen
Collins, in the public domain.
"""

import base64
import os
from pathlib import Path
from typing import Any

import cv2
import numpy as np

cv2.setNumThreads(1)

PHOTOGRAPH = Path(__file__).with_name("photograph.jpg").read_bytes()
FORMATS = ("jpeg", "png")


def lambda_handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """The photograph as `width` pixels wide `format`; 400 with the reason when the query asks for something else."""
    configuration = context.configuration
    query = event.get("queryStringParameters") or {}
    widest = int(configuration["max_width"])
    wanted = query.get("width", str(configuration["default_width"]))
    if not (wanted.isascii() and wanted.isdigit() and 1 <= int(wanted) <= widest):
        return refusal(f"width is {wanted!r}, expected 1 to {widest}")
    kind = query.get("format", "jpeg")
    if kind not in FORMATS:
        return refusal(f"format is {kind!r}, expected one of {', '.join(FORMATS)}")
    photograph = cv2.imdecode(np.frombuffer(PHOTOGRAPH, np.uint8), cv2.IMREAD_COLOR)
    if photograph is None:
        raise ValueError("photograph.jpg is not a picture")
    height, width = photograph.shape[:2]
    size = (int(wanted), max(1, round(height * int(wanted) / width)))
    scaled = cv2.resize(photograph, size, interpolation=cv2.INTER_AREA if size[0] < width else cv2.INTER_CUBIC)
    options = [cv2.IMWRITE_JPEG_QUALITY, int(configuration["jpeg_quality"])] if kind == "jpeg" else []
    _, encoded = cv2.imencode(f".{kind}", scaled, options)
    return {
        "statusCode": 200,
        "headers": {"content-type": f"image/{kind}", "x-served-by": os.environ.get("HITLESS_NODE", "")},
        "body": base64.b64encode(encoded.tobytes()).decode("ascii"),
        "isBase64Encoded": True,
    }


def refusal(reason: str) -> dict[str, Any]:
    """A Lambda response that says why not."""
    return {"statusCode": 400, "headers": {"content-type": "text/plain"}, "body": reason + "\n"}
