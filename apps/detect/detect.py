"""Second half of the video analytics: finds faces in a prepared picture with a Haar cascade.

Configuration: `scale_factor` (step between the sizes that are tried), `min_neighbors` (hits that make a face),
`min_size` (pixels of the smallest face).
"""

import base64
import binascii
import json
import os
from typing import Any

import cv2
import numpy as np
from cv2.data import haarcascades

cv2.setNumThreads(1)

CASCADE = cv2.CascadeClassifier(haarcascades + "haarcascade_frontalface_alt2.xml")


def lambda_handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """A JPEG in, `{"node", "faces": [{x, y, width, height}]}` in its pixels out."""
    try:
        encoded = np.frombuffer(base64.b64decode(event.get("body", ""), validate=True), np.uint8)
    except binascii.Error:
        return answer(400, {"error": "the body is not base64"})
    picture = cv2.imdecode(encoded, cv2.IMREAD_GRAYSCALE) if encoded.size else None
    if picture is None:
        return answer(400, {"error": f"the body of {encoded.size} bytes is not a picture"})
    configuration = context.configuration
    smallest = int(configuration["min_size"])
    faces = CASCADE.detectMultiScale(
        picture,
        scaleFactor=float(configuration["scale_factor"]),
        minNeighbors=int(configuration["min_neighbors"]),
        minSize=(smallest, smallest),
    )
    boxes = [dict(zip(("x", "y", "width", "height"), map(int, face), strict=True)) for face in faces]
    return answer(200, {"node": os.environ.get("HITLESS_NODE"), "faces": boxes})


def answer(status: int, content: dict[str, Any]) -> dict[str, Any]:
    """A Lambda response with a JSON body."""
    return {"statusCode": status, "headers": {"content-type": "application/json"}, "body": json.dumps(content)}
