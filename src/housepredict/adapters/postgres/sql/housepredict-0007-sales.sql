-- Recorded sales. Rows are never updated. If a prediction has several, the sale with the largest id counts. There is no
-- foreign key to predictions, because the prediction of a sale may still be pending in the spool of a replica.

CREATE TABLE sale_deliveries (
    key    text PRIMARY KEY,
    digest text NOT NULL -- of the request, in hexadecimal
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
