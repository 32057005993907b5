"""The tutorial's design: Flask, with scikit-learn and a new database connection for each request.

It runs under gunicorn with two synchronous workers. Like the tutorial, it responds even if the row is lost.
"""

from __future__ import annotations

import os
import sys

import numpy as np
import psycopg2
from flask import Flask, jsonify, request

from benchmarks.throughput.baselines.model import fitted

INSERT = "INSERT INTO predictions (size, bedrooms, age, predicted_price) VALUES (%s, %s, %s, %s)"

app = Flask(__name__)
model = fitted()


def ready() -> object:
    return jsonify({"status": "healthy"})


def predict() -> object:
    house = request.get_json()
    for name in ("size", "bedrooms", "age"):
        if name not in house:
            return jsonify({"error": f"Missing field: {name}"}), 400
    price = max(float(model.predict(np.array([[house["size"], house["bedrooms"], house["age"]]]))[0]), 0.0)
    store(house, price)
    return jsonify({"prediction": round(price, 2), "input": house})


def store(house: dict[str, float], price: float) -> None:
    try:
        connection = psycopg2.connect(os.environ["BENCH_DATABASE_URL"])
        cursor = connection.cursor()
        cursor.execute(INSERT, (house["size"], house["bedrooms"], house["age"], price))
        connection.commit()
        cursor.close()
        connection.close()
    except psycopg2.Error as error:
        print(f"Error storing prediction: {error}", file=sys.stderr)


app.add_url_rule("/health/ready", view_func=ready)
app.add_url_rule("/predict", view_func=predict, methods=["POST"])
