"""The page at /docs: Swagger UI, served from the pinned package `fastapi-swagger`, with nothing from elsewhere."""

from functools import cache
from importlib.resources import files
from typing import Final

from fastapi import APIRouter, Request
from starlette.responses import Response

from vinculum_shared.problems import NotFound

router = APIRouter(prefix="/docs", include_in_schema=False)

# Swagger UI draws its icons from data URLs and sets the style of single elements.
POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
    "connect-src 'self'; frame-ancestors 'none'"
)
PAGE: Final = """\
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<link rel="icon" href="docs/favicon-32x32.png">
<link rel="stylesheet" href="docs/swagger-ui.css">
</head>
<body>
<div id="swagger-ui"></div>
<script src="docs/swagger-ui-bundle.js"></script>
<script src="docs/start.js"></script>
</body>
</html>
"""
START: Final = """\
SwaggerUIBundle({
  url: "openapi.json",
  dom_id: "#swagger-ui",
  deepLinking: true,
  displayRequestDuration: true,
  filter: true,
  persistAuthorization: true,
  tryItOutEnabled: true,
  validatorUrl: null,
});
"""
TYPES: Final = {
    "favicon-32x32.png": "image/png",
    "swagger-ui-bundle.js": "text/javascript",
    "swagger-ui.css": "text/css",
}


@router.get("")
async def page(request: Request) -> Response:
    headers = {"Content-Security-Policy": POLICY}
    return Response(PAGE.format(title=request.app.title), media_type="text/html", headers=headers)


@router.get("/start.js")
async def start() -> Response:
    return Response(START, media_type="text/javascript")


@router.get("/{name}")
async def asset(name: str) -> Response:
    if name not in TYPES:
        raise NotFound
    return Response(content(name), media_type=TYPES[name], headers={"Cache-Control": "max-age=86400"})


@cache
def content(name: str) -> bytes:
    return files("fastapi_swagger.resources").joinpath(name).read_bytes()
