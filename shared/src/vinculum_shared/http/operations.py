"""What each process answers on its metrics port, whether it serves requests or not: its metrics and its health."""

from prometheus_client import CONTENT_TYPE_LATEST
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from vinculum_shared.http import health, serving
from vinculum_shared.metrics import scrape
from vinculum_shared.problems import Problem


def create_app() -> Starlette:
    routes = [Route("/metrics", metrics), Route("/health/live", live), Route("/health/ready", ready)]
    return Starlette(routes=routes, exception_handlers={Problem: serving.answer_problem})


async def metrics(_: Request) -> Response:
    return Response(await scrape(), media_type=CONTENT_TYPE_LATEST)


async def live(_: Request) -> Response:
    return JSONResponse(health.live())


async def ready(request: Request) -> Response:
    """Say that no part of this process waits for anything."""
    return JSONResponse(await health.ready(request, {}))
