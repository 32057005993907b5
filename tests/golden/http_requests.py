"""The requests over HTTP whose answers are recorded, in groups."""

from __future__ import annotations

import gzip
import json
from collections.abc import Mapping, Sequence

from tests.golden.asking import Ask, Service
from tests.golden.world import id_of

HOUSE = {"size": 2500, "bedrooms": 3, "garden": True, "town": "Linden", "heating": "gas", "sold": "2025-05-01"}
SMALL = {"size": 900.5, "bedrooms": 1}
LAB_HOUSE = {"size": 2500, "bedrooms": 3, "age": 10}
NOBODY = "01970000-0000-7000-8000-000000000001"
SALE = {"price": 400_000, "date": "2025-06-02"}

CSV = {"Content-Type": "text/csv"}
AS_CSV = {"Accept": "text/csv"}
AS_HTML = {"Accept": "text/html"}
JSON = {"Content-Type": "application/json"}
GZIP = {"Content-Encoding": "gzip"}
LATER = {"Prefer": "respond-async"}
TOKEN = "0123456789abcdef-token"

ROWS = "\n".join(
    f"{800 + 40 * row},{1 + row % 5},{'Linden' if row % 3 else 'Ash'},{100 * (800 + 40 * row) + (row % 7 - 3) * 4096}"
    for row in range(120)
)
SALES = f"size,bedrooms,town,price\n{ROWS}\n,2,Ash,200000\n1000,2,Ash,\n"


def _key(text: str) -> Mapping[str, str]:
    return {"Idempotency-Key": text}


_TENSORS = [
    {"name": "size", "shape": [2], "datatype": "FP64", "data": [2500, 900.5]},
    {"name": "bedrooms", "shape": [2, 1], "datatype": "INT64", "data": [[3], [1]]},
    {"name": "town", "shape": [2], "datatype": "BYTES", "data": ["Łódź", None]},
]
_SERVICE = (
    Service(
        "houses",
        "houses",
        (
            Ask("GET /"),
            Ask("GET /", headers=AS_HTML, shown="outline"),
            Ask("HEAD /"),
            Ask("GET /health"),
            Ask("GET /health/live"),
            Ask("GET /health/ready"),
            Ask("GET /docs", shown="headings"),
            Ask("GET /openapi.json", shown="headers"),
            Ask("GET /openapi.json", headers={"If-None-Match": "*"}),
            Ask("GET /assets/0000/icon.svg", shown="headers"),
            Ask("GET /assets/0000/none.svg"),
            Ask("GET /health", headers={"Accept": "application/xml"}),
            Ask("GET /nothing"),
            Ask("GET /predict"),
            Ask("PUT /predictions"),
            Ask("POST /health", json={}),
            Ask("OPTIONS /predict"),
            Ask("GET /health/"),
        ),
    ),
    Service(
        "no model",
        "nothing",
        (
            Ask("GET /"),
            Ask("GET /", headers=AS_HTML, shown="outline"),
            Ask("GET /health"),
            Ask("GET /health/ready"),
            Ask("POST /predict", json=HOUSE),
            Ask("GET /predictions"),
            Ask("GET /models"),
            Ask("GET /drift"),
            Ask("GET /accuracy"),
            Ask("POST /train"),
            Ask("POST /models/rollback"),
            Ask("GET /v2/health/ready"),
            Ask("GET /v2/models/housepredict"),
        ),
    ),
    Service(
        "refused model",
        "refused model",
        (
            Ask("GET /health/ready"),
            Ask("POST /predict", json=HOUSE),
            Ask("GET /models/damaged", headers=AS_HTML, shown="outline"),
        ),
    ),
    Service("lost model", "lost model", (Ask("GET /health/ready"), Ask("POST /predict", json=HOUSE))),
    Service(
        "no model store",
        "no model store",
        (Ask("GET /health/ready"), Ask("POST /predict", json=HOUSE), Ask("GET /models"), Ask("GET /models/first")),
    ),
    Service(
        "no storage",
        "no storage",
        (
            Ask("GET /health"),
            Ask("GET /health/ready"),
            Ask("POST /predict", json=HOUSE),
            Ask("GET /predictions"),
            Ask(f"DELETE /predictions/{NOBODY}"),
        ),
    ),
    Service("broken model", "broken model", (Ask("POST /predict", json=HOUSE), Ask("POST /predict", json=[HOUSE]))),
    Service(
        "not started", "houses", (Ask("POST /predict", json=HOUSE), Ask("GET /health")), options={"started": False}
    ),
    Service(
        "limited",
        "houses",
        (
            Ask("GET /accuracy"),
            Ask("POST /predict", json=SMALL),
            Ask("POST /predict", json=SMALL),
            Ask("GET /health/live"),
        ),
        {"HOUSEPREDICT_RATE_LIMIT": "2/m"},
    ),
    Service(
        "busy",
        "busy model",
        (Ask("POST /predict", json=SMALL), Ask("POST /v2/models/housepredict/infer", json={"inputs": _TENSORS})),
        {"HOUSEPREDICT_MAX_WAITING": "1"},
    ),
    Service(
        "origins",
        "houses",
        (
            Ask("GET /health/live", headers={"Origin": "https://prices.example"}),
            Ask("GET /health/live", headers={"Origin": "https://other.example"}),
            Ask(
                "OPTIONS /predict",
                headers={
                    "Origin": "https://prices.example",
                    "Access-Control-Request-Method": "POST",
                    "Access-Control-Request-Headers": "content-type",
                },
            ),
        ),
        {"HOUSEPREDICT_CORS_ORIGINS": "https://prices.example"},
    ),
)

_ACCESS = (
    Service(
        "from another machine",
        "houses",
        (
            Ask("POST /train"),
            Ask("GET /trainings"),
            Ask("POST /sales", json={"prediction": NOBODY, **SALE}),
            Ask(f"DELETE /predictions/{NOBODY}"),
            Ask("POST /models/first/promote"),
            Ask("POST /predict", json=SMALL),
        ),
        options={"peer": "192.0.2.7"},
    ),
    Service(
        "from another site",
        "houses",
        (
            Ask("POST /models/rollback", headers={"Origin": "https://other.example"}),
            Ask("POST /models/rollback", headers={"Sec-Fetch-Site": "cross-site"}),
            Ask("POST /models/rollback", headers={"X-Forwarded-For": "192.0.2.7"}),
        ),
    ),
    Service("under another name", "houses", (Ask("POST /models/rollback"),), options={"url": "http://rebound.example"}),
    Service("embedded", "houses", (Ask("POST /models/rollback"),), options={"embedded": True}),
    Service(
        "with a token",
        "houses",
        (
            Ask("POST /models/rollback"),
            Ask("POST /models/rollback", headers={"Authorization": "Bearer another"}),
            Ask("POST /models/rollback", headers={"Authorization": f"Bearer {TOKEN}"}),
        ),
        {"HOUSEPREDICT_TOKEN": TOKEN},
        {"peer": "192.0.2.7"},
    ),
)

_PREDICT = (
    Service(
        "houses",
        "houses",
        (
            Ask("POST /predict", json=HOUSE),
            Ask("POST /predict", json=SMALL),
            Ask("POST /predict", json={"size": 300, "bedrooms": 9, "town": "Oz", "sold": "2027-01-01"}),
            Ask("POST /predict", json={"size": 3600, "bedrooms": 2, "town": " ash ", "garden": None}),
            Ask("POST /predict", json=[HOUSE, SMALL]),
            Ask("POST /predict?explain=true", json=HOUSE),
            Ask("POST /predict?explain=true", json=[SMALL]),
            Ask("POST /predict?explain=false", json=SMALL),
            Ask("POST /predict", json=HOUSE, headers=AS_CSV),
            Ask("POST /predict", body="size;bedrooms;town\n2500;3;Łódź\n\n900.5;1;-\n", headers=CSV),
            Ask(
                "POST /predict",
                body="size,bedrooms,town\n2500,3,Łódź\n".encode("iso-8859-2"),
                headers={"Content-Type": "text/csv; charset=iso-8859-2", **AS_CSV},
            ),
            Ask("POST /predict", body=gzip.compress(json.dumps(SMALL).encode(), mtime=0), headers={**JSON, **GZIP}),
            Ask("POST /predict", json={**SMALL, "size": 900}, headers={"X-Request-Id": "golden-1"}),
        ),
    ),
    Service(
        "the demonstration",
        "demonstration",
        (
            Ask("GET /"),
            Ask("POST /predict", json=LAB_HOUSE),
            Ask("POST /predict?explain=true", json=LAB_HOUSE),
            Ask("POST /predict", json={"size": 2500, "bedrooms": 9, "age": 10}),
            Ask("POST /predict", json={"bedrooms": 3, "age": 10}),
            Ask("GET /predictions?limit=1"),
            Ask("GET /models/demonstration"),
            Ask("GET /models"),
            Ask("GET /drift"),
        ),
        {"HOUSEPREDICT_DEMO": "1"},
    ),
    Service(
        "violations",
        "houses",
        (
            Ask("POST /predict", json={"size": "big", "bedrooms": 2.5, "garden": 1, "heating": "coal", "sold": "soon"}),
            Ask("POST /predict", json={"bedrooms": 3}),
            Ask("POST /predict", json=[SMALL, {"size": -1, "bedrooms": 21}, {"size": None, "bedrooms": 1, "price": 1}]),
            Ask("POST /predict", body='{"size": NaN, "bedrooms": 1, "size": 1e999}', headers=JSON),
            Ask("POST /predict", json={"size": 1e12, "bedrooms": 1}),
            Ask("POST /predict", json={"size": 1e16, "bedrooms": 1, "town": "x" * 201}),
            Ask("POST /predict", json={"size": 1000, "bedrooms": 1, "unknown": {"a": {"b": {"c": 1}}}}),
            Ask("POST /predict", body="[" * 100_000, headers=JSON),
            Ask("POST /predict", json=[]),
            Ask("POST /predict", json="a house"),
            Ask("POST /predict", json=[SMALL, 7]),
            Ask("POST /predict", json=[SMALL] * 4),
            Ask("POST /predict", body="size,bedrooms,size\n1,2,3\n", headers=CSV),
            Ask("POST /predict", body="size,bedrooms\n1.000,zwei\n2\n", headers=CSV),
            Ask("POST /predict", body="size,bedrooms\n", headers=CSV),
            Ask("POST /predict?explain=maybe", json=SMALL),
            Ask("POST /predict?debug=true", json=SMALL),
        ),
        {"HOUSEPREDICT_MAX_BATCH": "3"},
    ),
    Service(
        "bodies",
        "houses",
        (
            Ask("POST /predict", headers=JSON),
            Ask("POST /predict", body="{size: 1}", headers=JSON),
            Ask("POST /predict", body=b'{"town": "\xff"}', headers=JSON),
            Ask("POST /predict", body=b"\xef\xbb\xbf{}", headers=JSON),
            Ask("POST /predict", body="size=1", headers={"Content-Type": "application/x-www-form-urlencoded"}),
            Ask("POST /predict", body="{}"),
            Ask("POST /predict", body="{}", headers={"Content-Type": "application/json; charset=utf-16"}),
            Ask("POST /predict", body="size\n1\n", headers={"Content-Type": "text/csv; charset=none-such"}),
            Ask("POST /predict", body="{}", headers={**JSON, "Content-Encoding": "br"}),
            Ask("POST /predict", body="{}", headers={**JSON, **GZIP}),
            Ask("POST /predict", body=json.dumps({"town": "x" * 2000}), headers=JSON),
            Ask("POST /predict", body=gzip.compress(b" " * 4000, mtime=0), headers={**JSON, **GZIP}),
        ),
        {"HOUSEPREDICT_MAX_BODY": "1024"},
    ),
    Service(
        "an old model",
        "old model",
        (Ask("POST /predict", json=HOUSE), Ask("POST /predict?explain=true", json=HOUSE), Ask("GET /drift")),
    ),
    Service(
        "idempotency keys",
        "houses",
        (
            Ask("POST /predict", json=HOUSE, headers=_key("viewing-1")),
            Ask("POST /predict", json=HOUSE, headers=_key("viewing-1")),
            Ask("POST /predict", json=SMALL, headers=_key("viewing-1")),
            Ask("POST /predict", json=[SMALL, SMALL], headers=_key("viewing-2")),
            Ask("POST /predict", json={"size": 1}, headers=_key("viewing-3")),
            Ask("POST /predict", json=SMALL, headers=_key("viewing-3")),
            Ask("POST /predict", json=SMALL, headers=_key("x" * 256)),
            Ask("POST /predict?explain=true", json=SMALL, headers=_key("viewing-4")),
            Ask(f"DELETE /predictions/{id_of(1)}"),
            Ask("POST /predict", json=HOUSE, headers=_key("viewing-1")),
            Ask("GET /predictions"),
        ),
    ),
)

_PREDICTIONS = (
    Service(
        "records",
        "houses",
        (
            Ask("GET /predictions"),
            Ask("GET /predictions", headers=AS_CSV),
            Ask("POST /predict", json=[HOUSE, SMALL, {**SMALL, "town": "Oz"}], headers={}),
            Ask("GET /predictions"),
            Ask("GET /predictions?limit=1"),
            Ask(f"GET /predictions?limit=1&before={id_of(3)}"),
            Ask("GET /predictions?limit=2", headers=AS_CSV),
            Ask(f"GET /predictions/{id_of(2)}"),
            Ask(f"GET /predictions/{NOBODY}"),
            Ask("GET /predictions/not-an-id"),
            Ask(f"DELETE /predictions/{id_of(2)}"),
            Ask(f"DELETE /predictions/{id_of(2)}"),
            Ask("DELETE /predictions/not-an-id"),
            Ask(f"GET /predictions/{id_of(2)}"),
            Ask("GET /predictions?limit=0"),
            Ask("GET /predictions?limit=many&before=x&after=y&limit=2"),
        ),
    ),
)

_SALES = (
    Service(
        "sales",
        "houses",
        (
            Ask("POST /predict", json=[HOUSE, SMALL, SMALL, SMALL]),
            Ask(f"GET /predictions/{id_of(1)}/sale"),
            Ask(f"POST /predictions/{id_of(1)}/sale", json=SALE),
            Ask(f"POST /predictions/{id_of(1)}/sale", json={**SALE, "price": 410_000.125}, headers=_key("deed-1")),
            Ask(f"POST /predictions/{id_of(1)}/sale", json={**SALE, "price": 410_000.125}, headers=_key("deed-1")),
            Ask(f"POST /predictions/{id_of(1)}/sale", json=SALE, headers=_key("deed-1")),
            Ask(f"GET /predictions/{id_of(1)}/sale"),
            Ask(f"POST /predictions/{NOBODY}/sale", json=SALE),
            Ask(f"GET /predictions/{NOBODY}/sale"),
            Ask("POST /predictions/not-an-id/sale", json=SALE),
            Ask("POST /sales", json={"prediction": id_of(2), "price": 95_000, "date": "2025-06-01"}),
            Ask("POST /sales", json=[{"prediction": id_of(2), "price": 99_000, "date": "2025-06-02"}]),
            Ask(
                "POST /sales",
                body=f"prediction_id;price;date\n{id_of(3)};90000.5;2025-06-02\n{NOBODY};1;2025-05-01\n",
                headers=CSV,
            ),
            Ask(f"DELETE /predictions/{id_of(4)}"),
            Ask(f"POST /predictions/{id_of(4)}/sale", json=SALE),
            Ask("POST /sales", json=[{"prediction": id_of(4), **SALE}, {"prediction": id_of(3), **SALE}]),
            Ask("GET /accuracy"),
            Ask("GET /accuracy?since=2025-06-02&until=2025-06-02"),
            Ask("GET /accuracy?since=2030-01-01"),
            Ask("GET /accuracy?since=today&until=2025-02-30&by=month"),
        ),
    ),
    Service(
        "violations",
        "houses",
        (
            Ask("POST /sales", json={"prediction": 1, "price": "1", "date": "2025-06-31"}),
            Ask("POST /sales", json={"prediction": NOBODY, "price": 0, "date": "2025-06-03", "buyer": "x"}),
            Ask("POST /sales", json=[{"prediction": NOBODY, "price": 1e13, "date": None}, 7, {}]),
            Ask("POST /sales", json=[{"prediction": NOBODY, **SALE}, {"prediction": NOBODY, **SALE, "price": 1}]),
            Ask("POST /sales", json=[{"prediction": NOBODY, **SALE}] * 2),
            Ask("POST /sales", json=[]),
            Ask("POST /sales", json=[{}] * 4),
            Ask("POST /sales", body="prediction,price\n", headers=CSV),
            Ask("POST /sales", body="id,price,date\nx,many,2025-06-02\n", headers=CSV),
            Ask("POST /sales", json={"prediction": NOBODY, **SALE}, headers=_key("ü".encode().hex() + " ")),
            Ask("POST /sales", json={"prediction": NOBODY, **SALE}, headers=_key("x" * 256)),
            Ask("POST /sales", body="<sale/>", headers={"Content-Type": "application/xml"}),
            Ask(f"POST /predictions/{NOBODY}/sale", json=[SALE]),
            Ask(f"POST /predictions/{NOBODY}/sale", body="{", headers=JSON),
        ),
        {"HOUSEPREDICT_MAX_BATCH": "3"},
    ),
)

_MODELS = (
    Service(
        "models",
        "models",
        (
            Ask("GET /models"),
            Ask("GET /models/second"),
            Ask("GET /models/second", headers=AS_HTML, shown="outline"),
            Ask("GET /models/none"),
            Ask("POST /models/rollback"),
            Ask("POST /predict", json=SMALL),
            Ask("POST /models/rollback"),
            Ask("POST /models/second/promote"),
            Ask("POST /models/second/promote", json={}),
            Ask("POST /models/second/promote", json={"force": True}),
            Ask("POST /models/damaged/promote"),
            Ask("POST /models/none/promote"),
            Ask("GET /models/second/promote"),
            Ask("GET /drift"),
            Ask(
                "POST /predict",
                json=[{"size": 1000 + 40 * row, "bedrooms": 2, "town": "Oz"} for row in range(60)],
                headers=AS_CSV,
            ),
            Ask("GET /drift"),
            Ask("GET /drift?since=2025-01-01"),
        ),
    ),
    Service(
        "old model", "old model", (Ask("GET /models/old"), Ask("GET /models/old", headers=AS_HTML, shown="outline"))
    ),
)

_METRICS = (
    Service(
        "metrics",
        "houses",
        (
            Ask(
                "POST /predict",
                json=[{"size": 1000 + 20 * row, "bedrooms": 2} for row in range(150)],
                headers=AS_CSV,
                shown="headers",
            ),
            Ask(f"POST /predictions/{id_of(1)}/sale", json=SALE, shown="headers"),
            Ask("GET /metrics", shown="names"),
        ),
    ),
)

_TRAIN = (
    Service(
        "sales that are sent",
        "houses",
        (
            Ask("GET /trainings"),
            Ask("POST /train?price=price&promote=always&seed=3", body=SALES, headers=CSV),
            Ask(
                "POST /train?promote=never&type=bedrooms=number&exclude=town",
                body=gzip.compress(SALES.encode(), mtime=0),
                headers={"Content-Type": "application/gzip"},
            ),
            Ask("GET /trainings"),
            Ask("GET /trainings?limit=1"),
            Ask(f"GET /trainings/{id_of(1)}"),
            Ask(f"DELETE /trainings/{id_of(1)}"),
            Ask(f"GET /trainings/{NOBODY}"),
            Ask(f"DELETE /trainings/{NOBODY}"),
            Ask("GET /trainings/not-an-id"),
            Ask("GET /trainings?limit=1001"),
            Ask("POST /train"),
            Ask("GET /models"),
            Ask("POST /predict", json=SMALL),
        ),
    ),
    Service(
        "refusals",
        "houses",
        (
            Ask("POST /train"),
            Ask("POST /train", body="size,price\n1,2\n", headers=CSV),
            Ask("POST /train?price=cost", body=SALES, headers=CSV),
            Ask("POST /train?price=price", body="", headers=CSV),
            Ask(
                "POST /train?seed=x&type=size&type=town=word&algorithm=magic&promote=maybe&effort=huge&price=a&price=b",
                body=SALES,
                headers=CSV,
            ),
            Ask("POST /train?colour=red&time_limit=-1&encoding=klingon&from_sales=yes", body=SALES, headers=CSV),
            Ask("POST /train?price=price"),
            Ask("POST /train", json=[{"size": 1, "price": 2}]),
            Ask("POST /train", body=SALES, headers={"Content-Type": "application/x-www-form-urlencoded"}),
            Ask("POST /train", body=SALES, headers={"Content-Type": "multipart/form-data; boundary=x"}),
            Ask("POST /train", body=b"PK\x03\x04" + b" " * 100, headers={"Content-Type": "application/octet-stream"}),
            Ask("POST /train", body=SALES, headers={"Content-Type": "text/csv; charset=none-such"}),
            Ask("POST /train", body=SALES, headers={**CSV, "Content-Encoding": "br"}),
            Ask("POST /train", body=SALES, headers={"Content-Type": "image/png"}),
            Ask("POST /train", body="size,price\n" + "1000,100000\n" * 2000, headers=CSV),
            Ask("POST /train?from_sales=true"),
            Ask("GET /trainings?limit=2"),
        ),
        {"HOUSEPREDICT_MAX_UPLOAD": "10000"},
    ),
    Service(
        "without waiting",
        "houses",
        (
            Ask("POST /train?price=price", body=SALES, headers={**CSV, **LATER}),
            Ask("POST /train?price=price", body=SALES, headers=CSV),
            Ask("POST /train"),
            Ask(f"GET /trainings/{id_of(1)}"),
            Ask(f"DELETE /trainings/{id_of(1)}"),
            Ask(f"GET /trainings/{id_of(1)}", until='"ended_at":"'),
        ),
        options={"trainer": "waiting"},
    ),
    Service(
        "cancelled",
        "houses",
        (Ask("POST /train?price=price", body=SALES, headers=CSV), Ask("GET /trainings")),
        options={"trainer": "cancelled"},
    ),
    Service(
        "killed",
        "houses",
        (Ask("POST /train?price=price", body=SALES, headers=CSV), Ask("GET /trainings")),
        options={"trainer": "killed"},
    ),
    Service(
        "no scikit-learn",
        "houses",
        (Ask("POST /train?price=price", body=SALES, headers=CSV),),
        options={"trainer": "missing"},
    ),
)

_BINARY = json.dumps(
    {
        "inputs": [
            {"name": "size", "shape": [1], "datatype": "FP64", "parameters": {"binary_data_size": 8}},
            {"name": "bedrooms", "shape": [1], "datatype": "INT64", "data": [3]},
        ],
        "outputs": [{"name": "price", "parameters": {"binary_data": True}}],
    }
).encode()
_2500 = bytes.fromhex("000000000088a340")

_V2 = (
    Service(
        "version 2",
        "houses",
        (
            Ask("GET /v2"),
            Ask("GET /v2/health/live"),
            Ask("GET /v2/health/ready"),
            Ask("GET /v2/models/housepredict"),
            Ask("GET /v2/models/housepredict/ready"),
            Ask("GET /v2/models/housepredict/versions/second"),
            Ask("GET /v2/models/housepredict/versions/second/ready"),
            Ask("GET /v2/models/housepredict/versions/first"),
            Ask("GET /v2/models/other"),
            Ask("GET /v2/models/other/ready"),
            Ask("POST /v2/models/housepredict/infer", json={"id": "7", "inputs": _TENSORS}),
            Ask(
                "POST /v2/models/housepredict/versions/second/infer",
                json={"inputs": _TENSORS, "outputs": [{"name": "price"}, {"name": "high_90"}]},
            ),
            Ask(
                "POST /v2/models/housepredict/infer",
                body=_BINARY + _2500,
                headers={
                    "Inference-Header-Content-Length": str(len(_BINARY)),
                    "Content-Type": "application/octet-stream",
                },
            ),
            Ask("POST /v2/models/housepredict/infer", json={"inputs": _TENSORS[:1], "outputs": [{"name": "prize"}]}),
            Ask(
                "POST /v2/models/housepredict/infer",
                json={"inputs": [{"name": "size", "shape": [3], "datatype": "FP65", "data": [1]}, {"name": "colour"}]},
            ),
            Ask("POST /v2/models/housepredict/infer", json=[]),
            Ask("POST /v2/models/housepredict/infer", json={}),
            Ask("POST /v2/models/housepredict/infer", body="{", headers=JSON),
            Ask(
                "POST /v2/models/housepredict/infer",
                body="{}",
                headers={**JSON, "Inference-Header-Content-Length": "9"},
            ),
            Ask("POST /v2/models/other/infer", json={"inputs": _TENSORS}),
            Ask("POST /v2/models/housepredict/versions/first/infer", json={"inputs": _TENSORS}),
            Ask("GET /v2/models/housepredict/infer"),
            Ask("GET /v2/nothing"),
        ),
    ),
)

_OPENAPI = (Service("openapi", "houses", (Ask("GET /openapi.json"),)),)

REQUESTS: Mapping[str, Sequence[Service]] = {
    "service": _SERVICE,
    "access": _ACCESS,
    "predict": _PREDICT,
    "predictions": _PREDICTIONS,
    "sales": _SALES,
    "models": _MODELS,
    "metrics": _METRICS,
    "train": _TRAIN,
    "v2": _V2,
    "openapi": _OPENAPI,
}
