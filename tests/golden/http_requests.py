"""The requests over HTTP whose answers are recorded, in groups."""

from __future__ import annotations

import gzip
import json
from collections.abc import Mapping, Sequence

from tests.golden.exchanges import Request, Service
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
            Request("GET /"),
            Request("GET /", headers=AS_HTML, shown="outline"),
            Request("HEAD /"),
            Request("GET /health"),
            Request("GET /health/live"),
            Request("GET /health/ready"),
            Request("GET /docs", shown="headings"),
            Request("GET /openapi.json", shown="headers"),
            Request("GET /openapi.json", headers={"If-None-Match": "*"}),
            Request("GET /assets/0000/icon.svg", shown="headers"),
            Request("GET /assets/0000/none.svg"),
            Request("GET /health", headers={"Accept": "application/xml"}),
            Request("GET /nothing"),
            Request("GET /nothing", headers=AS_HTML),
            Request("GET /predict"),
            Request("PUT /predictions"),
            Request("POST /health", json={}),
            Request("OPTIONS /predict"),
            Request("GET /health/"),
        ),
    ),
    Service(
        "no model",
        "nothing",
        (
            Request("GET /"),
            Request("GET /", headers=AS_HTML, shown="outline"),
            Request("GET /health"),
            Request("GET /health/ready"),
            Request("POST /predict", json=HOUSE),
            Request("GET /predictions"),
            Request("GET /models"),
            Request("GET /drift"),
            Request("GET /accuracy"),
            Request("POST /train"),
            Request("POST /models/rollback"),
            Request("GET /v2/health/ready"),
            Request("GET /v2/models/housepredict"),
        ),
    ),
    Service(
        "refused model",
        "refused model",
        (
            Request("GET /health/ready"),
            Request("POST /predict", json=HOUSE),
            Request("GET /models/damaged", headers=AS_HTML, shown="outline"),
        ),
    ),
    Service(
        "refused promotion",
        "refused promotion",
        (
            Request("GET /health"),
            Request("GET /health/ready"),
            Request("POST /predict", json=SMALL),
        ),
    ),
    Service("lost model", "lost model", (Request("GET /health/ready"), Request("POST /predict", json=HOUSE))),
    Service(
        "no model store",
        "no model store",
        (
            Request("GET /health/ready"),
            Request("POST /predict", json=HOUSE),
            Request("GET /models"),
            Request("GET /models/first"),
        ),
    ),
    Service(
        "no storage",
        "no storage",
        (
            Request("GET /health"),
            Request("GET /health/ready"),
            Request("POST /predict", json=HOUSE),
            Request("GET /predictions"),
            Request(f"DELETE /predictions/{NOBODY}"),
        ),
    ),
    Service(
        "backlog",
        "backlog",
        (
            Request("GET /health"),
            Request("GET /health/ready"),
            Request("POST /predict", json=SMALL),
            Request("GET /predictions"),
            Request("GET /predictions", headers=AS_CSV),
            Request("GET /metrics", shown="names"),
        ),
    ),
    Service(
        "draining",
        "houses",
        (Request("GET /health"), Request("GET /health/ready"), Request("POST /predict", json=SMALL)),
        options={"stopping": True},
    ),
    Service(
        "broken model", "broken model", (Request("POST /predict", json=HOUSE), Request("POST /predict", json=[HOUSE]))
    ),
    Service(
        "not started",
        "houses",
        (Request("POST /predict", json=HOUSE), Request("GET /health")),
        options={"started": False},
    ),
    Service(
        "busy",
        "busy model",
        (
            Request("POST /predict", json=SMALL),
            Request("POST /v2/models/housepredict/infer", json={"inputs": _TENSORS}),
        ),
        {"HOUSEPREDICT_MAX_WAITING": "1"},
    ),
    Service(
        "origins",
        "houses",
        (
            Request("GET /health/live", headers={"Origin": "https://prices.example"}),
            Request("GET /health/live", headers={"Origin": "https://other.example"}),
            Request(
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
            Request("POST /train"),
            Request("GET /trainings"),
            Request("POST /sales", json={"prediction": NOBODY, **SALE}),
            Request(f"DELETE /predictions/{NOBODY}"),
            Request("POST /models/first/promote"),
            Request("POST /predict", json=SMALL),
        ),
        options={"peer": "192.0.2.7"},
    ),
    Service(
        "from another site",
        "houses",
        (
            Request("POST /models/rollback", headers={"Origin": "https://other.example"}),
            Request("POST /models/rollback", headers={"Sec-Fetch-Site": "cross-site"}),
            Request("POST /models/rollback", headers={"X-Forwarded-For": "192.0.2.7"}),
        ),
    ),
    Service(
        "under another name", "houses", (Request("POST /models/rollback"),), options={"url": "http://rebound.example"}
    ),
    Service("embedded", "houses", (Request("POST /models/rollback"),), options={"embedded": True}),
    Service(
        "with a token",
        "houses",
        (
            Request("POST /models/rollback"),
            Request("POST /models/rollback", headers={"Authorization": "Bearer another"}),
            Request("POST /models/rollback", headers={"Authorization": f"Bearer {TOKEN}"}),
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
            Request("POST /predict", json=HOUSE),
            Request("POST /predict", json=SMALL),
            Request("POST /predict", json={"size": 300, "bedrooms": 9, "town": "Oz", "sold": "2027-01-01"}),
            Request("POST /predict", json={"size": 3600, "bedrooms": 2, "town": " ash ", "garden": None}),
            Request("POST /predict", json=[HOUSE, SMALL]),
            Request("POST /predict?explain=true", json=HOUSE),
            Request("POST /predict?explain=true", json=[SMALL]),
            Request("POST /predict?explain=false", json=SMALL),
            Request("POST /predict?explain=true", json=SMALL, headers=AS_CSV),
            Request("POST /predict", json=HOUSE, headers=AS_CSV),
            Request("POST /predict", body="size;bedrooms;town\n2500;3;Łódź\n\n900.5;1;-\n", headers=CSV),
            Request(
                "POST /predict",
                body="size,bedrooms,town\n2500,3,Łódź\n".encode("iso-8859-2"),
                headers={"Content-Type": "text/csv; charset=iso-8859-2", **AS_CSV},
            ),
            Request("POST /predict", body=gzip.compress(json.dumps(SMALL).encode(), mtime=0), headers={**JSON, **GZIP}),
            Request("POST /predict", json={**SMALL, "size": 900}, headers={"X-Request-Id": "golden-1"}),
        ),
    ),
    Service(
        "the demonstration",
        "demonstration",
        (
            Request("GET /"),
            Request("POST /predict", json=LAB_HOUSE),
            Request("POST /predict?explain=true", json=LAB_HOUSE),
            Request("POST /predict", json={"size": 2500, "bedrooms": 9, "age": 10}),
            Request("POST /predict", json={"bedrooms": 3, "age": 10}),
            Request("GET /predictions?limit=1"),
            Request("GET /models/demonstration"),
            Request("GET /models"),
            Request("GET /drift"),
        ),
        {"HOUSEPREDICT_DEMO": "1"},
    ),
    Service(
        "violations",
        "houses",
        (
            Request(
                "POST /predict", json={"size": "big", "bedrooms": 2.5, "garden": 1, "heating": "coal", "sold": "soon"}
            ),
            Request("POST /predict", json={"bedrooms": 3}),
            Request(
                "POST /predict", json=[SMALL, {"size": -1, "bedrooms": 21}, {"size": None, "bedrooms": 1, "price": 1}]
            ),
            Request("POST /predict", body='{"size": NaN, "bedrooms": 1, "size": 1e999}', headers=JSON),
            Request("POST /predict", json={"size": 1e12, "bedrooms": 1}),
            Request("POST /predict", json={"size": 1e16, "bedrooms": 1, "town": "x" * 201}),
            Request("POST /predict", json={"size": 1000, "bedrooms": 1, "unknown": {"a": {"b": {"c": 1}}}}),
            Request("POST /predict", body="[" * 100_000, headers=JSON),
            Request("POST /predict", json=[]),
            Request("POST /predict", json="a house"),
            Request("POST /predict", json=[SMALL, 7]),
            Request("POST /predict", json=[SMALL] * 4),
            Request("POST /predict", body="size,bedrooms,size\n1,2,3\n", headers=CSV),
            Request("POST /predict", body="size,bedrooms\n1.000,zwei\n2\n", headers=CSV),
            Request("POST /predict", body="size,bedrooms\n", headers=CSV),
            Request("POST /predict?explain=maybe", json=SMALL),
            Request("POST /predict?debug=true", json=SMALL),
        ),
        {"HOUSEPREDICT_MAX_BATCH": "3"},
    ),
    Service(
        "bodies",
        "houses",
        (
            Request("POST /predict", headers=JSON),
            Request("POST /predict", body="{size: 1}", headers=JSON),
            Request("POST /predict", body=b'{"town": "\xff"}', headers=JSON),
            Request("POST /predict", body=b"\xef\xbb\xbf{}", headers=JSON),
            Request("POST /predict", body="size=1", headers={"Content-Type": "application/x-www-form-urlencoded"}),
            Request("POST /predict", body="{}"),
            Request("POST /predict", body="{}", headers={"Content-Type": "application/json; charset=utf-16"}),
            Request("POST /predict", body="size\n1\n", headers={"Content-Type": "text/csv; charset=none-such"}),
            Request("POST /predict", body="{}", headers={**JSON, "Content-Encoding": "br"}),
            Request("POST /predict", body="{}", headers={**JSON, **GZIP}),
            Request("POST /predict", body=json.dumps({"town": "x" * 2000}), headers=JSON),
            Request("POST /predict", body=gzip.compress(b" " * 4000, mtime=0), headers={**JSON, **GZIP}),
        ),
        {"HOUSEPREDICT_MAX_BODY": "1024"},
    ),
    Service(
        "an old model",
        "old model",
        (
            Request("POST /predict", json=HOUSE),
            Request("POST /predict?explain=true", json=HOUSE),
            Request("GET /drift"),
        ),
    ),
    Service(
        "idempotency keys",
        "houses",
        (
            Request("POST /predict", json=HOUSE, headers=_key("viewing-1")),
            Request("POST /predict", json=HOUSE, headers=_key("viewing-1")),
            Request("POST /predict", json=SMALL, headers=_key("viewing-1")),
            Request("POST /predict", json=[SMALL, SMALL], headers=_key("viewing-2")),
            Request("POST /predict", json={"size": 1}, headers=_key("viewing-3")),
            Request("POST /predict", json=SMALL, headers=_key("viewing-3")),
            Request("POST /predict", json=SMALL, headers=_key("x" * 256)),
            Request("POST /predict?explain=true", json=SMALL, headers=_key("viewing-4")),
            Request(f"DELETE /predictions/{id_of(1)}"),
            Request("POST /predict", json=HOUSE, headers=_key("viewing-1")),
            Request("GET /predictions"),
        ),
    ),
)

_PREDICTIONS = (
    Service(
        "records",
        "houses",
        (
            Request("GET /predictions"),
            Request("GET /predictions", headers=AS_CSV),
            Request("POST /predict", json=[HOUSE, SMALL, {**SMALL, "town": "Oz"}], headers={}),
            Request("GET /predictions"),
            Request("GET /predictions?limit=1"),
            Request(f"GET /predictions?limit=1&before={id_of(3)}"),
            Request("GET /predictions?limit=2", headers=AS_CSV),
            Request(f"GET /predictions/{id_of(2)}"),
            Request(f"GET /predictions/{NOBODY}"),
            Request("GET /predictions/not-an-id"),
            Request(f"DELETE /predictions/{id_of(2)}"),
            Request(f"DELETE /predictions/{id_of(2)}"),
            Request("DELETE /predictions/not-an-id"),
            Request(f"GET /predictions/{id_of(2)}"),
            Request("GET /predictions?limit=0"),
            Request("GET /predictions?limit=many&before=x&after=y&limit=2"),
        ),
    ),
)

_SALES = (
    Service(
        "sales",
        "houses",
        (
            Request("POST /predict", json=[HOUSE, SMALL, SMALL, SMALL]),
            Request(f"GET /predictions/{id_of(1)}/sale"),
            Request(f"POST /predictions/{id_of(1)}/sale", json=SALE),
            Request(f"POST /predictions/{id_of(1)}/sale", json={**SALE, "price": 410_000.125}, headers=_key("deed-1")),
            Request(f"POST /predictions/{id_of(1)}/sale", json={**SALE, "price": 410_000.125}, headers=_key("deed-1")),
            Request(f"POST /predictions/{id_of(1)}/sale", json=SALE, headers=_key("deed-1")),
            Request(f"GET /predictions/{id_of(1)}/sale"),
            Request(f"POST /predictions/{NOBODY}/sale", json=SALE),
            Request(f"GET /predictions/{NOBODY}/sale"),
            Request("POST /predictions/not-an-id/sale", json=SALE),
            Request("POST /sales", json={"prediction": id_of(2), "price": 95_000, "date": "2025-06-01"}),
            Request("POST /sales", json=[{"prediction": id_of(2), "price": 99_000, "date": "2025-06-02"}]),
            Request(
                "POST /sales",
                body=f"prediction_id;price;date\n{id_of(3)};90000.5;2025-06-02\n{NOBODY};1;2025-05-01\n",
                headers=CSV,
            ),
            Request(f"DELETE /predictions/{id_of(4)}"),
            Request(f"POST /predictions/{id_of(4)}/sale", json=SALE),
            Request("POST /sales", json=[{"prediction": id_of(4), **SALE}, {"prediction": id_of(3), **SALE}]),
            Request("GET /accuracy"),
            Request("GET /accuracy?since=2025-06-02&until=2025-06-02"),
            Request("GET /accuracy?since=2030-01-01"),
            Request("GET /accuracy?since=today&until=2025-02-30&by=month"),
        ),
    ),
    Service(
        "violations",
        "houses",
        (
            Request("POST /sales", json={"prediction": 1, "price": "1", "date": "2025-06-31"}),
            Request("POST /sales", json={"prediction": NOBODY, "price": 0, "date": "2025-06-03", "buyer": "x"}),
            Request("POST /sales", json=[{"prediction": NOBODY, "price": 1e13, "date": None}, 7, {}]),
            Request("POST /sales", json=[{"prediction": NOBODY, **SALE}, {"prediction": NOBODY, **SALE, "price": 1}]),
            Request("POST /sales", json=[{"prediction": NOBODY, **SALE}] * 2),
            Request("POST /sales", json=[]),
            Request("POST /sales", json=[{}] * 4),
            Request("POST /sales", body="prediction,price\n", headers=CSV),
            Request("POST /sales", body="id,price,date\nx,many,2025-06-02\n", headers=CSV),
            Request("POST /sales", json={"prediction": NOBODY, **SALE}, headers=_key("ü".encode().hex() + " ")),
            Request("POST /sales", json={"prediction": NOBODY, **SALE}, headers=_key("x" * 256)),
            Request("POST /sales", body="<sale/>", headers={"Content-Type": "application/xml"}),
            Request(f"POST /predictions/{NOBODY}/sale", json=[SALE]),
            Request(f"POST /predictions/{NOBODY}/sale", body="{", headers=JSON),
        ),
        {"HOUSEPREDICT_MAX_BATCH": "3"},
    ),
)

_MODELS = (
    Service(
        "models",
        "models",
        (
            Request("GET /models"),
            Request("GET /models/second"),
            Request("GET /models/second", headers=AS_HTML, shown="outline"),
            Request("GET /models/none"),
            Request("POST /models/rollback"),
            Request("POST /predict", json=SMALL),
            Request("POST /models/rollback"),
            Request("POST /models/second/promote"),
            Request("POST /models/second/promote", json={}),
            Request("POST /models/second/promote", json={"force": True}),
            Request("POST /models/damaged/promote"),
            Request("POST /models/none/promote"),
            Request("GET /models/second/promote"),
            Request("GET /drift"),
            Request(
                "POST /predict",
                json=[{"size": 1000 + 40 * row, "bedrooms": 2, "town": "Oz"} for row in range(60)],
                headers=AS_CSV,
            ),
            Request("GET /drift"),
            Request("GET /drift?since=2025-01-01"),
        ),
    ),
    Service(
        "old model",
        "old model",
        (Request("GET /models/old"), Request("GET /models/old", headers=AS_HTML, shown="outline")),
    ),
)

_METRICS = (
    Service(
        "metrics",
        "houses",
        (
            Request(
                "POST /predict",
                json=[{"size": 1000 + 20 * row, "bedrooms": 2} for row in range(150)],
                headers=AS_CSV,
                shown="headers",
            ),
            Request(f"POST /predictions/{id_of(1)}/sale", json=SALE, shown="headers"),
            Request("GET /metrics", shown="names"),
        ),
    ),
)

_TRAIN = (
    Service(
        "sales that are sent",
        "houses",
        (
            Request("GET /trainings"),
            Request("POST /train?price=price&promote=always&seed=3", body=SALES, headers=CSV),
            Request(
                "POST /train?promote=never&type=bedrooms=number&exclude=town",
                body=gzip.compress(SALES.encode(), mtime=0),
                headers={"Content-Type": "application/gzip"},
            ),
            Request("GET /trainings"),
            Request("GET /trainings?limit=1"),
            Request(f"GET /trainings/{id_of(1)}"),
            Request(f"DELETE /trainings/{id_of(1)}"),
            Request(f"GET /trainings/{NOBODY}"),
            Request(f"DELETE /trainings/{NOBODY}"),
            Request("GET /trainings/not-an-id"),
            Request("GET /trainings?limit=1001"),
            Request("POST /train"),
            Request("GET /models"),
            Request("POST /predict", json=SMALL),
        ),
    ),
    Service(
        "refusals",
        "houses",
        (
            Request("POST /train"),
            Request("POST /train", body="size,price\n1,2\n", headers=CSV),
            Request("POST /train?price=cost", body=SALES, headers=CSV),
            Request("POST /train?price=price", body="", headers=CSV),
            Request(
                "POST /train?seed=x&type=size&type=town=word&algorithm=magic&promote=maybe&effort=huge&price=a&price=b",
                body=SALES,
                headers=CSV,
            ),
            Request("POST /train?colour=red&time_limit=-1&encoding=klingon&from_sales=yes", body=SALES, headers=CSV),
            Request("POST /train?price=price"),
            Request("POST /train", json=[{"size": 1, "price": 2}]),
            Request("POST /train", body=SALES, headers={"Content-Type": "application/x-www-form-urlencoded"}),
            Request("POST /train", body=SALES, headers={"Content-Type": "multipart/form-data; boundary=x"}),
            Request(
                "POST /train", body=b"PK\x03\x04" + b" " * 100, headers={"Content-Type": "application/octet-stream"}
            ),
            Request("POST /train", body=SALES, headers={"Content-Type": "text/csv; charset=none-such"}),
            Request("POST /train", body=SALES, headers={**CSV, "Content-Encoding": "br"}),
            Request("POST /train", body=SALES, headers={"Content-Type": "image/png"}),
            Request("POST /train", body="size,price\n" + "1000,100000\n" * 2000, headers=CSV),
            Request("POST /train?from_sales=true"),
            Request("GET /trainings?limit=2"),
        ),
        {"HOUSEPREDICT_MAX_UPLOAD": "10000"},
    ),
    Service(
        "without waiting",
        "houses",
        (
            Request("POST /train?price=price", body=SALES, headers={**CSV, **LATER}),
            Request("POST /train?price=price", body=SALES, headers=CSV),
            Request("POST /train"),
            Request(f"GET /trainings/{id_of(1)}"),
            Request(f"DELETE /trainings/{id_of(1)}"),
            Request(f"GET /trainings/{id_of(1)}", until='"ended_at":"'),
        ),
        options={"trainer": "waiting"},
    ),
    Service(
        "cancelled",
        "houses",
        (Request("POST /train?price=price", body=SALES, headers=CSV), Request("GET /trainings")),
        options={"trainer": "cancelled"},
    ),
    Service(
        "killed",
        "houses",
        (Request("POST /train?price=price", body=SALES, headers=CSV), Request("GET /trainings")),
        options={"trainer": "killed"},
    ),
    Service(
        "no scikit-learn",
        "no trainer",
        (Request("POST /train?price=price", body=SALES, headers=CSV),),
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
            Request("GET /v2"),
            Request("GET /v2/health/live"),
            Request("GET /v2/health/ready"),
            Request("GET /v2/models/housepredict"),
            Request("GET /v2/models/housepredict/ready"),
            Request("GET /v2/models/housepredict/versions/second"),
            Request("GET /v2/models/housepredict/versions/second/ready"),
            Request("GET /v2/models/housepredict/versions/first"),
            Request("GET /v2/models/other"),
            Request("GET /v2/models/other/ready"),
            Request("POST /v2/models/housepredict/infer", json={"id": "7", "inputs": _TENSORS}),
            Request(
                "POST /v2/models/housepredict/versions/second/infer",
                json={"inputs": _TENSORS, "outputs": [{"name": "price"}, {"name": "high_90"}]},
            ),
            Request(
                "POST /v2/models/housepredict/infer",
                body=_BINARY + _2500,
                headers={
                    "Inference-Header-Content-Length": str(len(_BINARY)),
                    "Content-Type": "application/octet-stream",
                },
            ),
            Request(
                "POST /v2/models/housepredict/infer", json={"inputs": _TENSORS[:1], "outputs": [{"name": "prize"}]}
            ),
            Request(
                "POST /v2/models/housepredict/infer",
                json={"inputs": [{"name": "size", "shape": [3], "datatype": "FP65", "data": [1]}, {"name": "colour"}]},
            ),
            Request("POST /v2/models/housepredict/infer", json=[]),
            Request("POST /v2/models/housepredict/infer", json={}),
            Request("POST /v2/models/housepredict/infer", body="{", headers=JSON),
            Request(
                "POST /v2/models/housepredict/infer",
                body="{}",
                headers={**JSON, "Inference-Header-Content-Length": "9"},
            ),
            Request("POST /v2/models/other/infer", json={"inputs": _TENSORS}),
            Request("POST /v2/models/housepredict/versions/first/infer", json={"inputs": _TENSORS}),
            Request("GET /v2/models/housepredict/infer"),
            Request("GET /v2/nothing"),
        ),
    ),
)

_OPENAPI = (Service("openapi", "houses", (Request("GET /openapi.json"),)),)

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
