"""The API described in OpenAPI 3.1, made of the documents that it takes and answers with. Pure."""

import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, get_args

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from controller.observe import events
from controller.operator import documents, requests

PATH = "/v1/openapi.json"
MAX_NUMBER = 2**63 - 1
"""The largest number that a query may have."""


class ErrorAnswer(BaseModel):
    """Why a call has not been carried out."""

    error: str
    """A sentence for people."""


@dataclass(frozen=True, slots=True)
class Call:
    """One call: what it does, in a line, and its documents."""

    method: str
    path: str
    summary: str
    answer: type[BaseModel] | None = None
    """None: lines, or this description."""
    body: type[requests.Body] | None = None
    lines: tuple[type[BaseModel], ...] = ()
    """What a line of the answer may be."""
    query: tuple[Mapping[str, Any], ...] = ()
    """Its parameters."""


def _parameter(name: str, description: str, schema: Mapping[str, Any], *, required: bool = False) -> dict[str, Any]:
    return {"name": name, "in": "query", "description": description, "schema": schema, "required": required}


_NUMBER = {"type": "integer", "minimum": 0, "maximum": MAX_NUMBER}
_SINCE = _parameter("since", "Leaves out the events up to this number.", {**_NUMBER, "default": 0})
_FOLLOW = _parameter(
    "follow",
    "1: goes on with each new line until the client leaves.",
    {"type": "integer", "enum": [0, 1], "default": 0},
)
_LOGS = (
    _parameter(
        "component", "A component, or a service whose it is.", {"type": "string", "minLength": 1}, required=True
    ),
    _parameter("node", "One node; without it, all that have the component.", {"type": "string", "minLength": 1}),
    _parameter("since", "What was written so many seconds ago at most.", _NUMBER),
    _parameter("tail", "Without `since`: so many lines of each node.", _NUMBER),
    _FOLLOW,
)


CALLS = (
    Call("GET", "/v1/status", "Everything the controller knows of the fabric", documents.Status),
    Call(
        "GET",
        "/v1/events",
        "What has happened, an event a line, oldest first",
        lines=get_args(events.Event),
        query=(_SINCE, _FOLLOW),
    ),
    Call(
        "GET",
        "/v1/logs",
        "What a component prints, a line each",
        lines=(documents.LogLine, documents.LogGap),
        query=_LOGS,
    ),
    Call("GET", PATH, "This description"),
    Call("POST", "/v1/migrate", "Make a node a service's host", documents.MigrateResult, requests.Migrate),
    Call("POST", "/v1/release", "Let go of a service", documents.ReleaseResult, requests.Release),
    Call("POST", "/v1/drain", "Let an instance take no new work", documents.DrainResult, requests.Drain),
    Call("POST", "/v1/exclude", "Send a node nothing any more", documents.ExcludeResult, requests.Node),
    Call("POST", "/v1/include", "Let an excluded node serve again", documents.ExcludeResult, requests.Node),
    Call("POST", "/v1/restart", "Launch a component anew", documents.RestartResult, requests.Restart),
    Call("POST", "/v1/rotate-keys", "Give instances new keys", documents.RotateKeysResult, requests.RotateKeys),
    Call(
        "POST",
        "/v1/deploy",
        "Roll a component out, a line for each step and one for what came of it",
        body=requests.Deploy,
        lines=(documents.DeployStep, documents.DeployResult),
    ),
    Call("POST", "/v1/undeploy", "Take away a service that was deployed", documents.UndeployResult, requests.Undeploy),
)


@cache
def description() -> dict[str, Any]:
    """The whole description, as JSON values; not to be changed."""
    bodies = [(body, "validation") for call in CALLS if (body := call.body) is not None]
    answers = [(one, "serialization") for call in CALLS if (one := call.answer) is not None]
    lines = [(one, "serialization") for call in CALLS for one in call.lines]
    models: list[Any] = [*bodies, *answers, *lines, (ErrorAnswer, "serialization")]
    names, schemas = models_json_schema(models, ref_template="#/components/schemas/{model}")
    paths: dict[str, Any] = {}
    for call in CALLS:
        paths.setdefault(call.path, {})[call.method.lower()] = _operation(call, names)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "hitless controller",
            "version": "1",
            "description": "Sentences and examples: docs/api.md.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "paths": paths,
        "components": {"schemas": schemas.get("$defs", {})},
    }


def _operation(call: Call, names: Any) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "operationId": call.path.rpartition("/")[2].removesuffix(".json"),
        "summary": call.summary,
        "responses": {"200": _success(call, names)},
    }
    if call.query:
        operation["parameters"] = list(call.query)
    if call.body is not None:
        schema = names[call.body, "validation"]
        operation["requestBody"] = {"required": True, "content": {"application/json": {"schema": schema}}}
    if call.body is not None or call.path == "/v1/logs":
        operation["responses"]["409"] = _error("It cannot be carried out now; nothing has changed.", names)
    if call.body is not None or "parameters" in operation:
        operation["responses"]["400"] = _error("The request is not understood.", names)
    return operation


def _success(call: Call, names: Any) -> dict[str, Any]:
    if call.lines:
        schemas = [names[one, "serialization"]["$ref"].rpartition("/")[2] for one in call.lines]
        return {
            "description": f"Lines of JSON, each one of: {', '.join(schemas)}.",
            "content": {"application/x-ndjson": {"schema": {"type": "string"}}},
        }
    schema = {"type": "object"} if call.answer is None else names[call.answer, "serialization"]
    said = call.summary if call.answer is None else inspect.cleandoc(call.answer.__doc__ or "")
    return {"description": said, "content": {"application/json": {"schema": schema}}}


def _error(description: str, names: Any) -> dict[str, Any]:
    schema = names[ErrorAnswer, "serialization"]
    return {"description": description, "content": {"application/json": {"schema": schema}}}
