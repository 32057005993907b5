BEGIN TRANSACTION;
CREATE TABLE deliveries (key TEXT PRIMARY KEY NOT NULL, digest TEXT NOT NULL) WITHOUT ROWID;
INSERT INTO "deliveries" VALUES('deed-1','0000000000000000000000000000000000000000000000000000000000000000');
CREATE TABLE sales (
    id          TEXT PRIMARY KEY NOT NULL, -- UUIDv7
    prediction  TEXT NOT NULL,
    price_cents INTEGER NOT NULL,
    sold_on     TEXT NOT NULL,             -- ISO 8601
    recorded_at TEXT NOT NULL,             -- ISO 8601, UTC
    delivery    TEXT                       -- the key that it came with
) WITHOUT ROWID
;
INSERT INTO "sales" VALUES('018f0000-0000-7000-8000-000000000002','01a22bd4-0a10-7407-9bc2-2fea53766785',29900050,'2025-06-03','2025-07-01T00:00:00+00:00','deed-1');
CREATE INDEX sales_of_prediction ON sales (prediction, id);
CREATE INDEX sales_by_date ON sales (sold_on, id);
CREATE INDEX sales_of_delivery ON sales (delivery) WHERE delivery IS NOT NULL;
COMMIT;
PRAGMA user_version = 1;
