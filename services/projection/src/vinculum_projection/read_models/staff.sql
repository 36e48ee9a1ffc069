CREATE TABLE staff (
    tenant text COLLATE "C" NOT NULL,
    staff_id uuid NOT NULL,
    roles text[] NOT NULL,
    limited_accounts boolean NOT NULL,
    active boolean NOT NULL,
    PRIMARY KEY (tenant, staff_id)
);
