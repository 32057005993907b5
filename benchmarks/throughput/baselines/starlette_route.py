"""A bare Starlette route that decodes the body and responds, without a model or a database."""

from __future__ import annotations

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route


async def ready(_request: Request) -> JSONResponse:
    return JSONResponse({"status": "ready"})


async def predict(request: Request) -> JSONResponse:
    house = await request.json()
    return JSONResponse({"prediction": 254206.02, "input": house})


app = Starlette(routes=[Route("/health/ready", ready), Route("/predict", predict, methods=["POST"])])
