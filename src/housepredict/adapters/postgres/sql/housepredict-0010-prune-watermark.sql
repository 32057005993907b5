-- Predictions and erasure markers with ids below the watermark were pruned. Such ids are neither stored nor read, even
-- if a spool still has them. Earlier releases ignore the watermark.

CREATE TABLE prune_watermark (
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    below    uuid NOT NULL DEFAULT '00000000-0000-0000-0000-000000000000'
);
INSERT INTO prune_watermark DEFAULT VALUES;

-- Roles that were granted rights for an earlier release need no new ones: every role may read the watermark, and roles
-- that may delete predictions may raise it.
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
