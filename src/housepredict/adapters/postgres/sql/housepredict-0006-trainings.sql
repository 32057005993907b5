-- Running and finished trainings. Whether a training still runs is known by its advisory lock, not by its row.

CREATE TABLE trainings (
    id            uuid PRIMARY KEY, -- UUIDv7: sorts by time
    started_at    timestamptz NOT NULL,
    location      text, -- of the file of sales; null for synthetic sales and for recorded sales alone
    with_recorded boolean NOT NULL, -- recorded sales are among the training sales
    done          bigint NOT NULL,
    total         bigint NOT NULL,
    cancelling    boolean NOT NULL, -- cancellation was requested
    keeping       boolean NOT NULL, -- its version is about to be stored: too late to cancel
    ended_at      timestamptz,
    state         text NOT NULL CHECK (state IN ('running', 'succeeded', 'failed', 'cancelled')),
    version       text, -- of a training that succeeded, as are all columns below except error
    promoted      boolean NOT NULL,
    reasons       text[] NOT NULL,
    error         text
);
