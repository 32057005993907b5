BEGIN TRANSACTION;
CREATE TABLE predictions (
    id            TEXT PRIMARY KEY NOT NULL, -- UUIDv7
    created_at    TEXT NOT NULL,             -- ISO 8601, UTC
    model_version TEXT NOT NULL,
    features      TEXT NOT NULL,             -- JSON
    price_cents   INTEGER NOT NULL,
    valued_on     TEXT,                      -- ISO 8601
    caveats       TEXT NOT NULL,             -- JSON
    intervals     TEXT,                      -- JSON
    fsd           REAL,
    generation    INTEGER,
    erased_at     TEXT                       -- ISO 8601, UTC; of such a row the id alone is left
) WITHOUT ROWID
;
INSERT INTO "predictions" VALUES('01a22bd4-0a10-7407-9bc2-2fea53766785','2026-11-30T09:40:46.224412+00:00','20261130-094029-e24ff927','{"size":120,"bedrooms":3,"area":"north","pool":true}',29387738,'2025-06-02','[]','{"80":[267932.64,322334.43],"90":[263439.1,327832.56]}',7.37,1,NULL);
INSERT INTO "predictions" VALUES('01a22bd4-0a1e-7331-ae03-1c2db03902fd','2026-11-30T09:40:46.238217+00:00','20261130-094029-e24ff927','{"size":900,"bedrooms":3,"area":"east","pool":false}',54409396,'2025-06-02','[{"code":"outside_observed_range","message":"size 900 lies outside what the model learned from, 50 to 300","feature":"size"},{"code":"unseen_category","message":"area ''east'' does not occur in what the model learned from","feature":"area"}]','{"80":[496059.03,596780.26],"90":[487739.56,606959.66]}',7.37,1,NULL);
COMMIT;
PRAGMA user_version = 4;
