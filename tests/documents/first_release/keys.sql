BEGIN TRANSACTION;
CREATE TABLE prediction_keys (
    key    TEXT PRIMARY KEY NOT NULL,
    digest TEXT NOT NULL,
    first  TEXT NOT NULL, -- UUIDv7
    ids    TEXT NOT NULL  -- JSON, in the order of the houses
) WITHOUT ROWID
;
INSERT INTO "prediction_keys" VALUES('deed-1','0000000000000000000000000000000000000000000000000000000000000000','01a22bd4-0a10-7407-9bc2-2fea53766785','["01a22bd4-0a10-7407-9bc2-2fea53766785", "01a22bd4-0a1e-7331-ae03-1c2db03902fd"]');
CREATE INDEX prediction_keys_by_age ON prediction_keys (first);
COMMIT;
PRAGMA user_version = 1;
