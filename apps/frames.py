"""Camera frames from a photograph with a face: a camera that pans and zooms over it while the light changes.

The photograph is scikit-image's `astronaut` (Eileen Collins, by NASA, public domain).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import cv2
import numpy as np
import skimage.data

FACE = (177, 66, 95, 95)
"""x, y, width and height of the face in the photograph, pixels."""
NOISE = 3.0
"""Standard deviation of the sensor's noise, grey levels."""


@dataclass(frozen=True)
class Camera:
    """A camera whose every frame follows from its seed and the frame's number."""

    seed: int
    width: int = 416
    """Pixels of a frame."""
    height: int = 312
    quality: int = 60
    """JPEG quality, 1 to 100: what sets the frames' size in bytes."""
    _photograph: Any = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        photograph = cv2.cvtColor(skimage.data.astronaut(), cv2.COLOR_RGB2BGR)
        object.__setattr__(self, "_photograph", photograph)

    def frame(self, number: int) -> bytes:
        """Frame `number` as a JPEG."""
        random = np.random.default_rng((self.seed, number))
        x, y, width, height = self._view(number)
        view = cv2.resize(
            self._photograph[y : y + height, x : x + width], (self.width, self.height), interpolation=cv2.INTER_AREA
        )
        light = 1.0 + 0.2 * math.sin(self._phase(4) + number / 41)
        noise = random.standard_normal(view.shape, np.float32) * NOISE
        lit = np.clip(view * np.float32(light) + noise, 0, 255).astype(np.uint8)
        _, encoded = cv2.imencode(".jpg", lit, [cv2.IMWRITE_JPEG_QUALITY, self.quality])
        return encoded.tobytes()

    def _view(self, number: int) -> tuple[int, int, int, int]:
        """What the camera sees of the photograph: a window that wanders, with the whole face always in it."""
        rows, columns = self._photograph.shape[:2]
        zoom = 0.85 + 0.1 * math.sin(self._phase(1) + number / 53)
        width = min(columns, round(columns * zoom))
        height = min(rows, round(width * self.height / self.width))
        face_x, face_y, face_width, face_height = FACE
        left = _wander(face_x + face_width - width, face_x, columns - width, self._phase(2) + number / 29)
        top = _wander(face_y + face_height - height, face_y, rows - height, self._phase(3) + number / 37)
        return left, top, width, height

    def _phase(self, motion: int) -> float:
        """Where in its cycle a motion begins, radians."""
        return float(np.random.default_rng((self.seed, motion)).uniform(0, 2 * math.pi))


def _wander(low: int, high: int, largest: int, angle: float) -> int:
    """A position swinging over the middle of [low, high], within [0, largest]."""
    low, high = max(0, low), min(high, largest)
    return round(low + (high - low) * (0.5 + 0.35 * math.sin(angle)))
