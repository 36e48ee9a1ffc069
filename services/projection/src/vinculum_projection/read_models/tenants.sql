CREATE TABLE tenants (
    tenant text COLLATE "C" PRIMARY KEY,
    name text NOT NULL,
    portal_url text,
    locale text NOT NULL,
    policy jsonb  -- the effective one; null between the first two events of a tenant
);
