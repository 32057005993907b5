-- The generation of each prediction, announcements of promotions, and the version that each process serves.

ALTER TABLE predictions ADD COLUMN generation bigint; -- of model_pointer at the time; null in earlier rows

CREATE FUNCTION tell_of_promotions() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify('housepredict_promotions', NEW.generation::text);
    RETURN NULL;
END
$$;
CREATE TRIGGER tell_of_promotions AFTER UPDATE ON model_pointer
FOR EACH ROW WHEN (NEW.* IS DISTINCT FROM OLD.*) EXECUTE FUNCTION tell_of_promotions();

-- Unlogged, because each process rewrites its row every few seconds: a crash loses nothing that matters.
CREATE UNLOGGED TABLE live_processes (
    id         uuid PRIMARY KEY,
    host       text NOT NULL,
    pid        integer NOT NULL,
    version    text,
    generation bigint,
    refused    text,
    seen_at    timestamptz NOT NULL DEFAULT now()
);
