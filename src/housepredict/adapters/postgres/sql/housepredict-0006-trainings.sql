-- Running and finished training jobs. The advisory lock, not the row, shows whether a job is still running.

CREATE TABLE trainings (
    id            uuid PRIMARY KEY, -- UUIDv7: sorts by time
    started_at    timestamptz NOT NULL,
    location      text, -- path of the sales file, or null for synthetic sales or only recorded sales
    with_recorded boolean NOT NULL, -- recorded sales are among the training sales
    done          bigint NOT NULL,
    total         bigint NOT NULL,
    cancelling    boolean NOT NULL, -- cancellation was requested
    keeping       boolean NOT NULL, -- the version is about to be stored, so it is too late to cancel
    ended_at      timestamptz,
    state         text NOT NULL CHECK (state IN ('running', 'succeeded', 'failed', 'cancelled')),
    version       text, -- set if the job succeeded, as are all columns below except error
    promoted      boolean NOT NULL,
    reasons       text[] NOT NULL,
    error         text
);
