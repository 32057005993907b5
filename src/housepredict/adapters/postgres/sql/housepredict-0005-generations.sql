-- Which promotion each prediction was made under; who is told of promotions; and who serves what.

ALTER TABLE predictions ADD COLUMN generation bigint; -- that of model_pointer; null in rows of before it was kept

CREATE FUNCTION tell_of_promotions() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify('housepredict_promotions', NEW.generation::text);
    RETURN NULL;
END
$$;
CREATE TRIGGER tell_of_promotions AFTER UPDATE ON model_pointer
FOR EACH ROW WHEN (NEW.* IS DISTINCT FROM OLD.*) EXECUTE FUNCTION tell_of_promotions();

-- Each process writes its own row anew every few seconds: not logged, for what a crash takes away is soon back.
CREATE UNLOGGED TABLE live_processes (
    id         uuid PRIMARY KEY,
    host       text NOT NULL,
    pid        integer NOT NULL,
    version    text,
    generation bigint,
    refused    text,
    seen_at    timestamptz NOT NULL DEFAULT now()
);
