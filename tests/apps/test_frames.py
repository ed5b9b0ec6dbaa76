"""The camera: frames of the right size that follow from the seed, with the face in every one."""

import cv2
import numpy as np
import pytest

from apps.frames import FACE, Camera

NUMBERS = range(0, 400, 23)


@pytest.mark.parametrize("seed", [0, 1, 7])
def test_frames_need_several_datagrams(seed: int) -> None:
    camera = Camera(seed)
    for number in NUMBERS:
        frame = camera.frame(number)
        assert 8_000 <= len(frame) <= 20_000
        picture = cv2.imdecode(np.frombuffer(frame, np.uint8), cv2.IMREAD_COLOR)
        assert picture is not None and picture.shape == (camera.height, camera.width, 3)


def test_frames_follow_from_seed_and_number() -> None:
    assert Camera(3).frame(5) == Camera(3).frame(5)
    frames = {Camera(seed).frame(number) for seed in range(3) for number in range(3)}
    assert len(frames) == 9


@pytest.mark.parametrize("seed", range(5))
def test_the_whole_face_is_in_view_and_moves(seed: int) -> None:
    camera = Camera(seed)
    face_x, face_y, face_width, face_height = FACE
    views = [camera._view(number) for number in range(0, 2000, 7)]
    for x, y, width, height in views:
        assert 0 <= x <= face_x and face_x + face_width <= x + width <= 512
        assert 0 <= y <= face_y and face_y + face_height <= y + height <= 512
    assert len(set(views)) > 50
