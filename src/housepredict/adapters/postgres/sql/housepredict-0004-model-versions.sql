-- Model versions, which never change, and the one pointer to the promoted version.

CREATE TABLE model_versions (
    name     text PRIMARY KEY,
    manifest text NOT NULL -- kept as it was written: jsonb would not give back its bytes
);

CREATE TABLE model_files (
    version text REFERENCES model_versions,
    name    text,
    content bytea NOT NULL,
    PRIMARY KEY (version, name)
);
ALTER TABLE model_files ALTER COLUMN content SET STORAGE EXTERNAL; -- they are compressed already

CREATE TABLE model_pointer (
    only_row   boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    generation bigint NOT NULL DEFAULT 0,  -- grows with each move
    history    text[] NOT NULL DEFAULT '{}' -- the promoted version, the one that was promoted before it, and so on
);
INSERT INTO model_pointer DEFAULT VALUES;
