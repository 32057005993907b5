-- The schema that results from the migrations in `sql`. This file is only for reading: the migrations create the tables.
-- A test checks that both are equal.

CREATE TABLE predictions (
    id            uuid PRIMARY KEY,        -- UUIDv7: sorts by time
    created_at    timestamptz NOT NULL,
    model_version text NOT NULL,
    features      jsonb NOT NULL,
    price         numeric(15, 2) NOT NULL,
    valued_on     date,
    caveats       jsonb NOT NULL,
    lab_id        integer,                 -- the id in predictions_lab, the former table of the tutorial
    intervals     jsonb,                   -- by level in percent, [low, high]
    fsd           double precision,        -- in percent of the price
    generation    bigint,                  -- generation in model_pointer when the prediction was made
    erased_at     timestamptz              -- set in erasure markers, which keep only the id
);
CREATE UNIQUE INDEX predictions_lab_id ON predictions (lab_id) WHERE lab_id IS NOT NULL;

-- One row. Predictions with ids below this id were pruned, and are neither stored nor read.
CREATE TABLE prune_watermark (
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    below    uuid NOT NULL DEFAULT '00000000-0000-0000-0000-000000000000'
);
GRANT SELECT ON prune_watermark TO PUBLIC; -- the migration also grants UPDATE to roles that may delete predictions

-- Idempotency keys of prediction requests. There is no foreign key, because a key is stored before its predictions.
CREATE TABLE prediction_keys (
    key    text PRIMARY KEY,
    digest text NOT NULL,  -- of the request, in hexadecimal
    first  uuid NOT NULL,  -- UUIDv7: sorts by time
    ids    uuid[] NOT NULL -- in the order of the houses
);
CREATE INDEX prediction_keys_by_age ON prediction_keys (first);

-- Idempotency keys of recorded sales.
CREATE TABLE sale_deliveries (
    key    text PRIMARY KEY,
    digest text NOT NULL -- of the request, in hexadecimal
);

-- Recorded sales. If a prediction has several sales, the sale with the largest id counts. There is no foreign key,
-- because a sale may be stored before its prediction.
CREATE TABLE sales (
    id          uuid PRIMARY KEY,          -- UUIDv7: sorts by time
    prediction  uuid NOT NULL,
    price       numeric(15, 2) NOT NULL,
    sold_on     date NOT NULL,
    recorded_at timestamptz NOT NULL,
    delivery    text REFERENCES sale_deliveries
);
CREATE INDEX sales_of_prediction ON sales (prediction, id);
CREATE INDEX sales_by_date ON sales (sold_on, id);
CREATE INDEX sales_of_delivery ON sales (delivery) WHERE delivery IS NOT NULL;

CREATE TABLE model_versions (
    name     text PRIMARY KEY,
    manifest text NOT NULL -- byte for byte as it was written
);

CREATE TABLE model_files (
    version text REFERENCES model_versions,
    name    text,
    content bytea NOT NULL,
    PRIMARY KEY (version, name)
);
ALTER TABLE model_files ALTER COLUMN content SET STORAGE EXTERNAL; -- files are compressed already

-- One row: which version is promoted.
CREATE TABLE model_pointer (
    only_row   boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    generation bigint NOT NULL DEFAULT 0,   -- grows with each promotion
    history    text[] NOT NULL DEFAULT '{}' -- names of promoted versions, newest promotion first
);

CREATE FUNCTION tell_of_promotions() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify('housepredict_promotions', NEW.generation::text);
    RETURN NULL;
END
$$;
CREATE TRIGGER tell_of_promotions AFTER UPDATE ON model_pointer
FOR EACH ROW WHEN (NEW.* IS DISTINCT FROM OLD.*) EXECUTE FUNCTION tell_of_promotions();

-- Training jobs. The advisory lock, not the row, shows whether a job is still running.
CREATE TABLE trainings (
    id            uuid PRIMARY KEY,        -- UUIDv7: sorts by time
    started_at    timestamptz NOT NULL,
    location      text,                    -- path of the sales file, or null if there is none
    with_recorded boolean NOT NULL,        -- recorded sales are among the training sales
    done          bigint NOT NULL,
    total         bigint NOT NULL,
    cancelling    boolean NOT NULL,        -- cancellation was requested
    keeping       boolean NOT NULL,        -- the version is about to be stored, so it is too late to cancel
    ended_at      timestamptz,
    state         text NOT NULL CHECK (state IN ('running', 'succeeded', 'failed', 'cancelled')),
    version       text,                    -- name of the trained version, if the job succeeded
    promoted      boolean NOT NULL,
    reasons       text[] NOT NULL,
    error         text
);

-- The version that each process serves. Unlogged, because processes rewrite their rows every few seconds.
CREATE UNLOGGED TABLE live_processes (
    id         uuid PRIMARY KEY,
    host       text NOT NULL,
    pid        integer NOT NULL,
    version    text,
    generation bigint,
    refused    text,
    seen_at    timestamptz NOT NULL DEFAULT now()
);

-- The applied migrations, in the format of yoyo-migrations, which earlier releases use.
CREATE TABLE _yoyo_migration (
    migration_hash varchar(64) PRIMARY KEY, -- SHA-256 of the id, in hexadecimal
    migration_id   varchar(255),            -- the name of the file, without .sql
    applied_at_utc timestamp
);
CREATE TABLE _yoyo_version ( -- part of that format; only yoyo reads it
    version          integer PRIMARY KEY,
    installed_at_utc timestamp
);
