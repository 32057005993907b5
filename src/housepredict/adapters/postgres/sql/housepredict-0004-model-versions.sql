-- Model versions, which are immutable, and the pointer to the promoted version.

CREATE TABLE model_versions (
    name     text PRIMARY KEY,
    manifest text NOT NULL -- byte for byte as it was written, unlike jsonb
);

CREATE TABLE model_files (
    version text REFERENCES model_versions,
    name    text,
    content bytea NOT NULL,
    PRIMARY KEY (version, name)
);
ALTER TABLE model_files ALTER COLUMN content SET STORAGE EXTERNAL; -- files are compressed already

CREATE TABLE model_pointer (
    only_row   boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    generation bigint NOT NULL DEFAULT 0,  -- grows with each promotion and rollback
    history    text[] NOT NULL DEFAULT '{}' -- names of promoted versions, newest promotion first
);
INSERT INTO model_pointer DEFAULT VALUES;
