-- The idempotency keys that predictions were asked for with, and the ids that those have. A key is here before its
-- predictions, which may wait in some replica's spool: no foreign key.

CREATE TABLE prediction_keys (
    key    text PRIMARY KEY,
    digest text NOT NULL, -- of what came with it, in hexadecimal
    first  uuid NOT NULL, -- UUIDv7: sorts by time
    ids    uuid[] NOT NULL -- in the order of the houses
);
CREATE INDEX prediction_keys_by_age ON prediction_keys (first);
