"""Serves the components' recipes and artefacts to the nodes over HTTP."""

from collections.abc import Iterable

from aiohttp import web

from controller.nodes.components import Component


def application(components: Iterable[Component]) -> web.Application:
    """The HTTP repository: `/recipes/<name>-<version>.yaml` and `/artifacts/<name>/<version>/<file>`."""
    content: dict[str, tuple[bytes, str]] = {}
    for component in components:
        recipe = component.recipe
        content[f"/recipes/{recipe.name}-{recipe.version}.yaml"] = (component.document, "application/yaml")
        for name, data in component.files.items():
            content[f"/artifacts/{recipe.name}/{recipe.version}/{name}"] = (data, "application/octet-stream")

    async def serve(request: web.Request) -> web.Response:
        found = content.get(request.path)
        if found is None:
            raise web.HTTPNotFound(text=f"no {request.path} in this repository\n")
        return web.Response(body=found[0], content_type=found[1])

    app = web.Application()
    app.router.add_get("/{path:.*}", serve)
    return app
