-- The ledger lives in the database `rushes`; Prefect's server keeps to its own.
CREATE DATABASE prefect;
