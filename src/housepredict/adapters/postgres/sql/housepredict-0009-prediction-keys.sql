-- Idempotency keys of prediction requests, and the ids of the predictions. There is no foreign key, because a key is stored
-- before its predictions, which may be pending in the spool of a replica.

CREATE TABLE prediction_keys (
    key    text PRIMARY KEY,
    digest text NOT NULL, -- of the request, in hexadecimal
    first  uuid NOT NULL, -- UUIDv7: sorts by time
    ids    uuid[] NOT NULL -- in the order of the houses
);
CREATE INDEX prediction_keys_by_age ON prediction_keys (first);
