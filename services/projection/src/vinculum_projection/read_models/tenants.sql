CREATE TABLE tenants (
    tenant text COLLATE "C" PRIMARY KEY,
    policy jsonb NOT NULL  -- the effective one
);
