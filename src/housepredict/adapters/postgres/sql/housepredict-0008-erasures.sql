-- Predictions that were erased: of such a row nothing is left but the id, which keeps it from being recorded again.

ALTER TABLE predictions ADD COLUMN erased_at timestamptz;
