CREATE TABLE pledges (id serial PRIMARY KEY, name text NOT NULL, made timestamptz NOT NULL DEFAULT now());
