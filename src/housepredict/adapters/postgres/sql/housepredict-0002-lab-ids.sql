-- Only copied rows have a lab_id. With a partial index, inserts of other rows need one write less.

ALTER TABLE predictions DROP CONSTRAINT predictions_lab_id_key;
CREATE UNIQUE INDEX predictions_lab_id ON predictions (lab_id) WHERE lab_id IS NOT NULL;
