-- The table of predictions, and the migration of the tutorial's table of that name.
--
-- The tutorial's table is renamed to predictions_lab, and its rows are copied. Altering it would lose rows that the new
-- table can't store: with a price that is NaN, infinite or at least 1e13, a size that is NaN or infinite, or a time
-- that is infinite or outside the years 1 to 9999. Such rows stay in predictions_lab only; a warning counts them, and
-- the comment on the table has the query that lists them. The table may be dropped if its rows aren't needed.
--
-- The tutorial's times are in UTC. A row without a time gets 1970-01-01, which makes it older than the others.

DO $$
DECLARE
    found text := (
        SELECT string_agg(attname || ' ' || format_type(atttypid, atttypmod), ', ' ORDER BY attnum)
        FROM pg_attribute
        WHERE attrelid = to_regclass('predictions') AND attnum > 0 AND NOT attisdropped
    );
BEGIN
    IF found = 'id integer, size real, bedrooms integer, age integer, predicted_price real, '
               'created_at timestamp without time zone' THEN
        ALTER TABLE predictions RENAME TO predictions_lab;
        ALTER INDEX IF EXISTS predictions_pkey RENAME TO predictions_lab_pkey;
    ELSIF to_regclass('predictions') IS NOT NULL THEN
        RAISE EXCEPTION 'there is a table "predictions" that neither housepredict nor the tutorial made'
            USING HINT = 'Rename it, or give housepredict a database or a schema of its own. Nothing was changed.';
    END IF;
END
$$;

CREATE TABLE predictions (
    id            uuid PRIMARY KEY, -- UUIDv7: sorts by time
    created_at    timestamptz NOT NULL,
    model_version text NOT NULL,
    features      jsonb NOT NULL,
    price         numeric(15, 2) NOT NULL,
    valued_on     date,
    caveats       jsonb NOT NULL,
    lab_id        integer UNIQUE -- the id in predictions_lab
);

DO $$
DECLARE
    missed bigint;
BEGIN
    IF to_regclass('predictions_lab') IS NULL THEN
        RETURN;
    END IF;
    -- An id is the time in milliseconds, followed by the position in the tutorial's order in the last 62 bits. So
    -- sorting by id gives the same order, even for rows of the same millisecond and rows from before 1970.
    INSERT INTO predictions (id, created_at, model_version, features, price, caveats, lab_id)
    SELECT
        (lpad(to_hex(greatest(floor(extract(epoch FROM read_at) * 1000), 0)::bigint), 12, '0')
            || '7000' || to_hex((1::bigint << 63) | row_number() OVER (ORDER BY read_at, id)))::uuid,
        read_at,
        'lab',
        jsonb_build_object('size', size, 'bedrooms', bedrooms, 'age', age),
        round(predicted_price::float8::numeric, 2), -- casting real directly keeps only six digits: 185001 for 185000.75
        '[]',
        id
    FROM (SELECT *, coalesce(created_at, 'epoch') AT TIME ZONE 'UTC' AS read_at FROM predictions_lab) AS lab
    WHERE predicted_price::float8 > -1e13 AND predicted_price::float8 < 1e13
        AND size > '-Infinity' AND size < 'Infinity'
        AND bedrooms IS NOT NULL AND age IS NOT NULL
        AND coalesce(created_at, 'epoch') BETWEEN '0001-01-02' AND '9999-12-30';

    SELECT count(*) INTO missed FROM predictions_lab WHERE id NOT IN (SELECT lab_id FROM predictions);
    IF missed > 0 THEN
        RAISE WARNING '% rows of the tutorial''s table could not be taken over; they are in predictions_lab', missed;
    END IF;
    COMMENT ON TABLE predictions_lab IS
        'The tutorial''s predictions, as they were. Those that could not be taken over: '
        'SELECT * FROM predictions_lab WHERE id NOT IN (SELECT lab_id FROM predictions WHERE lab_id IS NOT NULL)';
END
$$;
