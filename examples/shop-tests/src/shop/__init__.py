"""A shop for houses: it shows a house with what it is worth, and has housepredict under `/prices` for whoever asks."""

from __future__ import annotations

from fastapi import FastAPI
from starlette.applications import Starlette

import housepredict
from housepredict import Prices


def describe(prices: Prices, house: dict[str, object], asked: float) -> str:
    """What the shop says of a house that is offered for a price."""
    estimate = prices.predict(house).estimate
    band = estimate.intervals[-1]
    if asked > band.high:
        return f"dear: houses like this sell for up to {band.high:,.0f}"
    if asked < band.low:
        return f"a bargain: houses like this sell for {band.low:,.0f} or more"
    return f"fair: houses like this sell for {estimate.price:,.0f} or so"


def shop(prices: Starlette | None = None) -> FastAPI:
    """The shop's service: `uvicorn --factory shop:shop`."""
    prices = prices or housepredict.asgi_app()
    app = FastAPI(title="A shop for houses", lifespan=prices.router.lifespan_context)

    @app.get("/")
    def home() -> dict[str, str]:
        return {"estimates": "/prices/predict"}

    app.mount("/prices", prices)
    return app
