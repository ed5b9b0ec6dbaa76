"""First half of the video analytics: cleans a camera frame up, has the faces in it detected, says where they are.

Configuration: `prepared_width` (pixels of the picture sent to detection), `denoise_diameter` (pixels around each that
the edge-preserving filter looks at; 0 is off), `jpeg_quality` (of that picture), `endpoints.detect`.
"""

import base64
import binascii
import json
import os
from typing import Any

import cv2
import numpy as np

from hitless import DeadlineExceeded
from hitless.function import invoke

cv2.setNumThreads(1)

CONTRAST = cv2.createCLAHE(clipLimit=2.0, tileGridSize=(8, 8))
DENOISE_SIGMA = 25


def lambda_handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """A JPEG in, `{"node", "detect_node", "width", "height", "faces": [{x, y, width, height}]}` in its pixels out."""
    try:
        encoded = np.frombuffer(base64.b64decode(event.get("body", ""), validate=True), np.uint8)
    except binascii.Error:
        return answer(400, {"error": "the body is not base64"})
    frame = cv2.imdecode(encoded, cv2.IMREAD_COLOR) if encoded.size else None
    if frame is None:
        return answer(400, {"error": f"the body of {encoded.size} bytes is not a picture"})
    height, width = frame.shape[:2]
    picture = prepare(frame, context.configuration)
    quality = int(context.configuration["jpeg_quality"])
    _, prepared = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, quality])
    try:
        detected = invoke("detect", prepared.tobytes())
    except DeadlineExceeded as error:
        return answer(504, {"error": f"detect: {error}"})
    if detected.failed or detected.status != 200:
        return answer(502, {"error": f"detect: status {detected.status}: {detected.payload.decode(errors='replace')}"})
    found = json.loads(detected.payload)
    scale = width / picture.shape[1]
    return answer(
        200,
        {
            "node": os.environ.get("HITLESS_NODE"),
            "detect_node": found["node"],
            "width": width,
            "height": height,
            "faces": [{side: round(length * scale) for side, length in face.items()} for face in found["faces"]],
        },
    )


def prepare(frame: Any, configuration: dict[str, Any]) -> Any:
    """The frame in grey, without noise, with even contrast, as small as detection needs it."""
    grey = cv2.cvtColor(frame, cv2.COLOR_BGR2GRAY)
    diameter = int(configuration["denoise_diameter"])
    if diameter > 0:
        grey = cv2.bilateralFilter(grey, diameter, DENOISE_SIGMA, DENOISE_SIGMA)
    height, width = grey.shape
    small_width = min(width, int(configuration["prepared_width"]))
    size = (small_width, round(height * small_width / width))
    return cv2.resize(CONTRAST.apply(grey), size, interpolation=cv2.INTER_AREA)


def answer(status: int, content: dict[str, Any]) -> dict[str, Any]:
    """A Lambda response with a JSON body."""
    return {"statusCode": status, "headers": {"content-type": "application/json"}, "body": json.dumps(content)}
