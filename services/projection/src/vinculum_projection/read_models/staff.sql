CREATE TABLE staff (
    tenant text COLLATE "C" NOT NULL,
    staff_id uuid NOT NULL,
    name text,
    email text,
    roles text[] NOT NULL,
    limited_accounts boolean NOT NULL,
    limited_opportunities boolean NOT NULL,
    active boolean NOT NULL,
    PRIMARY KEY (tenant, staff_id)
);
