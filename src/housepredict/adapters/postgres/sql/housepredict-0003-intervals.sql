-- How sure the model was. Earlier rows have null in both columns, and are not written anew.

ALTER TABLE predictions
    ADD COLUMN intervals jsonb,      -- by level in percent, [low, high]
    ADD COLUMN fsd double precision; -- in percent of the price
