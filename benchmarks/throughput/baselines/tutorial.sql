-- The tutorial's own table.
CREATE TABLE IF NOT EXISTS predictions (
    id SERIAL PRIMARY KEY,
    size REAL NOT NULL,
    bedrooms INTEGER NOT NULL,
    age INTEGER NOT NULL,
    predicted_price REAL NOT NULL,
    created_at TIMESTAMP DEFAULT CURRENT_TIMESTAMP
);
