-- What houses sold for that were estimated. Rows are only ever added: of several of one prediction the one with the
-- largest id counts. A sale may be here before its prediction, which waits in some replica's spool: no foreign key.

CREATE TABLE sale_deliveries (
    key    text PRIMARY KEY,
    digest text NOT NULL -- of what came with it, in hexadecimal
);

CREATE TABLE sales (
    id          uuid PRIMARY KEY, -- UUIDv7: sorts by time
    prediction  uuid NOT NULL,
    price       numeric(15, 2) NOT NULL,
    sold_on     date NOT NULL,
    recorded_at timestamptz NOT NULL,
    delivery    text REFERENCES sale_deliveries
);
CREATE INDEX sales_of_prediction ON sales (prediction, id);
CREATE INDEX sales_by_date ON sales (sold_on, id);
CREATE INDEX sales_of_delivery ON sales (delivery) WHERE delivery IS NOT NULL;
