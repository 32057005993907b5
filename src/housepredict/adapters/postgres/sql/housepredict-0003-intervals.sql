-- The uncertainty of estimates. Earlier rows have null in both columns, and are not rewritten.

ALTER TABLE predictions
    ADD COLUMN intervals jsonb,      -- by level in percent, [low, high]
    ADD COLUMN fsd double precision; -- in percent of the price
