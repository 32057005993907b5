-- Run once, by the administrator, on a database server's first start: the service's own role, which owns its database and no more.
\set password `cat /run/secrets/database_password`
CREATE ROLE housepredict LOGIN PASSWORD :'password';
CREATE DATABASE housepredict OWNER housepredict;
REVOKE ALL ON DATABASE housepredict FROM PUBLIC;
