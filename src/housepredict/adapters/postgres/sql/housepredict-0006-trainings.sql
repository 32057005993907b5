-- Trainings under way and over. Whether one is under way is proved by the advisory lock, not by its row.

CREATE TABLE trainings (
    id            uuid PRIMARY KEY, -- a UUIDv7: sorts by time
    started_at    timestamptz NOT NULL,
    location      text, -- where the sales are; null for synthetic ones, and where there are none but those that came back
    with_recorded boolean NOT NULL, -- sales that came back are among them
    done          bigint NOT NULL,
    total         bigint NOT NULL,
    cancelling    boolean NOT NULL, -- was asked to end
    keeping       boolean NOT NULL, -- is about to keep its version: too late to be asked
    ended_at      timestamptz,
    state         text NOT NULL CHECK (state IN ('running', 'succeeded', 'failed', 'cancelled')),
    version       text, -- of one that succeeded, as all below but the error
    promoted      boolean NOT NULL,
    reasons       text[] NOT NULL,
    error         text
);
