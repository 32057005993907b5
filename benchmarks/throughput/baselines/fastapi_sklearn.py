"""FastAPI and scikit-learn without a database: the usual way to serve a model."""

from __future__ import annotations

from dataclasses import dataclass

from fastapi import FastAPI

from benchmarks.throughput.baselines.model import fitted

app = FastAPI()
model = fitted()


@dataclass
class House:
    size: float
    bedrooms: int
    age: float


async def ready() -> dict[str, str]:
    return {"status": "ready"}


async def predict(house: House) -> dict[str, float]:
    return {"prediction": round(float(model.predict([[house.size, house.bedrooms, house.age]])[0]), 2)}


app.add_api_route("/health/ready", ready)
app.add_api_route("/predict", predict, methods=["POST"])
