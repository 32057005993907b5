-- Erasure markers: rows with only the id of an erased prediction, which prevent it from being stored again.

ALTER TABLE predictions ADD COLUMN erased_at timestamptz;
