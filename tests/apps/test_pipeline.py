"""The applications on real frames, each in the real worker runtime, preprocess calling detect over UDP."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from ruamel.yaml import YAML

from apps.frames import FACE, Camera
from hitless.wire.invocation import FRAGMENT_PAYLOAD, Message
from hitless.wire.worker_frames import HttpHead
from tests.hitless.gateway import Connection, runtime
from tests.hitless.peer import Peer

APPS = Path(__file__).parents[2] / "apps"


def defaults(app: str) -> dict[str, Any]:
    recipe = YAML(typ="safe").load(APPS / app / "recipe.yaml")
    configuration: dict[str, Any] = recipe["ComponentConfiguration"]["DefaultConfiguration"]
    return configuration


@contextmanager
def function(app: str, folder: Path, **configuration: Any) -> Iterator[Connection]:
    """An application's worker, configured as its recipe says but for what is given."""
    with runtime(f"{app}.lambda_handler", APPS / app, folder) as running:
        running.worker.configure(**defaults(app) | configuration)
        yield running.worker


def endpoint(peer: Peer) -> dict[str, Any]:
    address, port = peer.address
    return {"detect": {"address": address, "port": port, "service_id": 2, "protocol": "udp"}}


@pytest.fixture(scope="module")
def analytics(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Connection, Peer]]:
    """The worker of preprocess, and detect's node."""
    folder = tmp_path_factory.mktemp("analytics")
    with function("detect", folder) as detect:

        def ask_worker(request: Message) -> Message:
            response = detect.call(request.payload)
            return request.answer(response.status, response.body, error=response.status >= 500)

        with (
            Peer(ask_worker, service_id=2) as node,
            function("preprocess", folder, endpoints=endpoint(node)) as preprocess,
        ):
            yield preprocess, node


def test_the_face_is_found(analytics: tuple[Connection, Peer]) -> None:
    preprocess, node = analytics
    frames = found = 0
    for seed in range(4):
        camera = Camera(seed)
        for number in range(0, 300, 30):
            response = preprocess.call(camera.frame(number))
            assert response.status == 200, response.body
            result = json.loads(response.body)
            assert (result["width"], result["height"]) == (camera.width, camera.height)
            assert result["node"] == result["detect_node"] == "edge1"
            frames += 1
            found += any(covers(face, camera, number) for face in result["faces"])
    assert found >= 0.95 * frames, f"the face was found in {found} of {frames} frames"
    assert len(node.executed) == frames, "detect is called once a frame"
    assert all(len(request.payload) > FRAGMENT_PAYLOAD for request in node.executed)
    assert {request.service_id for request in node.executed} == {2}


def covers(face: dict[str, int], camera: Camera, number: int) -> bool:
    """Whether the middle of the real face is in the box, and the box of about the face's size."""
    x, y, width, _ = camera._view(number)
    scale = camera.width / width
    middle_x, middle_y = (FACE[0] + FACE[2] / 2 - x) * scale, (FACE[1] + FACE[3] / 2 - y) * scale
    return (
        face["x"] < middle_x < face["x"] + face["width"]
        and face["y"] < middle_y < face["y"] + face["height"]
        and 0.6 < face["width"] / (FACE[2] * scale) < 1.6
    )


def test_no_face_where_there_is_none(analytics: tuple[Connection, Peer]) -> None:
    preprocess, _ = analytics
    _, plain = cv2.imencode(".jpg", np.full((312, 416, 3), 128, np.uint8))
    assert json.loads(preprocess.call(plain.tobytes()).body)["faces"] == []


@pytest.mark.parametrize("body", [b"", b"not a picture", b"\xff\xd8\xff\xe0 cut off"])
def test_what_is_no_picture_is_refused(analytics: tuple[Connection, Peer], body: bytes) -> None:
    response = analytics[0].call(body)
    assert response.status == 400
    assert f"{len(body)} bytes is not a picture" in json.loads(response.body)["error"]


@pytest.mark.parametrize(
    ("answer", "deadline_ms", "status", "complaint"),
    [
        (lambda request: request.answer(503, b"queue full", error=True), 60_000, 502, "status 503: queue full"),
        (lambda request: None, 500, 504, "no answer to request"),
    ],
)
def test_failures_of_detect_are_told(
    tmp_path: Path, answer: Any, deadline_ms: int, status: int, complaint: str
) -> None:
    with Peer(answer, service_id=2) as node, function("preprocess", tmp_path, endpoints=endpoint(node)) as preprocess:
        response = preprocess.call(Camera(0).frame(0), deadline_ms=deadline_ms)
        assert response.status == status
        assert complaint in json.loads(response.body)["error"]


@pytest.fixture(scope="module")
def thumbnail(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Connection]:
    with function("thumbnail", tmp_path_factory.mktemp("thumbnail")) as worker:
        yield worker


@pytest.mark.parametrize(
    ("query", "content_type", "width"),
    [("", "image/jpeg", 320), ("width=64", "image/jpeg", 64), ("width=700&format=png", "image/png", 700)],
)
def test_thumbnail(thumbnail: Connection, query: str, content_type: str, width: int) -> None:
    response = thumbnail.call(http=HttpHead("GET", "/", query))
    assert response.status == 200
    assert response.headers == {"content-type": content_type, "x-served-by": "edge1"}
    picture = cv2.imdecode(np.frombuffer(response.body, np.uint8), cv2.IMREAD_COLOR)
    assert picture is not None and picture.shape == (width, width, 3)


@pytest.mark.parametrize("query", ["width=0", "width=-1", "width=99999", "width=x", "width=²", "format=gif"])
def test_thumbnail_refuses(thumbnail: Connection, query: str) -> None:
    response = thumbnail.call(http=HttpHead("GET", "/", query))
    assert response.status == 400 and b"expected" in response.body
    assert response.headers["content-type"] == "text/plain"
