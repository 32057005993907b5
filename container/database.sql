-- The administrator runs this on the first start of a server. It creates the service's role, which owns only its database.
\set password `cat /run/secrets/database_password`
CREATE ROLE housepredict LOGIN PASSWORD :'password';
CREATE DATABASE housepredict OWNER housepredict;
REVOKE ALL ON DATABASE housepredict FROM PUBLIC;
