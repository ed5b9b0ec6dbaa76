"""Serves the components' recipes and artefacts to the nodes over HTTP."""

from collections.abc import Callable, Iterable

from aiohttp import web

from controller.nodes.components import Component


def application(components: Callable[[], Iterable[Component]]) -> web.Application:
    """The HTTP repository: `/recipes/<name>-<version>.yaml` and `/artifacts/<name>/<version>/<file>`.

    It has the components that are there when a node asks.
    """

    async def serve(request: web.Request) -> web.Response:
        found = _content(components(), request.path)
        if found is None:
            raise web.HTTPNotFound(text=f"no {request.path} in this repository\n")
        return web.Response(body=found[0], content_type=found[1])

    app = web.Application()
    app.router.add_get("/{path:.*}", serve)
    return app


def _content(components: Iterable[Component], path: str) -> tuple[bytes, str] | None:
    for component in components:
        recipe = component.recipe
        if path == f"/recipes/{recipe.name}-{recipe.version}.yaml":
            return component.document, "application/yaml"
        folder, _, name = path.rpartition("/")
        if folder == f"/artifacts/{recipe.name}/{recipe.version}" and name in component.files:
            return component.files[name], "application/octet-stream"
    return None
