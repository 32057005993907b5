-- Predictions with an id below the watermark were pruned, and their erasure markers with them. Such ids are neither
-- stored nor read, from whatever spool they come. A service of a release before this goes on without it.

CREATE TABLE prune_watermark (
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    below    uuid NOT NULL DEFAULT '00000000-0000-0000-0000-000000000000'
);
INSERT INTO prune_watermark DEFAULT VALUES;

-- Roles that were granted what it took before go on with what it takes now: everyone reads the watermark, and who may
-- delete predictions may raise it.
GRANT SELECT ON prune_watermark TO PUBLIC;
DO $$
DECLARE
    pruner text;
BEGIN
    FOR pruner IN
        SELECT CASE grantee WHEN 0 THEN 'PUBLIC' ELSE grantee::regrole::text END
        FROM pg_class, aclexplode(relacl)
        WHERE pg_class.oid = 'predictions'::regclass AND privilege_type = 'DELETE'
    LOOP
        EXECUTE 'GRANT UPDATE ON prune_watermark TO ' || pruner;
    END LOOP;
END
$$;
