"""Libraries that handlers for Lambda are written with, unchanged: Powertools, and FastAPI behind Mangum."""

import json
from pathlib import Path

from hitless.wire.worker_frames import HttpHead, Response
from tests.hitless.gateway import Runtime, runtime

POWERTOOLS = """
from aws_lambda_powertools import Logger, Metrics
from aws_lambda_powertools.event_handler import APIGatewayRestResolver, LambdaFunctionUrlResolver, Response
from aws_lambda_powertools.logging import correlation_paths
from aws_lambda_powertools.metrics import MetricUnit
from aws_lambda_powertools.shared.cookies import Cookie
from aws_lambda_powertools.utilities.typing import LambdaContext

logger = Logger(service="orders", log_uncaught_exceptions=True)
metrics = Metrics(namespace="Shop", service="orders")
url, rest = LambdaFunctionUrlResolver(), APIGatewayRestResolver()

@url.get("/orders/<number>")
def order(number: str):
    logger.info("asked", extra={"number": number})
    metrics.add_metric(name="Asked", unit=MetricUnit.Count, value=1)
    event = url.current_event
    return {"number": number, "sizes": event.query_string_parameters["size"], "cookies": event.cookies,
            "from": event.request_context.http.source_ip, "at": event.request_context.time_epoch}

@url.post("/orders")
def make():
    return Response(status_code=201, content_type="text/plain", body=url.current_event.json_body["name"],
                    cookies=[Cookie(name="a", value="1"), Cookie(name="b", value="2")], headers={"X-B": ["1", "2"]})

@rest.get("/orders/<number>")
def order_of_rest(number: str):
    event = rest.current_event
    return Response(status_code=200, content_type="application/json", headers={"X-B": ["1", "2"]},
                    body={"number": number, "sizes": event.multi_value_query_string_parameters["size"]},
                    cookies=[Cookie(name="a", value="1"), Cookie(name="b", value="2")])

@logger.inject_lambda_context(correlation_id_path=correlation_paths.API_GATEWAY_HTTP, log_event=False)
@metrics.log_metrics(capture_cold_start_metric=True)
def lambda_handler(event: dict, context: LambdaContext) -> dict:
    return (url if event["version"] == "2.0" else rest).resolve(event, context)
"""
FASTAPI = """
from fastapi import FastAPI, Request, Response
from mangum import Mangum

app = FastAPI()

@app.get("/things/{name}")
async def thing(name: str, request: Request):
    context = request.scope["aws.context"]
    return {"name": name, "sizes": request.query_params.getlist("size"), "cookies": request.cookies,
            "from": request.client.host, "function": context.function_name, "host": request.url.hostname}

@app.post("/things")
def make(thing: dict, response: Response):
    response.set_cookie("a", "1")
    response.set_cookie("b", "2")
    response.status_code = 201
    return thing

@app.get("/octets")
def octets():
    return Response(content=bytes(range(256)), media_type="image/png")

handler = Mangum(app, lifespan="off")
"""


def ask(running: Runtime, method: str, path: str, query: str = "", body: bytes = b"", **fields: str) -> Response:
    headers = {"host": "shop.example.org", "user-agent": "curl", **fields}
    return running.worker.call(body, http=HttpHead(method, path, query, headers, "10.0.0.1"))


def test_powertools(tmp_path: Path) -> None:
    (tmp_path / "orders.py").write_text("import sys\nsys.stdout = sys.stderr\n" + POWERTOOLS)
    with runtime("orders.lambda_handler", tmp_path, tmp_path) as running:
        answer = ask(running, "GET", "/orders/7", "size=1&size=2", cookie="a=1; b=2")
        assert answer.status == 200, answer.body
        seen = json.loads(answer.body)
        assert seen.pop("at") > 0
        assert seen == {"number": "7", "sizes": "1,2", "cookies": ["a=1", "b=2"], "from": "10.0.0.1"}
        made = ask(running, "POST", "/orders", body=b'{"name": "tea"}', **{"content-type": "application/json"})
        assert (made.status, made.body, made.headers["content-type"]) == (201, b"tea", "text/plain")
        assert made.headers["set-cookie"].split("\n") == ["a=1; Secure", "b=2; Secure"]
        assert ask(running, "GET", "/nowhere").status == 404
        running.worker.configure(payload_format_version="1.0")
        answer = ask(running, "GET", "/orders/7", "size=1&size=2")
        assert json.loads(answer.body) == {"number": "7", "sizes": ["1", "2"]}, answer.body
        assert answer.headers["set-cookie"].split("\n") == ["a=1; Secure", "b=2; Secure"]
        running.process.terminate()
        _, errors = running.end()
    lines = [json.loads(line) for line in errors.splitlines() if line.startswith("{")]
    (asked,) = [line for line in lines if line.get("message") == "asked"]
    assert (asked["function_name"], asked["function_memory_size"], asked["number"]) == ("org.Test", "256", "7")
    assert asked["function_request_id"] == asked["correlation_id"] and asked["cold_start"] is True
    assert asked["function_arn"].endswith(":function:org.Test")
    assert {"Asked", "ColdStart"} <= {name for line in lines for name in line}


def test_fastapi_behind_mangum(tmp_path: Path) -> None:
    (tmp_path / "shop.py").write_text(FASTAPI)
    with runtime("shop.handler", tmp_path, tmp_path) as running:
        for version in ("2.0", "1.0"):
            running.worker.configure(payload_format_version=version)
            answer = ask(running, "GET", "/things/tea%20pot", "size=1&size=2", cookie="a=1; b=2")
            assert answer.status == 200, answer.body
            assert json.loads(answer.body) == {
                "name": "tea pot",
                "sizes": ["1", "2"],
                "cookies": {"a": "1", "b": "2"},
                "from": "10.0.0.1",
                "function": "org.Test",
                "host": "shop.example.org",
            }
            made = ask(running, "POST", "/things", body=b'{"n": 1}', **{"content-type": "application/json"})
            assert (made.status, json.loads(made.body)) == (201, {"n": 1})
            assert [one.partition(";")[0] for one in made.headers["set-cookie"].split("\n")] == ["a=1", "b=2"]
            picture = ask(running, "GET", "/octets")
            assert (picture.body, picture.headers["content-type"]) == (bytes(range(256)), "image/png")
            assert ask(running, "POST", "/things", body=b"x", **{"content-type": "application/json"}).status == 422
