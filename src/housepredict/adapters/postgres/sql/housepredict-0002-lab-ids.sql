-- Only rows that were taken over have a lab_id. An index of these alone leaves all others one write less.

ALTER TABLE predictions DROP CONSTRAINT predictions_lab_id_key;
CREATE UNIQUE INDEX predictions_lab_id ON predictions (lab_id) WHERE lab_id IS NOT NULL;
